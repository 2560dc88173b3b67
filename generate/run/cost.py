"""What a study costs: images, bytes, floating-point operations, hours.

All is measured, and every estimate says where.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from generate.models.base import Model
from generate.run.batching import batch_sizes
from generate.run.blocks import size
from generate.run.loading import identify, load
from generate.store.room import bytes_of
from generate.store.samples import SampleStore
from generate.study.planning import Plan
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from schemas.store import Block, BlockRecord

CPU_REHEARSAL = 16
"""Images of a batch that is measured on a CPU.

Larger ones are hardly faster an image there, and long to wait for.
"""


@dataclass(frozen=True)
class Measured:
    """Cost of one image of a model."""

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
        """Seconds of one process for what is left; None where nothing was measured."""
        if self.each is None:
            return None
        return (self.left + self.calibration) * self.each.seconds

    @property
    def bytes_left(self) -> float:
        """Bytes of what is left: as measured, or at most."""
        if self.each is not None and self.each.bytes is not None:
            return self.left * self.each.bytes
        return self.most_bytes * self.left / max(self.images, 1)


def estimates(plan: Plan, store: SampleStore) -> list[Estimate]:
    """What is left of a store by model, judged by its own committed blocks."""
    records = store.ledger.read_all(plan.blocks())
    shapes = store.run.experiments.values()
    found = []
    for label, identity in store.run.models.items():
        images = _images(plan, label, plan.blocks())
        done = _images(plan, label, records)
        most = bytes_of(identity, shapes, images=plan.study.images)
        each = committed(plan, records, label)
        found.append(Estimate(label, images, images - done, 0, most, each))
    return found


def committed(plan: Plan, records: Mapping[Block, BlockRecord], label: str) -> Measured | None:
    """Cost of an image by the committed blocks of a model, None if there are none."""
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


def _images(plan: Plan, label: str, blocks: Iterable[Block]) -> int:
    """Images of the blocks that are of a model."""
    return sum(size(block, plan) for block in blocks if block.model == label)


def forecast(plan: Plan, store: SampleStore | None, device: str) -> list[Estimate]:
    """What a study takes by model, before it is run.

    Judged by the committed blocks of its store where there are any, else by one batch of each model
    on a torch device, which is kept nowhere.
    """
    if store is None:
        return [_estimate(plan, label, device) for label in plan.models]
    found = []
    for known in estimates(plan, store):
        batch = rehearse(plan, known.model, device)
        found.append(replace(known, each=_combined(known.each, batch)))
    return found


def _estimate(plan: Plan, label: str, device: str) -> Estimate:
    """What a model's part of a study takes, of which nothing is there yet."""
    images = _images(plan, label, plan.blocks())
    shapes = [plan.experiment_plan(name) for name in plan.experiments]
    most = bytes_of(identify(plan)[label], shapes, images=plan.study.images)
    n_calibration = 0
    if plan.needs_calibration:
        n_calibration = len(plan.calibration_prompts) * plan.study.calibration.samples
    each = rehearse(plan, label, device)
    return Estimate(label, images, images, n_calibration, most, each)


def rehearse(plan: Plan, label: str, device: str) -> Measured:
    """Cost of an image by sampling and decoding one batch of a model, which is kept nowhere."""
    model = load(plan, label, device)
    with FlopCounterMode(display=False) as counter:  # also warms up
        _sample(plan, model, device, 1)
    n = batch_sizes(plan, lambda _: model, device)[label]
    if device == "cpu":
        n = min(n, CPU_REHEARSAL)
    start = time.perf_counter()
    _sample(plan, model, device, n)
    seconds = (time.perf_counter() - start) / n
    return Measured(seconds, None, counter.get_total_flops(), f"a batch of {n} on {device}")


def _sample(plan: Plan, model: Model, device: str, n: int) -> None:
    """Sample `n` images of the first prompt, decode them if the study does, and wait for the end."""
    keys = np.arange(n, dtype=np.uint64)
    conditioning = model.encode([plan.prompts[0].text] * n)
    trace = model.traverse(conditioning, Probe(), PhiloxNoise(keys, keys))
    if plan.study.images:
        model.decode(trace.tokens)
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _combined(blocks: Measured | None, batch: Measured) -> Measured:
    """Time and bytes by committed blocks where there are any, and operations by a batch."""
    if blocks is None:
        return batch
    return replace(blocks, operations=batch.operations)
