"""What a study costs: images, bytes, floating-point operations, hours; here by what is committed.

All is measured, and every estimate says where; `generate.run.rehearsal` measures what is not there.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from generate.store.room import bytes_of
from generate.store.samples import SampleStore
from generate.study.planning import Plan, size
from schemas.store import Block, BlockRecord

MEASURED = 100
"""Committed blocks of a model whose records an estimate reads, at most."""


@dataclass(frozen=True)
class Measured:
    """Cost of one image of a model, as measured.

    What could not be measured is None, not 0.
    """

    seconds: float
    """Of one process, sampling, decoding and storing."""
    bytes: float | None
    """As stored, compressed; None where nothing was stored yet."""
    operations: float | None
    """Floating-point operations of matrix products, convolutions and attention; None: not counted."""
    source: str
    """What was measured."""


@dataclass(frozen=True)
class Estimate:
    """What a model's part of a study takes: images, and the cost of each.

    `model` is the label in the store.
    """

    model: str
    images: int
    left: int
    """Images that are not committed yet."""
    calibration: int
    """Images that are sampled for code usage only, where this is still to do."""
    most_bytes: int
    """Upper bound of the bytes of all images."""
    each: Measured | None
    """None where nothing was measured."""

    @property
    def seconds_left(self) -> float | None:
        """Seconds of one process for what is left; None where nothing was measured."""
        if self.each is None:
            return None
        return (self.left + self.calibration) * self.each.seconds

    @property
    def bytes_left(self) -> float:
        """Bytes of the images that are not committed yet.

        From the bytes an image took where some are measured; else the share of `most_bytes`, an
        upper bound.
        """
        if self.each is not None and self.each.bytes is not None:
            return self.left * self.each.bytes
        return self.most_bytes * self.left / max(self.images, 1)


@dataclass(frozen=True)
class Total:
    """What all parts of a study take together, as far as it is known.

    Counts are images; time is that of one process.
    """

    images: int
    left: int
    calibration: int
    bytes_left: float
    seconds_left: float
    """Of one process, for the models of which something was measured."""


def total(found: Sequence[Estimate]) -> Total:
    """The sum of estimates of models.

    A model of which nothing was measured adds nothing to the time.
    """
    images = left = calibration = 0
    n_bytes = seconds = 0.0
    for estimate in found:
        images += estimate.images
        left += estimate.left
        calibration += estimate.calibration
        n_bytes += estimate.bytes_left
        seconds += estimate.seconds_left or 0.0
    return Total(images, left, calibration, n_bytes, seconds)


def estimates(
    plan: Plan, store: SampleStore, committed: Collection[Block] | None = None
) -> list[Estimate]:
    """What is left of a store by model, judged by the records of `MEASURED` of its blocks at most.

    `committed` are its committed blocks, where they have been listed already. Nothing is sampled; a
    model of which nothing is committed has no cost for an image.
    """
    blocks = list(plan.blocks())
    done = store.ledger.done(blocks) if committed is None else committed
    shapes = store.run.experiments.values()
    found = []
    for label, identity in store.run.models.items():
        ours = [block for block in blocks if block.model == label]
        ours_done = [block for block in ours if block in done]
        images = images_of(plan, label, ours)
        left = images - images_of(plan, label, ours_done)
        most = bytes_of(identity, shapes, images=plan.study.images)
        each = measured(plan, store, ours_done)
        found.append(Estimate(label, images, left, 0, most, each))
    return found


def measured(plan: Plan, store: SampleStore, blocks: Sequence[Block]) -> Measured | None:
    """Cost of an image by committed blocks, None if there are none.

    Of many, records are read of some that lie evenly among them. Time is from the start of a block
    to its commit, bytes are those of its objects as stored.
    """
    step = max(1, math.ceil(len(blocks) / MEASURED))
    some = set(blocks[::step])
    records = store.ledger.read_all(some, some)
    n_images, seconds, n_bytes = 0, 0.0, 0
    for block, record in records.items():
        n_images += size(block, plan)
        seconds += _seconds(record)
        n_bytes += sum(stored.bytes for stored in record.objects)
    if not n_images:
        return None
    source = f"{len(records)} committed blocks"
    return Measured(seconds / n_images, n_bytes / n_images, None, source)


def _seconds(record: BlockRecord) -> float:
    took = datetime.fromisoformat(record.finished) - datetime.fromisoformat(record.started)
    return took.total_seconds()


def images_of(plan: Plan, label: str, blocks: Iterable[Block]) -> int:
    """Images of those of some blocks that are of the model `label`."""
    return sum(size(block, plan) for block in blocks if block.model == label)
