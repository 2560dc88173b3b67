"""Samples on their way into a run: kept at once, piece by piece, until the run is made of them.

A piece is a file with some samples of one prompt in one condition; a line of `index.jsonl` commits
it, with the digest of the file and of every sample. What has no line does not count: a file that
was being written when the process was killed, or a line that was cut.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibstats.errors import IbstatsError
from schemas.io.files import file_sha256, sync, whole_file, write_whole

BEGUN = "recording.json"
INDEX = "index.jsonl"


@dataclass(frozen=True)
class Piece:
    """Some samples of one prompt in one condition, which follow those of the piece before."""

    file: str
    """Name of the file."""
    condition: str
    prompt: str
    shapes: dict[str, tuple[int, ...]]
    """Shape of a sample, by variable."""
    samples: list[str]
    """Digest of each sample."""
    sha256: str
    """Digest of the file."""
    highest: int = -1
    """Highest code; -1 where there are no tokens."""


@dataclass
class Journal:
    """The pieces of a run that is being recorded; one process at a time writes it."""

    folder: Path
    pieces: list[Piece] = field(default_factory=list)
    _index: TextIOWrapper | None = None

    @classmethod
    def open(cls, folder: Path, begun: Mapping[str, Any]) -> Journal:
        """Begin, or go on with what an earlier process left.

        `begun` says what is recorded; raises IbstatsError where something else was begun here, and
        where another process is recording.
        """
        folder.mkdir(parents=True, exist_ok=True)
        index = (folder / INDEX).open("a+", encoding="utf-8")
        try:
            fcntl.flock(index, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            index.close()
            raise IbstatsError(
                f"another process is recording into '{folder}'; give each process a run of its own"
            ) from None
        journal = cls(folder, _index=index)
        try:
            journal._begin(json.loads(json.dumps(begun)))
            journal.pieces = list(journal._committed())
        except BaseException:
            journal.close()
            raise
        return journal

    def _begin(self, begun: dict[str, Any]) -> None:
        file = self.folder / BEGUN
        if not file.is_file():
            write_whole(file, json.dumps(begun, indent=1))
            return
        before = json.loads(file.read_text("utf-8"))
        for name, value in begun.items():
            if before.get(name) != value:
                raise IbstatsError(
                    f"'{self.folder}' was begun with {name}={before.get(name)!r}, not {value!r}; "
                    "go on as it was begun, or remove that folder"
                )

    def _committed(self) -> Iterator[Piece]:
        """The pieces whose line is whole; a line that was cut is taken away."""
        assert self._index is not None
        self._index.seek(0)
        content = self._index.read()
        whole = content[: content.rfind("\n") + 1]
        if whole != content:
            self._index.truncate(len(whole.encode()))
        for line in whole.splitlines():
            found = json.loads(line)
            found["shapes"] = {name: tuple(shape) for name, shape in found["shapes"].items()}
            yield Piece(**found)

    def put(self, condition: str, prompt: str, arrays: Mapping[str, NDArray[Any]]) -> Piece:
        """Keep samples `(sample, ...)` by variable, and commit them."""
        assert self._index is not None
        name = f"{len(self.pieces):08d}.npz"
        named: dict[str, Any] = dict(arrays)
        with whole_file(self.folder / name) as temporary:
            np.savez(temporary, **named)
            sync(temporary)
        piece = Piece(
            name,
            condition,
            prompt,
            shapes_of(arrays),
            sample_digests(arrays),
            file_sha256(self.folder / name),
            int(arrays["tokens"].max()) if "tokens" in arrays else -1,
        )
        self._index.write(json.dumps(asdict(piece)) + "\n")
        self._index.flush()
        os.fsync(self._index.fileno())
        self.pieces.append(piece)
        return piece

    def verify(self) -> None:
        """Raise IbstatsError for a piece that is not as it was written."""
        for piece in self.pieces:
            file = self.folder / piece.file
            if not file.is_file() or file_sha256(file) != piece.sha256:
                raise IbstatsError(
                    f"'{file}' is damaged or gone, with {len(piece.samples)} samples of prompt "
                    f"'{piece.prompt}' in condition '{piece.condition}'; remove '{self.folder}' "
                    "and record again"
                )

    def close(self) -> None:
        """Let another process go on."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def remove(self) -> None:
        """Remove everything: the run is made."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def shapes_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    """Give the shape of a sample of each variable, of arrays `(sample, ...)`."""
    return {variable: values.shape[1:] for variable, values in arrays.items()}


def sample_digests(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """Give the sha256 of each sample of arrays `(sample, ...)`, over all variables by their names.

    >>> one, other = sample_digests({"tokens": np.zeros((2, 4, 4), np.uint16)})
    >>> one == other
    True
    """
    n_samples = len(next(iter(arrays.values())))
    digests = []
    for sample in range(n_samples):
        digest = hashlib.sha256()
        for name, values in sorted(arrays.items()):
            one = np.ascontiguousarray(values[sample])
            digest.update(f"{name} {one.dtype.str} {one.shape}\n".encode())
            digest.update(one.tobytes())
        digests.append(digest.hexdigest())
    return digests
