"""The file of a table that is kept: written row by row, published whole, checked when it is read."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from ibstats.errors import IbstatsError
from schemas.io.disk import disk_told
from schemas.io.files import file_crc32c, sync, write_whole
from schemas.store import is_whole, seal

MISSING = "missing"
"""What is wrong with a table that is not there."""
UNREADABLE = "it cannot be read"
"""What is wrong with a file that is no table, or not all of one."""


class Unfinished:
    """A table that is being measured: private to its process until it is whole.

    Beside `NAME.npy` lie `.NAME.<random>.npy`, with the rows at their places, and
    `.NAME.<random>.rows`, with number and checksum of each row that is there. A row counts only
    with its checksum, so neither a kill nor a power loss makes one that was not measured.
    """

    def __init__(self, file: Path, n_rows: int) -> None:
        self.file = file
        self.n_rows = n_rows
        self._data: IO[bytes] | None = None
        self._rows: IO[str] | None = None
        self._done: set[int] = set()
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.float64)
        self._start = 0
        self._private = file.with_name(f".{file.stem}.{uuid.uuid4().hex}{file.suffix}")

    def __enter__(self) -> Self:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in (self._data, self._rows):
            if stream is not None:
                stream.close()
        if not self._done:
            self._private.unlink(missing_ok=True)
            self._private.with_suffix(".rows").unlink(missing_ok=True)

    def todo(self) -> list[int]:
        """Give the numbers of the rows that are not there, in order."""
        return [number for number in range(self.n_rows) if number not in self._done]

    def put(self, number: int, row: NDArray[Any]) -> None:
        """Write a row.

        Raises DiskFullError where the whole table has no room, and IbstatsError for a row of another
        shape or dtype than the first one, or one that begins with NaN.
        """
        content = np.ascontiguousarray(row)
        with disk_told(self.file.parent, content.nbytes * self.n_rows):
            if self._data is None:
                self._begin(content)
            if (content.shape, content.dtype) != (self._shape, self._dtype):
                raise IbstatsError(
                    f"row {number} of '{self.file}' is {content.dtype}{content.shape}, but the first "
                    f"was {self._dtype}{self._shape}; does the measurement depend on the prompt?"
                )
            if np.isnan(content.reshape(-1)[0]):
                raise IbstatsError(
                    f"row {number} of '{self.file}' begins with NaN, which no measurement gives"
                )
            self._write(number, content.tobytes())

    def _begin(self, row: NDArray[Any]) -> None:
        """Make the private files and reserve the bytes of the table."""
        self._shape, self._dtype = row.shape, row.dtype
        header = {
            "descr": np.lib.format.dtype_to_descr(row.dtype),
            "fortran_order": False,
            "shape": (self.n_rows, *row.shape),
        }
        self._data = self._private.open("xb")
        np.lib.format.write_array_header_2_0(self._data, header)
        self._start = self._data.tell()
        self._data.flush()
        size = self._start + row.nbytes * self.n_rows
        if hasattr(os, "posix_fallocate"):  # elsewhere a full disk is found row by row
            os.posix_fallocate(self._data.fileno(), 0, size)
        self._data.truncate(size)
        self._rows = self._private.with_suffix(".rows").open("x", encoding="ascii")

    def _write(self, number: int, content: bytes) -> None:
        """Write a row at its place, and then that it is there."""
        assert self._data is not None
        assert self._rows is not None
        self._data.seek(self._start + number * len(content))
        self._data.write(content)
        self._data.flush()
        self._rows.write(f"{number} {google_crc32c.value(content):08x}\n")
        self._rows.flush()
        self._done.add(number)

    def adopt(self) -> None:
        """Take over the rows that others measured and did not publish, as far as they are whole."""
        for left in sorted(self.file.parent.glob(f".{self.file.stem}.*.rows")):
            try:
                table = np.load(left.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
                lines = left.read_text(encoding="ascii").splitlines()
            except (OSError, ValueError, EOFError):
                continue
            if len(table) == self.n_rows:
                self._take(table, lines)

    def _take(self, table: NDArray[Any], lines: list[str]) -> None:
        """Take rows of a table whose checksum stands in a line."""
        for line in lines:
            name, _, checksum = line.partition(" ")
            number = int(name) if name.isdecimal() else self.n_rows
            if number >= self.n_rows or number in self._done:
                continue
            row = np.array(table[number])
            known = self._data is None or (row.shape, row.dtype) == (self._shape, self._dtype)
            if known and f"{google_crc32c.value(row.tobytes()):08x}" == checksum:
                self.put(number, row)

    def publish(self) -> None:
        """Give the table its name, unless one is there, and remove what is left of its making."""
        assert self._data is not None
        assert not self.todo()
        with disk_told(self.file.parent):
            os.fsync(self._data.fileno())
            if not self.file.exists():
                try:
                    self._private.replace(self.file)
                except FileNotFoundError:  # removed by a process that has published meanwhile
                    return
                sync(self.file.parent)
        for left in self.file.parent.glob(f".{self.file.stem}.*"):
            left.unlink(missing_ok=True)
        self.file.with_suffix(".partial.npy").unlink(missing_ok=True)


def read_record(file: Path) -> dict[str, Any] | None:
    """Give the record of a table, `NAME.json`; None where there is none, or it is damaged."""
    try:
        record = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or not is_whole(record):
        return None
    known = {"settings", "snapshot", "prompts"} <= record.keys()
    if not known or record.get("table", {}).get("name", file.stem) != file.stem:
        return None
    return record


def seal_table(file: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a table, with what is needed to tell whether the table is whole.

    `record` says in words what was measured and on what. A record with a checksum that is there
    already stays. A folder that cannot be written to is left as it is.
    """
    name = file.with_suffix(".json")
    there = read_record(name)
    if there is not None and "table" in there:
        return
    try:
        table = np.load(file, mmap_mode="r", allow_pickle=False)
        about = {
            "name": file.stem,
            "shape": list(table.shape),
            "dtype": str(table.dtype),
            "crc32c": file_crc32c(file),
        }
        document = {**record, "table": about}
        with disk_told(file.parent):
            write_whole(name, json.dumps(document | {"sha256": seal(document)}, indent=1))
    except (FileNotFoundError, PermissionError):
        return


def remove_table(file: Path) -> None:
    """Remove a table, and then its record."""
    file.unlink(missing_ok=True)
    file.with_suffix(".json").unlink(missing_ok=True)


def table_problem(file: Path) -> str | None:
    """Give what is wrong with a kept table, None if it is whole.

    It may be missing, damaged, of another name, or hold rows that were not measured. Its whole file
    is read, once in a process as long as it does not change.
    """
    return _problem(file, _stamp(file), _stamp(file.with_suffix(".json")))


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None where there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=1024)
def _problem(
    file: Path, table_stamp: tuple[int, int, int] | None, record_stamp: tuple[int, int, int] | None
) -> str | None:
    if table_stamp is None:
        return MISSING
    try:
        table = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        return UNREADABLE
    if table.ndim < 2 or table.offset + table.nbytes != table_stamp[2]:
        return UNREADABLE
    record = read_record(file.with_suffix(".json"))
    if record_stamp is not None and record is None:
        return "its record is damaged"
    if record is None or "table" not in record:  # of an older version
        first = table.reshape(len(table), -1)[:, 0]
        return "some rows were not measured" if np.isnan(first).any() else None
    about = record["table"]
    if (list(table.shape), str(table.dtype)) != (about["shape"], about["dtype"]):
        return "it is not the table of its record"
    if file_crc32c(file) != about["crc32c"]:
        return "its checksum differs"
    return None
