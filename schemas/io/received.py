"""What a run made by others may not do: lead out of itself by links, or inflate beyond its size."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import zarr
from typing_extensions import override
from zarr.codecs import ZstdCodec
from zarr.registry import register_codec

from schemas.errors import CorruptStore, StoreError
from schemas.io import layout
from schemas.io.folder import Folder, LocalFolder

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer

ZSTD = b"\x28\xb5\x2f\xfd"
"""How a zstd frame begins (RFC 8878, 3.1.1)."""
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}(\..+)?")
"""Names of files of ours that are being written, or that a killed process left."""
DICTIONARY_ID = (0, 1, 2, 4)
"""Bytes of the dictionary's id in a frame's header, by the flag that says so."""
TEXT_BYTES = 2**20
"""The most that a text may hold, in arrays whose items have no fixed size."""
CONTENT_SIZE = (0, 2, 4, 8)
"""Bytes of the content's size in a frame's header, by the flag that says so."""


def guard(where: Folder) -> None:
    """Refuse links out of a run, and have chunks checked before they inflate, from now on.

    Raises StoreError for a link that leads out of a folder.
    """
    if isinstance(where, LocalFolder):
        refuse_links_out(where.root)
    register_codec("zstd", BoundedZstd)
    zarr.config.set({"codecs.zstd": f"{BoundedZstd.__module__}.{BoundedZstd.__qualname__}"})


def refuse_links_out(root: Path) -> None:
    """Raise StoreError for the first symbolic link under a folder that leads out of it.

    By such a link a run could have its reader show, or overwrite, files of his own. The folder
    itself may be a link, and `results` may be one of the user's own, to a larger disk say: to a
    folder that is empty, or holds nothing but what `ibstats` writes.
    """
    results = layout.ResultsFolder(root).root
    _refuse_links(root, root.resolve(), but=results)
    if results.is_symlink() and results.is_dir():
        if not results.resolve().is_relative_to(root.resolve()):
            _refuse_foreign(results)
        _refuse_links(results, results.resolve())


def _refuse_links(root: Path, inside: Path, but: Path | None = None) -> None:
    """Refuse links under `root` that lead out of `inside`, but for one."""
    folders = [str(root)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(inside):
                    if but is None or Path(entry.path) != but or not but.is_dir():
                        raise _leads_out(Path(entry.path))


def _refuse_foreign(results: Path) -> None:
    """Refuse a link `results` to a folder that holds anything that `ibstats` does not write."""
    for entry in results.iterdir():
        if entry.name not in layout.RESULTS and not TEMPORARY.fullmatch(entry.name):
            raise _leads_out(results, f", which holds '{entry.name}'")


def _leads_out(link: Path, also: str = "") -> StoreError:
    return StoreError(
        f"'{link}' is a link out of the run, to '{os.readlink(link)}'{also}: put what it names in "
        "its place, if you know who made it"
    )


@dataclass(frozen=True)
class BoundedZstd(ZstdCodec):
    """Zstandard that refuses a chunk which says it is larger than its array allows."""

    @override
    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        most = largest(chunk_spec)
        size = content_size(chunk_bytes.to_bytes()[:18])
        if size is None or size > most:
            raise CorruptStore(
                f"a chunk of at most {most} bytes would inflate to {size or 'an unknown number'}: "
                "it is damaged, or made to exhaust this machine; `ibgenerate verify` names it"
            )
        return await super()._decode_single(chunk_bytes, chunk_spec)


def largest(spec: ArraySpec) -> int:
    """Give the most bytes that a chunk of an array can have, before compression."""
    n_items = 1
    for length in spec.shape:
        n_items *= length
    native = spec.dtype.to_native_dtype()
    return n_items * (TEXT_BYTES if native.kind in "OT" else native.itemsize)


def content_size(header: bytes) -> int | None:
    """Give the bytes that a zstd frame says it holds; None where it does not say, or is none.

    >>> content_size(ZSTD + bytes([0x20, 100]))
    100
    """
    if len(header) < 6 or not header.startswith(ZSTD):
        return None
    flags = header[4]
    single = flags >> 5 & 1
    n_bytes = CONTENT_SIZE[flags >> 6] or single
    start = 5 + (1 - single) + DICTIONARY_ID[flags & 3]
    if not n_bytes or len(header) < start + n_bytes:
        return None
    size = int.from_bytes(header[start : start + n_bytes], "little")
    return size + 256 * (n_bytes == 2)
