"""What the system or a service refuses, in one line with its repair."""

from __future__ import annotations

import errno
import os
from urllib.parse import urlsplit


class FolderError(OSError):
    """A URL cannot be used or reached; the message is one line.

    It is an OSError, as what a disk refuses is.
    """


REFUSED = {
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that can be written to",
    errno.ENOTDIR: "a file lies where a folder is needed; give another name",
    errno.EEXIST: "a file lies where a folder is needed; give another name",
    errno.EISDIR: "a folder lies where a file is needed; give another name",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOSPC: "free some room, then run the same command again",
    errno.EDQUOT: "free some room, then run the same command again",
    errno.EFBIG: "raise the size that a file may have, then run the same command again",
    errno.EIO: "the disk or share failed; check it, then run the same command again",
    errno.ESTALE: "the share was lost; mount it, then run the same command again",
    errno.ENOTCONN: "the share was lost; mount it, then run the same command again",
    errno.ENODEV: "the disk or share is gone; mount it, then run the same command again",
    errno.ELOOP: "symbolic links lead in a circle; remove one",
    errno.EMFILE: "close other programs, or raise the number of open files (`ulimit -n`)",
    errno.ENFILE: "close other programs, or raise the number of open files (`ulimit -n`)",
    errno.ENOMEM: "free some memory, then run the same command again",
}
"""What to do where the system refuses to read or write a file."""


def in_clear(url: str) -> bool:
    """Say whether what is sent to a URL can be read on the way: plain HTTP to another machine.

    >>> in_clear("http://example.org/v1"), in_clear("http://127.0.0.1:8000"), in_clear("https://a.b")
    (True, False, False)
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    here = host in ("localhost", "::1") or host.startswith("127.")
    return parts.scheme == "http" and not here


def refusal(error: OSError) -> str | None:
    """Say what the system refused, and the repair, in one line; None for what no user can mend.

    >>> refusal(FileNotFoundError(errno.ENOENT, "No such file", "a.txt")) is None
    True
    >>> refusal(PermissionError(errno.EACCES, "Permission denied", "/a"))
    "'/a': permission denied; choose a folder that you may write to."
    >>> refusal(OSError(errno.ENOSPC, "No space left on device"))
    'no space left on device; free some room, then run the same command again.'
    """
    if isinstance(error, FolderError):
        return str(error)
    repair = REFUSED.get(error.errno or 0)
    if repair is None:
        return None
    said = f"{os.strerror(error.errno or 0).lower()}; {repair}."
    if error.filename is None:  # the system names the file of an opening, not of a write
        return said
    return f"'{error.filename}': {said}"
