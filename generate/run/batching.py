"""How many samples go through a model at once: as the study says, or as many as fit.

Found once and kept for the run: logits depend on the shape of their batch by rounding, so a run
never changes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from generate.models import memory
from generate.models.base import Model
from generate.run.returned import DECODED_AT_ONCE
from generate.study.planning import Plan
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise

CPU_BATCH = 64
MOST = 512
FEW = 5
"""Samples whose peak of memory is compared with that of one."""
SHARE = 0.8
"""Share of the free memory to fill: allocators fragment, and blocks of longer texts take more."""


def batch_size(plan: Plan, label: str, load: Callable[[str], Model], device: str) -> int:
    """Samples per forward of the model that a plan calls `label`.

    `load` gives it, and is called only where the size must be found out.
    """
    asked = plan.study.batch_size
    if asked != "auto":
        return asked
    if not device.startswith("cuda"):
        return CPU_BATCH
    longest = max((prompt.text for prompt in plan.prompts), key=len)
    return fit(load(label), longest, device)


def fit(model: Model, text: str, device: str) -> int:
    """The largest power of two of samples of a text that fits beside a model on a GPU.

    Found from the peaks of memory of sampling one image and five, and of decoding them.
    """

    def sample(n: int) -> None:
        keys = np.arange(n, dtype=np.uint64)
        model.traverse(model.encode([text] * n), Probe(), PhiloxNoise(keys, keys))

    def decode(n: int) -> None:
        n_positions = math.prod(model.identity.grid)
        model.decode(torch.zeros((n, n_positions), dtype=torch.int64, device=device))

    sampling = _peak(sample, 1, device), _peak(sample, FEW, device)
    decoding = _peak(decode, 1, device), _peak(decode, FEW, device)
    memory.give_back(device)
    available = memory.free_bytes(device) + torch.cuda.memory_allocated(device)
    return fitting(sampling, decoding, available)


def _peak(work: Callable[[int], None], n: int, device: str) -> int:
    """Bytes at the peak of some work on `n` images."""
    memory.give_back(device)
    torch.cuda.reset_peak_memory_stats(device)
    work(n)
    return torch.cuda.max_memory_allocated(device)


def fitting(sampling: tuple[int, int], decoding: tuple[int, int], available: int) -> int:
    """Samples in a batch, of which parts of `DECODED_AT_ONCE` are decoded.

    All are bytes: the peaks of sampling one and five, those of decoding one and five, and the memory
    there is. Decoding sets the size only where not even a part fits.

    >>> fitting((1_000, 1_400), (2_000, 6_000), available=24_000)
    128
    >>> fitting((1_000, 1_400), (2_000, 6_000), available=10_000)
    4
    """
    n, part = largest(*sampling, available), largest(*decoding, available)
    return n if part >= min(n, DECODED_AT_ONCE) else part


def largest(one: int, five: int, available: int) -> int:
    """Samples, a power of two up to `MOST`, whose peak stays within `SHARE` of the memory.

    All are bytes: the peaks of one sample and of five, and the memory there is. At least one sample
    is given, even where it does not fit.

    >>> largest(one=1_000, five=1_400, available=10_000)
    64
    """
    each = max((five - one) // (FEW - 1), 1)
    n = int((SHARE * available - (one - each)) // each)
    return 1 << max(min(n, MOST), 1).bit_length() - 1
