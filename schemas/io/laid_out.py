"""A Zarr hierarchy and the record that says that it is there, made so that nobody can lose them.

A process may be killed at any step, or stopped for hours and go on: by then another has made the
same thing and filled it. So what is in place is never replaced. In a folder the hierarchy comes into
place in one step, with its record inside; whoever finds it so publishes the record.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from zarr.abc.store import Store

from schemas.io.checked import as_stored
from schemas.io.files import ATTEMPTS, sync, sync_folder, temporary_name
from schemas.io.folder import Folder, LocalFolder
from schemas.io.linkless import LinklessStore
from schemas.store import StoredObject

PENDING = ".record.json"
"""The record inside a hierarchy that is in place, until it is published."""
TAKEN = {errno.ENOTEMPTY, errno.EEXIST}
"""What a rename says of a folder that is there, and not empty."""

RecordOf = Callable[[list[StoredObject]], bytes]
"""From what was written to the record of it."""


def lay_out(
    where: Folder, under: str, record_key: str, write: Callable[[Store], None], record_of: RecordOf
) -> None:
    """Make a hierarchy at a key of a folder, durably, then its record.

    `write` fills an empty Zarr store. Raises FileExistsError where another process was faster, whose
    hierarchy stays.
    """
    finish(where, under, record_key)
    _refuse_recorded(where, record_key)
    if not isinstance(where, LocalFolder):
        for key in where.sizes(under):  # left by one that died before its record
            _refuse_recorded(where, record_key)
            where.remove(key)
        _refuse_recorded(where, record_key)
        write(where.zarr(under, read_only=False))
        where.create(record_key, record_of(_written(where, under)))
        return
    place = where.root / under
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(place)
    private = temporary.relative_to(where.root).as_posix()
    try:
        write(LinklessStore(temporary.absolute()))
        record = record_of(_written(where, private))
        (temporary / PENDING).write_bytes(record)
        sync_folder(temporary)
        _put_in_place(where, temporary, place, record_key)
        sync(place.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    where.create(record_key, record)
    where.remove(f"{under}/{PENDING}")


def finish(where: Folder, under: str, record_key: str) -> None:
    """Publish the record of a hierarchy whose maker was killed before it did, if there is one."""
    pending = f"{under}/{PENDING}"
    if where.exists(pending):
        with suppress(FileExistsError, FileNotFoundError):  # another process does it too
            where.create(record_key, where.read(pending))
        where.remove(pending)


def _refuse_recorded(where: Folder, record_key: str) -> None:
    if where.exists(record_key):
        raise FileExistsError(record_key)


def _written(where: Folder, under: str) -> list[StoredObject]:
    """What a hierarchy consists of."""
    found = []
    for key, content in where.found(sorted(where.sizes(under))).items():
        found.append(as_stored(key.removeprefix(f"{under}/"), content))
    return found


def _put_in_place(where: LocalFolder, made: Path, place: Path, record_key: str) -> None:
    """Rename a hierarchy into place, unless one is there that has a record or is about to get one.

    What else is there was left by an older version that was killed. It is moved aside before it is
    looked at for the last time, and back if it has got its record meanwhile.
    """
    for _ in range(ATTEMPTS):
        try:
            made.rename(place)
            return
        except OSError as error:
            if error.errno not in TAKEN:
                raise
        if where.exists(record_key) or (place / PENDING).exists():
            raise FileExistsError(record_key)
        aside = temporary_name(place)
        place.rename(aside)
        if where.exists(record_key) or (aside / PENDING).exists():
            aside.rename(place)
            raise FileExistsError(record_key)
        shutil.rmtree(aside, ignore_errors=True)
    raise FileExistsError(record_key)
