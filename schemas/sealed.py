"""`seal.json`: the ledger of a finished run in a few tables, instead of a record a block.

A run of millions of blocks is opened by one small file then, and a record is read when its block
is. Nothing of the run changes but where its records stand: samples, and the digest of them, are the
same. If asked for, the objects of neighbouring blocks are merged into large ones as well: what a
`MergedRecord` says then stands in the place of the objects that the blocks' records name.
"""

from __future__ import annotations

from pydantic import Field

from schemas.store import VERSION, StoredObject
from schemas.study import Name, Strict


class LedgerPiece(StoredObject):
    """A table of the records `[start, stop)` of one Dataset.

    Records are in the order of their conditions, those of a condition in the order of their blocks.
    `key` is relative to the run, not to `data.zarr`, and begins with `sealed/`.
    """

    model: Name
    experiment: Name
    start: int = Field(ge=0)
    stop: int


class MergedPiece(StoredObject):
    """The file with the `MergedRecord` of one Dataset.

    `key` is relative to the run, not to `data.zarr`, and begins with `sealed/`.
    """

    model: Name
    experiment: Name


class ArrayMetadata(Strict):
    """The `zarr.json` of an array whose objects were merged, as text."""

    blocks: str
    """The one that the array was made with: an object a block."""
    merged: str
    """The one of the merged objects, with larger chunks, and keys of another form."""


class MergedRecord(Strict):
    """What was made of the objects of a Dataset's blocks, several of them to one.

    The objects of the blocks are no more. Readers take the metadata from here; the `zarr.json` in
    the Zarr hierarchy, for readers without our code, is replaced once `seal.json` names this.
    """

    schema_version: str = VERSION
    model: Name
    experiment: Name
    blocks: int = Field(ge=2)
    """Neighbouring blocks of a condition in an object; the last of a condition may hold fewer."""
    arrays: dict[Name, ArrayMetadata]
    """The arrays, by variable."""
    objects: list[StoredObject]
    """Every merged object."""


class SealRecord(Strict):
    """What says that a run is sealed: its tables are the ledger, and records beside mean nothing.

    It is written once, after the tables that it names; then the records go.
    """

    schema_version: str = VERSION
    run_id: str
    config_sha256: str
    sealed: str
    """When the run was sealed."""
    pieces: list[LedgerPiece]
    """Every table, with its length and sha256; those of a Dataset follow each other."""
    merged: list[MergedPiece] = Field(
        default=[], description="How objects were merged; no Dataset that keeps those of blocks."
    )
    snapshots: dict[str, str]
    """Digest of the content of all blocks, `*/*`, and of those of each `model/experiment`,
    `model/*` and `*/experiment`.
    """
    sha256: str = Field(
        default="", description="Digest of all the above, against damage to the record itself."
    )


def snapshot_name(model: str | None, experiment: str | None) -> str:
    """Give the name of a digest among the snapshots of a seal; None stands for all.

    >>> snapshot_name("trio-mim", None)
    'trio-mim/*'
    """
    return f"{model or '*'}/{experiment or '*'}"
