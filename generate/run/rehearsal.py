"""What a study costs before it is run, by one batch of each model that is kept nowhere."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from generate.models.base import Model
from generate.run.batching import batch_size
from generate.run.cost import Estimate, Measured, estimates, images_of
from generate.run.holder import Holder
from generate.run.loading import identify
from generate.run.returned import decode, sample
from generate.store.room import bytes_of
from generate.store.samples import SampleStore
from generate.study.planning import Plan
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise

CPU_REHEARSAL = 16
"""Images of a batch that is measured on a CPU.

Larger ones are hardly faster an image there, and long to wait for.
"""


def forecast(plan: Plan, store: SampleStore | None, device: str) -> list[Estimate]:
    """What a study takes by model, before it is run.

    Judged by the committed blocks of its store where there are any, else by one batch of each model
    on a torch device, which is kept nowhere.
    """
    holder = Holder(device)
    if store is None:
        return [_estimate(plan, label, holder) for label in plan.models]
    found = []
    for known in estimates(plan, store):
        batch = rehearse(plan, known.model, holder)
        found.append(replace(known, each=_combined(known.each, batch)))
    return found


def _estimate(plan: Plan, label: str, holder: Holder) -> Estimate:
    """What a model's part of a study takes, of which nothing is there yet."""
    images = images_of(plan, label, plan.blocks())
    shapes = [plan.experiment_plan(name) for name in plan.experiments]
    most = bytes_of(identify(plan)[label], shapes, images=plan.study.images)
    n_calibration = 0
    if plan.needs_calibration:
        n_calibration = len(plan.calibration_prompts) * plan.study.calibration.samples
    each = rehearse(plan, label, holder)
    return Estimate(label, images, images, n_calibration, most, each)


def rehearse(plan: Plan, label: str, holder: Holder) -> Measured:
    """Cost of an image by sampling and decoding one batch of a model, which is kept nowhere.

    Operations are counted on one image, time is measured on a batch as large as the run's, on a CPU
    of `CPU_REHEARSAL` images at most. The prompt is the first of the study.
    """
    model, device = holder.model(plan, label), holder.device
    with FlopCounterMode(display=False) as counter:  # also warms up
        _sample(plan, model, label, device, 1)
    n = batch_size(plan, label, lambda _: model, device)
    if device == "cpu":
        n = min(n, CPU_REHEARSAL)
    start = time.perf_counter()
    _sample(plan, model, label, device, n)
    seconds = (time.perf_counter() - start) / n
    return Measured(seconds, None, counter.get_total_flops(), f"a batch of {n} on {device}")


def _sample(plan: Plan, model: Model, label: str, device: str, n: int) -> None:
    """Sample `n` images of the first prompt, decode them if the study does, and wait for the end."""
    keys = np.arange(n, dtype=np.uint64)
    texts = [plan.prompts[0].text] * n
    trace = sample(model, label, texts, Probe(), PhiloxNoise(keys, keys))
    if plan.study.images:
        decode(model, label, trace.tokens)
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _combined(blocks: Measured | None, batch: Measured) -> Measured:
    """Time and bytes by committed blocks where there are any, and operations by a batch."""
    if blocks is None:
        return batch
    return replace(blocks, operations=batch.operations)
