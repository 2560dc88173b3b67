"""The objects of small blocks as large ones: where they lie, and what a reader of them goes by.

A merged array is the array it was, with larger chunks, whose keys have another form (`0.3.0` in the
place of `c.0.3.0`), so that both kinds of objects lie side by side until those of the blocks go.
`seal.json` says which of them are the samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.io import layout
from schemas.io.checked import as_stored, damaged_template, mismatch, read_or_none
from schemas.io.folder import Folder
from schemas.io.reader import Dataset
from schemas.io.sealed import RESTORE
from schemas.sealed import MergedRecord, SealRecord
from schemas.store import RunRecord, StoredObject

KEYS = {"name": "v2", "configuration": {"separator": "."}}
"""Keys of merged objects, in the words of Zarr: those of blocks begin with `c`."""


def with_larger_chunks(metadata: bytes, n_blocks: int) -> bytes:
    """Give the zarr.json of an array, an object of which holds so many blocks.

    `metadata` are those of an object a block.

    >>> one = b'{"chunk_grid": {"configuration": {"chunk_shape": [1, 2, 9]}}}'
    >>> json.loads(with_larger_chunks(one, 50))["chunk_grid"]["configuration"]["chunk_shape"]
    [1, 100, 9]
    """
    document: dict[str, Any] = json.loads(metadata)
    document["chunk_grid"]["configuration"]["chunk_shape"][1] *= n_blocks
    document["chunk_key_encoding"] = KEYS
    return json.dumps(document, indent=2).encode()


def read_merged(where: Folder, seal: SealRecord | None) -> dict[Dataset, MergedRecord]:
    """Read what a seal names of merged objects, by Dataset; nothing of a run that is not sealed.

    Raises CorruptStore for a file that is missing or altered.
    """
    found = {}
    for piece in [] if seal is None else seal.merged:
        content = read_or_none(where, piece.key)
        problem = mismatch(piece, content)
        if problem is not None or content is None:
            raise damaged_template(f"{where}/{piece.key}", problem or "missing", RESTORE)
        try:
            record = MergedRecord.model_validate_json(content)
        except ValueError as error:
            said = " ".join(str(error).split())[:100]
            raise damaged_template(f"{where}/{piece.key}", said, RESTORE) from None
        found[piece.model, piece.experiment] = record
    return found


def metadata_of(merged: Iterable[MergedRecord]) -> dict[str, bytes]:
    """Give the zarr.json of every merged array, by its key in the Zarr hierarchy.

    It is what a reader goes by, whatever lies in the hierarchy.
    """
    found = {}
    for record in merged:
        group = layout.group_name(record.model, record.experiment)
        for name, array in record.arrays.items():
            found[f"{group}/{name}/zarr.json"] = array.merged.encode()
    return found


def stored_metadata(record: MergedRecord) -> list[StoredObject]:
    """Give what the zarr.json of a Dataset's merged arrays are to be in the hierarchy, for others.

    A process killed after the seal leaves older ones, until `ibgenerate seal` is called again.
    """
    return [as_stored(key, content) for key, content in metadata_of([record]).items()]


def without_metadata(run: RunRecord, merged: Mapping[Dataset, MergedRecord]) -> RunRecord:
    """Give a run whose template leaves out what merging has replaced: the zarr.json of its arrays.

    A process killed between the seal and them leaves some as they were, and nothing reads them.
    """
    replaced = metadata_of(merged.values())
    if not replaced:
        return run
    template = [stored for stored in run.template if stored.key not in replaced]
    return run.model_copy(update={"template": template})
