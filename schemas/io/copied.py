"""Whether a run is a copy that did not finish: `rsync`, or the sync of a bucket, stopped half-way.

One file that is gone is damage; many are a copy that stopped. What arrived last is what lacks, and
the order is that of the tool: rsync brings `run.json` first and the ledger after the data, a bucket
anything at any time. So records may be there without their objects, and objects without records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from schemas.io import layout
from schemas.io.folder import Folder
from schemas.io.ledger import objects_of
from schemas.store import Block, BlockRecord, RunRecord

FEW = 2
"""Objects that must lack before it looks like a copy that stopped, and not like damage."""
AGAIN = "if it was copied, copy it again (`rsync -a` goes on where it stopped)"


def images_count(sizes: Mapping[str, int], group: str, recorded: Collection[str]) -> bool:
    """Say whether images of a Dataset are to be there: False of a copy that left them out.

    `sizes` are bytes by key in the run, `group` is the Dataset, `recorded` the keys of its images in
    the Zarr hierarchy, merged or not. A copy without them has none. Where there was one object
    alone, the metadata of its array tell: with them it was lost, and who leaves images out leaves
    out the folder.

    >>> images_count({"data.zarr/m/e/image/zarr.json": 9}, "m/e", ["m/e/image/c.0.0"])
    True
    >>> images_count({}, "m/e", ["m/e/image/c.0.0"])
    False
    """
    if any(layout.data_key(key) in sizes for key in recorded):
        return True
    return 0 < len(recorded) < FEW and layout.data_key(f"{group}/image/zarr.json") in sizes


def half_copied(
    where: Folder, run: RunRecord, records: Sequence[BlockRecord] = (), *, images: bool = True
) -> str | None:
    """Say that many recorded objects are missing or cut short, and the repair; None where few are.

    `records` are the committed blocks that count; without `images`, which a run may be copied
    without, images do not. Takes one listing.
    """
    sizes = where.sizes(layout.DATA)
    n_recorded, lacking = 0, []
    for stored in (*run.template, *objects_of(records)):
        if not images and "/image/" in stored.key:
            continue
        n_recorded += 1
        if sizes.get(layout.data_key(stored.key), -1) < stored.bytes:
            lacking.append(stored.key)
    if len(lacking) < FEW:
        return None
    return (
        f"'{where}' is not all there: {len(lacking)} of {n_recorded} recorded objects are missing or "
        f"cut short, the first is '{lacking[0]}'; {AGAIN}; if it was not, `ibgenerate verify` says "
        "what is lost"
    )


def unrecorded(where: Folder, blocks: Iterable[Block], done: Iterable[Block]) -> int:
    """Give how many blocks of a run have objects and no record, and are in nobody's hands.

    A process that was killed leaves one. `done` are the committed of the blocks. Takes two listings.
    """
    claimed = where.sizes("claims")
    pending = set()
    for block in set(blocks) - set(done):
        names = (block.model, block.experiment, block.condition, block.index)
        if layout.block_key("claims", *names) not in claimed:
            group = layout.data_key(layout.group_name(block.model, block.experiment))
            pending.add((group, str(block.condition), str(block.index)))
    begun = set()
    for key in where.sizes(layout.DATA):
        array, _, name = key.rpartition("/")
        chunk = name.split(".")
        if chunk[0] == "c" and len(chunk) > 2:
            begun.add((array.rpartition("/")[0], chunk[1], chunk[2]))
    return len(begun & pending)
