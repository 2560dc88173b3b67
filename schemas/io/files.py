"""Files of this machine: written whole or not at all, and their sha256."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import google_crc32c

PIECE = 1 << 20
"""Bytes that are read at once."""
LINKLESS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What file systems say that have no hard links."""
ATTEMPTS = 10
"""Times that a folder is put in its place while others put theirs there."""
PARTIAL = re.compile(r".+\.[0-9a-f]{32}\.partial")
"""What Zarr calls a file of an array while it writes it."""


def is_temporary(name: str) -> bool:
    """Whether a file of that name is being written, or was left by a process that was killed at it.

    >>> is_temporary(".run.json.5c73"), is_temporary(f"c.4.{'5c73' * 8}.partial"), is_temporary("c.4.0")
    (True, True, False)
    """
    return name.startswith(".") or PARTIAL.fullmatch(name) is not None


def file_sha256(path: Path) -> str:
    """Give the sha256 of a file as 64 hex digits.

    It is read in pieces, so that its size does not matter. Raises what opening a file raises.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_crc32c(path: Path) -> str:
    """Give the CRC-32C of a file as 8 hex digits, at several times the speed of sha256.

    It is against damage, not against intent: any burst of up to 32 bits changes it, other damage
    is missed once in four thousand million. Raises what opening a file raises.
    """
    checksum = 0
    with path.open("rb") as stream:
        while piece := stream.read(PIECE):
            checksum = google_crc32c.extend(checksum, piece)
    return f"{checksum:08x}"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Lend the name of a temporary file, which becomes `path` when the block ends well.

    Write under the lent name. When the block raises, the temporary file is removed and `path` stays
    as it was; when the process is killed, `path` stays as it was too. The lent name lies in the
    same folder, which is made if it lacks, begins with a dot and ends like `path`, because some
    writers (`numpy.savez`) put an ending on a name without one. Two processes that write the same
    file do not disturb each other: the last one wins.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder, "a.txt")) as file:
    ...         _ = file.write_text("all of it")
    ...     Path(folder, "a.txt").read_text()
    'all of it'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Lend the name of a folder, not made yet, which becomes `path` when the block ends well.

    What stood at `path` is moved aside at the very end, and removed. A folder cannot be exchanged in
    one step: a process killed in between leaves nothing at `path`, never a part of it. Of two
    processes that write the same folder the last one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(made: Path, path: Path) -> None:
    """Give a folder the name `path`; what stood there is moved aside and removed.

    Raises OSError where others put a folder there again and again meanwhile.
    """
    aside = temporary_name(path)
    for attempt in range(ATTEMPTS):
        with suppress(FileNotFoundError):
            path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
        try:
            made.rename(path)
            return
        except OSError:  # another process has put its folder there meanwhile
            if attempt == ATTEMPTS - 1:
                raise


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file, whole or not at all; text is written as UTF-8.

    Makes the folder if it lacks. See `whole_file` for what happens meanwhile.
    """
    data = content.encode() if isinstance(content, str) else content
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def temporary_name(path: Path) -> Path:
    """Give a hidden name beside `path` that nobody else uses, with its ending.

    >>> temporary_name(Path("a/b.npz")) == temporary_name(Path("a/b.npz"))
    False
    """
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")


def time_there(folder: Path) -> float:
    """Give the time by the clock that stamps files in a folder, which may be another machine's.

    A file is written for it, and removed. Raises OSError where none can be.
    """
    probe = folder / f".clock.{uuid.uuid4().hex}"
    try:
        probe.write_bytes(b"now")
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, survive a power loss.

    Raises OSError where the disk refuses, which is where some file systems report that it is full.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make all files below a folder, and the names in it, survive a power loss.

    Raises OSError where the disk refuses.
    """
    for folder, _, names in os.walk(path):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))
