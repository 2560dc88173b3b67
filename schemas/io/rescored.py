"""A rescoring that lies in a run: its record, the records of its pieces, and its arrays, checked.

Both programs read it by this. What it holds is in `schemas.rescored`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas.errors import CorruptStore
from schemas.io import layout
from schemas.io.checked import CheckedStore, Recorded, by_key, mismatch, read_or_none
from schemas.io.folder import Folder
from schemas.rescored import VERSION, PieceRecord, RescoreRecord
from schemas.store import StoredObject, is_whole

Record = TypeVar("Record", RescoreRecord, PieceRecord)

Piece = tuple[int, int]
"""Condition and prompt, by position in the rescoring."""
MARKS = f"{layout.DATA}/complete/"
"""What keys of the copies begin with that say which pieces are scored."""
AGAIN = "`ibgenerate verify --repair` drops it, and `ibgenerate rescore` scores it again"
"""The repair of anything of a rescoring."""


@dataclass(frozen=True)
class StoredRescoring:
    """The rescoring at a key of a run, `rescored/<model>/<experiment>/<name>`.

    Raises CorruptStore, which names the file and the repair, for a record that is missing or is not
    the one that was written.
    """

    folder: Folder
    key: str

    def __str__(self) -> str:
        return f"{self.folder}/{self.key}"

    @cached_property
    def record(self) -> RescoreRecord:
        """What is scored, as it was recorded."""
        key = f"{self.key}/{layout.RESCORED_RECORD}"
        record = _read(self.folder, key, RescoreRecord)
        if key_of(record) != self.key:
            raise _broken(self.folder, key, "it is of another rescoring")
        if record.schema_version.split(".")[0] != VERSION.split(".")[0]:
            raise _broken(self.folder, key, f"version {record.schema_version}, not {VERSION}")
        return record

    @property
    def has_records(self) -> bool:
        """Whether its pieces are recorded; none before version 1.1 has any."""
        return bool(self.record.template)

    @property
    def is_begun(self) -> bool:
        """Whether it is laid out; one that was killed meanwhile is not, and has no piece."""
        return self in rescorings(self.folder, self.key)

    @cached_property
    def pieces(self) -> dict[Piece, PieceRecord]:
        """The records of what is scored, by condition and prompt."""
        records: dict[Piece, PieceRecord] = {}
        if not self.has_records:
            return records
        for piece in self._there():
            records[piece] = self._piece(piece)
        return records

    def _there(self) -> Iterator[Piece]:
        """Pieces with a record, or with the mark that shows that there was one.

        A kill leaves a record without its mark, never the opposite.
        """
        for condition, prompt in np.ndindex(len(self.record.conditions), len(self.record.prompts)):
            piece = (condition, prompt)
            mark = f"{self.key}/{MARKS}c.{piece[0]}.{piece[1]}"
            if layout.rescored_piece_key(self.key, *piece) in self._sizes or mark in self._sizes:
                yield piece

    def _piece(self, piece: Piece) -> PieceRecord:
        """Read the record of a piece; CorruptStore if it is missing, damaged, or of another one."""
        key = layout.rescored_piece_key(self.key, *piece)
        record = _read(self.folder, key, PieceRecord)
        of_this = (record.condition, record.prompt, record.snapshot)
        if of_this != (*piece, self.record.snapshot):
            raise _broken(self.folder, key, "it is of another piece")
        return record

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return self.folder.sizes(self.key)

    def data(self, *, read_only: bool = True) -> CheckedStore:
        """The Zarr hierarchy: no recorded object is given but as it was written."""
        under = f"{self.key}/{layout.DATA}"
        return CheckedStore(self.folder, self._recorded, under=under, read_only=read_only)

    def _recorded(self) -> Recorded:
        objects = []
        for record in self.pieces.values():
            objects += record.objects
        return Recorded(by_key(self.record.template), by_key(objects), AGAIN, AGAIN)

    def scored(self, complete: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Give which (condition, prompt) are scored; `complete` is the variable of that name.

        It counts only where there are no records of pieces: in a rescoring before version 1.1.
        """
        if not self.has_records:
            return complete
        done = np.zeros_like(complete)
        for piece in self.pieces:
            done[piece] = True
        return done

    def problems(self) -> Iterator[tuple[str, Piece | None]]:
        """Give what is wrong with it, one line an object, and the piece that holds it.

        Of one before version 1.1 nothing is known. None is given for what no piece holds: all of
        the rescoring must be made again.
        """
        try:
            template = self.record.template
        except CorruptStore as error:
            yield str(error), None
            return
        for line in self._damaged(template):
            yield line, None
        for piece in self._there() if template else ():
            try:
                record = self._piece(piece)
            except CorruptStore as error:
                yield str(error), piece
                continue
            for line in self._damaged(record.objects):
                yield line, piece

    def _damaged(self, objects: Iterable[StoredObject]) -> Iterator[str]:
        """Lines on those of the objects that are not as they were written."""
        for stored in objects:
            problem = self._problem(stored)
            if problem is not None:
                yield f"{self.key}/{layout.DATA}/{stored.key}: {problem}"

    def _problem(self, stored: StoredObject) -> str | None:
        key = f"{self.key}/{layout.DATA}/{stored.key}"
        return mismatch(stored, read_or_none(self.folder, key))

    def withdraw(self, piece: Piece | None) -> None:
        """Drop the record of a piece, so that it is scored again; None drops the whole rescoring."""
        if piece is not None:
            self.folder.remove(f"{self.key}/{MARKS}c.{piece[0]}.{piece[1]}")
            self.folder.remove(layout.rescored_piece_key(self.key, *piece))
            return
        records = f"{self.key}/pieces/"
        # Records of pieces go first: without them, what a kill leaves counts as not begun.
        for key in sorted(self.folder.sizes(self.key), key=lambda key: not key.startswith(records)):
            self.folder.remove(key)


def key_of(record: RescoreRecord) -> str:
    """Give the key of the rescoring that a record is of.

    See `schemas.io.layout.rescored_key` for what it is made from.
    """
    r = record
    return layout.rescored_key(r.model, r.experiment, r.n_paths, r.seed, r.contrast)


def rescorings(where: Folder, under: str = layout.RESCORED) -> list[StoredRescoring]:
    """Give the rescorings of a run that were begun, or those under a key, in the order of their keys.

    One whose record is gone is among them, if any of its pieces is there.
    """
    sizes = where.sizes(under)
    found = []
    for key in sorted({"/".join(key.split("/")[:4]) for key in sizes}):
        record = f"{key}/{layout.RESCORED_RECORD}"
        if record in sizes or any(name.startswith(f"{key}/pieces/") for name in sizes):
            found.append(StoredRescoring(where, key))
    return found


def _read(where: Folder, key: str, kind: type[Record]) -> Record:
    """Read a record, whole and of its kind."""
    try:
        document: Any = json.loads(where.read(key))
        record = kind.model_validate(document)
    except FileNotFoundError:
        raise _broken(where, key, "missing") from None
    except ValidationError as error:
        reason = " ".join(error.errors()[0]["msg"].split())
        raise _broken(where, key, f"it does not follow its schema: {reason}") from None
    except ValueError:  # no JSON, or not UTF-8
        raise _broken(where, key, "it is not valid JSON") from None
    if not isinstance(document, Mapping) or not is_whole(document):
        raise _broken(where, key, "its checksum differs")
    return record


def _broken(where: Folder, key: str, problem: str) -> CorruptStore:
    return CorruptStore(f"'{where}/{key}' is damaged ({problem}); {AGAIN}")
