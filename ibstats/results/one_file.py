"""An analysis in one file: its document and its labelled tree, under a sha256 of the whole.

A zip: `results.json` and, below `tree/`, the Zarr hierarchy, one member an object. The archive's
comment, its last bytes, is the sha256 of all that stands before it. Equal analyses have equal bytes.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import xarray as xr
from zarr.storage import ZipStore

from ibstats.store import write_tree
from schemas.io.files import temporary_name, whole_file
from schemas.results import Results

DOCUMENT, TREE = "results.json", "tree"
"""Names in the archive: of the rows, and of the group that the tree lies under."""

SEAL = 64
"""Bytes of the seal, at the end of the file: sha256 in hex."""


def write(tree: xr.DataTree, document: Results, file: Path) -> None:
    """Write an analysis, whole or not at all; another one of that name is replaced.

    `document` is sealed (`ibstats.results.sealed.sealed_results`); the folder is made if it lacks.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    unpacked = temporary_name(file.with_suffix(".zarr"))
    try:
        write_tree(tree, unpacked)
        with whole_file(file) as temporary:
            with ZipFile(temporary, "w") as archive:
                archive.comment = b"0" * SEAL
                rows = document.model_dump_json(indent=1)
                archive.writestr(_member(DOCUMENT, ZIP_DEFLATED), rows)
                for path in sorted(unpacked.rglob("*")):
                    if path.is_file():
                        name = path.relative_to(unpacked).as_posix()
                        member = _member(f"{TREE}/{name}", ZIP_STORED)
                        archive.writestr(member, path.read_bytes())
            _seal(temporary)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _member(name: str, compression: int) -> ZipInfo:
    """A member without the time at which it was written."""
    member = ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.compress_type = compression
    return member


def _seal(file: Path) -> None:
    """Put the digest of a file in the place of its last bytes."""
    content = file.read_bytes()[:-SEAL]
    with file.open("r+b") as stream:
        stream.seek(len(content))
        stream.write(hashlib.sha256(content).hexdigest().encode())


def is_sealed(file: Path) -> bool:
    """Whether a file is the one that was written.

    Raises OSError if it cannot be read.
    """
    content = file.read_bytes()
    return hashlib.sha256(content[:-SEAL]).hexdigest().encode() == content[-SEAL:]


def read_document(file: Path) -> Results:
    """The rows of an analysis.

    The file is one that `is_sealed`; ValueError where its document follows another schema.
    """
    with ZipFile(file) as archive:
        return Results.model_validate_json(archive.read(DOCUMENT))


def read_tree(file: Path) -> xr.DataTree:
    """The labelled tree of an analysis, loaded.

    The file is one that `is_sealed`.
    """
    with ZipStore(file, mode="r") as store:
        opened = xr.open_datatree(
            store,  # type: ignore[arg-type]  # its annotation lacks the stores of Zarr
            group=TREE,
            engine="zarr",
            consolidated=False,
            chunks=None,
        )
        tree: xr.DataTree = opened.load()
    return tree
