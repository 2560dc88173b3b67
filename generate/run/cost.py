"""What a study costs: images, bytes, floating-point operations, hours; measured, and where it was measured is said."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from generate.store.samples import SampleStore, bytes_of
from generate.study.plan import Block, Plan
from schemas.store import BlockRecord

CPU_REHEARSAL = 16
"""Images of a batch that is measured on a CPU, where larger ones are hardly faster an image, and long to wait for."""


@dataclass(frozen=True)
class Measured:
    """Cost of one image of a model."""

    seconds: float
    """Of one process, sampling, decoding and storing."""
    bytes: float | None
    """As stored, compressed; None where nothing was stored yet."""
    operations: float | None
    """Floating-point operations of matrix products, convolutions and attention; None where they were not counted."""
    source: str
    """What was measured."""


@dataclass(frozen=True)
class Estimate:
    """What a model's part of a study takes."""

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
        """Seconds of one process for what is left."""
        return None if self.each is None else (self.left + self.calibration) * self.each.seconds

    @property
    def bytes_left(self) -> float:
        """Bytes of what is left: as measured, or at most."""
        if self.each is not None and self.each.bytes is not None:
            return self.left * self.each.bytes
        return self.most_bytes * self.left / max(self.images, 1)


def committed(plan: Plan, records: Mapping[Block, BlockRecord], label: str) -> Measured | None:
    """Cost of an image by the committed blocks of a model, None if there are none."""
    ours = [(block, record) for block, record in records.items() if block.model == label]
    n_images = sum(
        (block.stop - block.start) * plan.n_samples(block.experiment) for block, _ in ours
    )
    if not n_images:
        return None
    seconds = sum(_seconds(record) for _, record in ours)
    size = sum(stored.bytes for _, record in ours for stored in record.objects)
    return Measured(seconds / n_images, size / n_images, None, f"{len(ours)} committed blocks")


def _seconds(record: BlockRecord) -> float:
    return (
        datetime.fromisoformat(record.finished) - datetime.fromisoformat(record.started)
    ).total_seconds()


def estimates(plan: Plan, store: SampleStore) -> list[Estimate]:
    """What is left of a store, by its own committed blocks."""
    records = store.ledger.read_all(plan.blocks())
    found = []
    for label, identity in store.run.models.items():
        images = _images(plan, label, plan.blocks())
        done = _images(plan, label, records)
        most = bytes_of(identity, store.run.experiments.values(), images=plan.study.images)
        found.append(
            Estimate(label, images, images - done, 0, most, committed(plan, records, label))
        )
    return found


def _images(plan: Plan, label: str, blocks: Iterable[Block]) -> int:
    return sum(
        (b.stop - b.start) * plan.n_samples(b.experiment) for b in blocks if b.model == label
    )


def rehearse(plan: Plan, label: str, device: str) -> Measured:
    """Cost of an image by sampling and decoding one batch of a model, which is kept nowhere."""
    import numpy as np
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from generate.run.batching import batch_sizes
    from generate.run.run import load
    from generate.study.probes import Probe
    from generate.traversal.draw import PhiloxNoise

    model = load(plan, label, device)
    text = plan.prompts[0].text

    def sample(n: int) -> None:
        keys = np.arange(n, dtype=np.uint64)
        trace = model.traverse(model.encode([text] * n), Probe(), PhiloxNoise(keys, keys))
        if plan.study.images:
            model.decode(trace.tokens)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    counter = FlopCounterMode(display=False)
    with counter:  # also warms up
        sample(1)
    n = batch_sizes(plan, lambda _: model, device)[label]
    if device == "cpu":
        n = min(n, CPU_REHEARSAL)
    start = time.perf_counter()
    sample(n)
    seconds = (time.perf_counter() - start) / n
    return Measured(seconds, None, counter.get_total_flops(), f"a batch of {n} on {device}")


def forecast(plan: Plan, store: SampleStore | None, device: str) -> list[Estimate]:
    """What a study takes before it is run: by a store's own committed blocks, else by one batch of each model."""
    from generate.run.run import identify

    if store is not None:
        known = estimates(plan, store)
        counted = [rehearse(plan, e.model, device) for e in known]
        return [
            Estimate(e.model, e.images, e.left, 0, e.most_bytes, _combined(e.each, batch))
            for e, batch in zip(known, counted, strict=True)
        ]
    found = []
    shapes = [plan.experiment_plan(name) for name in plan.experiments]
    n_calibration = (
        len(plan.calibration_prompts) * plan.study.calibration.samples
        if plan.needs_calibration
        else 0
    )
    for label, identity in identify(plan).items():
        images = _images(plan, label, plan.blocks())
        most = bytes_of(identity, shapes, images=plan.study.images)
        found.append(
            Estimate(label, images, images, n_calibration, most, rehearse(plan, label, device))
        )
    return found


def _combined(blocks: Measured | None, batch: Measured) -> Measured:
    """Time and bytes by committed blocks where there are any, and operations by a batch."""
    if blocks is None:
        return batch
    return Measured(blocks.seconds, blocks.bytes, batch.operations, blocks.source)
