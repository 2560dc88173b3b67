"""What a study costs: images, bytes, floating-point operations, hours; here by what is committed.

All is measured, and every estimate says where; `generate.run.rehearsal` measures what is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from generate.store.room import bytes_of
from generate.store.samples import SampleStore
from generate.study.planning import Plan, size
from schemas.store import Block, BlockRecord


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
    plan: Plan, store: SampleStore, read: Mapping[Block, BlockRecord] | None = None
) -> list[Estimate]:
    """What is left of a store by model, judged by its own committed blocks.

    `read` are the records of these, where they have been read already. Nothing is sampled; a model
    of which nothing is committed has no cost for an image.
    """
    records = store.ledger.read_all(plan.blocks()) if read is None else read
    shapes = store.run.experiments.values()
    found = []
    for label, identity in store.run.models.items():
        images = images_of(plan, label, plan.blocks())
        done = images_of(plan, label, records)
        most = bytes_of(identity, shapes, images=plan.study.images)
        each = committed(plan, records, label)
        found.append(Estimate(label, images, images - done, 0, most, each))
    return found


def committed(plan: Plan, records: Mapping[Block, BlockRecord], label: str) -> Measured | None:
    """Cost of an image by the committed blocks of a model, None if there are none.

    Time is from the start of a block to its commit, bytes are those of its objects as stored.
    """
    n_images, seconds, n_bytes, n_blocks = 0, 0.0, 0, 0
    for block, record in records.items():
        if block.model != label:
            continue
        n_blocks += 1
        n_images += size(block, plan)
        seconds += _seconds(record)
        n_bytes += sum(stored.bytes for stored in record.objects)
    if not n_images:
        return None
    source = f"{n_blocks} committed blocks"
    return Measured(seconds / n_images, n_bytes / n_images, None, source)


def _seconds(record: BlockRecord) -> float:
    took = datetime.fromisoformat(record.finished) - datetime.fromisoformat(record.started)
    return took.total_seconds()


def images_of(plan: Plan, label: str, blocks: Iterable[Block]) -> int:
    """Images of those of some blocks that are of the model `label`."""
    return sum(size(block, plan) for block in blocks if block.model == label)
