"""What a disk refuses, in one line: no room, an error of the device, a place that went away."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import DiskError, DiskFullError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""The disk, a quota, or the most that a file may hold."""
BROKEN = {errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ENOTCONN, errno.EROFS}
"""The device or the share behind a folder has failed or gone, or has become read-only."""
KEPT = "run the same command again; what was finished is kept."


@contextmanager
def disk_told(where: object, needed: int | None = None, kept: str = KEPT) -> Iterator[None]:
    """Turn what the disk under a place refuses into DiskFullError or DiskError; others pass.

    `where` is a path or a Folder; `needed` the bytes that are wanted in all, if they are known;
    `kept` ends the line: what to do after the repair.

    >>> with disk_told(Path("runs/a"), 2_000_000):
    ...     raise OSError(errno.EIO, "Input/output error")
    Traceback (most recent call last):
    ...
    schemas.errors.DiskError: the disk of runs/a failed (input/output error): \
check it, then run the same command again; what was finished is kept.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        if error.errno in BROKEN:
            raise DiskError(
                f"the disk of {where} failed ({reason}): check it, then {kept}"
            ) from error
        if error.errno not in FULL:
            raise
        raise DiskFullError(no_room(where, reason, needed, kept)) from None


def no_room(where: object, reason: str, needed: int | None, kept: str = KEPT) -> str:
    """Say that a place has no room: what is free and, where it is known, what is needed in all."""
    room = f"{free_bytes(Path(str(where))) / 1e6:.2f} MB free"
    if needed is not None:
        room = f"{room}, {needed / 1e6:.2f} MB needed in all"
    return f"no room in {where} ({reason}; {room}): free some, then {kept}"


def free_bytes(path: Path) -> int:
    """Give the bytes that can still be written at a path, which need not exist yet."""
    path = path.absolute()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return shutil.disk_usage(there).free
