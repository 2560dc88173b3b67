"""Room on the disk: how much a run needs, and one line where there is not enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from generate.errors import DiskFullError
from schemas.io.disk import disk_told
from schemas.io.folder import Folder
from schemas.io.template import PER_BLOCK
from schemas.provenance import ModelIdentity
from schemas.store import ExperimentPlan, RunRecord

DISK_BLOCK = 4096
"""Bytes that a file takes at least."""
TOKEN_BYTES = 12
"""Bytes of a grid position in all arrays over the grid, before compression."""
STEP_BYTES = 8
"""Bytes of a step in all arrays over the steps."""


def bytes_needed(run: RunRecord) -> int:
    """Give an upper estimate of the bytes of a whole run.

    Compression is left out, and a file takes at least a block of the disk.
    """
    images = run.study is not None and run.study.images
    plans = list(run.experiments.values())
    return sum(bytes_of(model, plans, images=images) for model in run.models.values())


def bytes_of(model: ModelIdentity, experiments: Iterable[ExperimentPlan], *, images: bool) -> int:
    """Give an upper estimate of the bytes of a model's blocks, before compression.

    `images` says whether they are stored. A file takes at least a block of the disk.
    """
    rows, cols = model.grid
    each = rows * cols * TOKEN_BYTES + model.steps * STEP_BYTES
    if images:
        height, width = model.image_size
        each += height * width * 3
    total = 0
    for plan in experiments:
        blocks = len(plan.conditions) * plan.n_blocks
        total += DISK_BLOCK * len(PER_BLOCK) * blocks
        total += len(plan.conditions) * plan.n_prompts * plan.n_samples * each
    return total


def bytes_on_disk(sizes: Iterable[int]) -> int:
    """Give the bytes that files of those sizes take on a disk.

    >>> bytes_on_disk([1, 4096, 4097])
    16384
    """
    return sum(-(-size // DISK_BLOCK) * DISK_BLOCK for size in sizes)


def refuse_too_small(where: Folder, needed: int, what: str, repair: str) -> None:
    """Raise DiskFullError if a disk has no room for `needed` bytes.

    `what` says what needs them, up to the verb; `repair` what to do. A place without a bound, such
    as a bucket, has room.
    """
    free = where.free()
    if free is not None and needed > free:
        raise DiskFullError(
            f"{where} has {free / 1e6:.2f} MB free, but {what} {needed / 1e6:.2f} MB: {repair}."
        )


@contextmanager
def room_in(where: Folder, needed: int) -> Iterator[None]:
    """Turn what a disk refuses into DiskFullError, for want of room, or DiskError.

    `needed` are the bytes of the whole run, which the message names. Other errors pass.
    """
    with disk_told(where, needed or None, "run the same command again; committed blocks are kept."):
        yield
