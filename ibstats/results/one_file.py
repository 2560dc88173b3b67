"""An analysis in one file: its document and its labelled tree, under a sha256 of the whole.

A zip: `results.json` and, below `tree/`, the Zarr hierarchy, one member an object. The archive's
comment, its last bytes, is the sha256 of all that stands before it. Equal analyses have equal bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import xarray as xr
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore, ZipStore

from schemas.io.files import whole_file
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
    objects = _objects(tree)
    with whole_file(file) as temporary:
        with ZipFile(temporary, "w") as archive:
            archive.comment = b"0" * SEAL
            rows = document.model_dump_json(indent=1)
            archive.writestr(_member(DOCUMENT, ZIP_DEFLATED), rows)
            for key in sorted(objects):
                archive.writestr(_member(f"{TREE}/{key}", ZIP_STORED), objects[key].to_bytes())
        _seal(temporary)


def _objects(tree: xr.DataTree) -> dict[str, Buffer]:
    """The objects of a tree's Zarr hierarchy, by key.

    Texts are stored as strings of variable length, the only kind Zarr v3 specifies.
    """
    objects: dict[str, Buffer] = {}
    portable = tree.map_over_datasets(_with_object_strings)
    portable.to_zarr(MemoryStore(objects), consolidated=False, zarr_format=3)
    return objects


def _with_object_strings(dataset: xr.Dataset) -> xr.Dataset:
    """Give the dataset with texts as objects, which Zarr stores at variable length."""
    coords: dict[Hashable, xr.Variable] = {}
    variables: dict[Hashable, xr.Variable] = {}
    for name, variable in dataset.variables.items():
        if variable.dtype.kind in "UT":
            found = coords if name in dataset.coords else variables
            found[name] = variable.astype(object)
    return dataset.assign_coords(coords).assign(variables)


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
