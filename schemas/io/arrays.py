"""Arrays in .npy and .npz files, whoever wrote them: checked before they take memory.

A header can say any shape, and a few bytes of a zip can inflate to any number. So a member is read
only if it says it has the bytes that its header says, and if there is room for them, and its
checksum is always looked at. Files of our own hold a digest of all that is in them, too.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from schemas.errors import UserError
from schemas.io.files import whole_file

Array = NDArray[Any]

SEAL = "sha256"
"""Name of the digest in files of our own."""


class UnreadableArrays(UserError):
    """A file holds no arrays, is damaged, or would take more memory than it says or there is."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"'{file}' cannot be read ({reason})")
        self.reason = reason
        """What is wrong, in a few words."""


def read_arrays(
    file: Path, names: Iterable[str] | None = None, *, content: bytes | None = None
) -> dict[str, Array]:
    """Give the arrays of a .npz file by name: all, or those of some names that are there.

    `content` is that of the file, where it has been read already.

    Raises UnreadableArrays for another kind of file, damage, arrays of objects, and members that
    would inflate beyond what they say, or beyond the memory that is free.
    """
    found = {}
    try:
        with zipfile.ZipFile(file if content is None else io.BytesIO(content)) as archive:
            wanted = _members(archive)
            if names is not None:
                asked = set(names)
                wanted = {name: member for name, member in wanted.items() if name in asked}
            for name, member in wanted.items():
                with archive.open(member) as stream:
                    found[name] = _read(stream, member.file_size)
    except UserError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError, NotImplementedError) as error:
        raise _unreadable(file, error) from None
    except (zipfile.BadZipFile, zlib.error, UnicodeError) as error:
        raise _unreadable(file, error) from None
    return found


def array_names(file: Path) -> list[str]:
    """Give the names of the arrays of a .npz file. Raises UnreadableArrays for another kind of file."""
    try:
        with zipfile.ZipFile(file) as archive:
            return list(_members(archive))
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _unreadable(file, error) from None


def read_array(file: Path) -> Array:
    """Give the array of a .npy file. Raises UnreadableArrays as `read_arrays` does."""
    try:
        with file.open("rb") as stream:
            return _read(stream, file.stat().st_size)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise _unreadable(file, error) from None


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Members that are arrays, by the name of the array."""
    found = {}
    for member in archive.infolist():
        if member.filename.endswith(".npy"):
            found[member.filename.removesuffix(".npy")] = member
    return found


def _read(stream: IO[bytes], size: int) -> Array:
    """Read one array whose file says that it has `size` bytes; ValueError says what is wrong."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    if dtype.hasobject:
        raise ValueError("it holds objects, which are not read")
    n_bytes = dtype.itemsize
    for length in shape:
        n_bytes *= length
    if stream.tell() + n_bytes != size:
        raise ValueError(f"it has {size} bytes, but its header says {stream.tell() + n_bytes}")
    free = psutil.virtual_memory().available
    if n_bytes > free:
        raise ValueError(f"it would take {n_bytes / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")
    stream.seek(0)
    array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):  # at its end a zip looks at the checksum
        raise ValueError("it is longer than its header says")
    return array


def _unreadable(file: Path, error: Exception) -> UnreadableArrays:
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    return UnreadableArrays(file, reason)


def write_sealed(file: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays as .npz, whole or not at all, with a digest of the file's name and all in it."""
    members: dict[str, Any] = {**arrays, SEAL: np.array(_digest(file.stem, arrays))}
    with whole_file(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **members)


def read_sealed(file: Path) -> dict[str, Array]:
    """Give the arrays that `write_sealed` wrote.

    A file without a digest, of an older version, is given as it is. Raises UnreadableArrays for
    damage, and for a file that was written under another name.
    """
    arrays = read_arrays(file)
    seal = arrays.pop(SEAL, None)
    if seal is not None and str(seal) != _digest(file.stem, arrays):
        raise UnreadableArrays(file, "its checksum differs")
    return arrays


def _digest(name: str, arrays: Mapping[str, Array]) -> str:
    """The sha256 of a name and of arrays with their names, types and shapes, 64 hex digits."""
    content = hashlib.sha256(name.encode())
    for key, values in sorted(arrays.items()):
        array = np.asarray(values)
        content.update(f"\n{key} {array.dtype.str} {array.shape}\n".encode())
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()
