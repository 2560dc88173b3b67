"""How many samples go through a model at once: as the study says, or as many as fit.

Found once and kept for the run: logits depend on the shape of their batch by rounding, so a run
never changes it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from generate.models.base import Model
from generate.models.memory import free_bytes
from generate.study.planning import Plan
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise

CPU_BATCH = 64
MOST = 512
SHARE = 0.8
"""Share of the free memory to fill: allocators fragment, and blocks of longer texts take more."""


def batch_sizes(plan: Plan, load: Callable[[str], Model], device: str) -> dict[str, int]:
    """Samples per forward of every model of a plan, by its label.

    `load` gives a model by its label, and is called only where the size must be found out.
    """
    asked = plan.study.batch_size
    if asked != "auto":
        return dict.fromkeys(plan.models, asked)
    if not device.startswith("cuda"):
        return dict.fromkeys(plan.models, CPU_BATCH)
    longest = max((prompt.text for prompt in plan.prompts), key=len)
    return {label: fit(load(label), longest, device) for label in plan.models}


def fit(model: Model, text: str, device: str) -> int:
    """The largest power of two of samples of a text that fits beside a model on a GPU.

    Found from the peaks of memory of sampling and decoding one image and five.
    """
    one, several = _peak(model, text, device, 1), _peak(model, text, device, 5)
    torch.cuda.empty_cache()
    return largest(one, several, free_bytes(device) + torch.cuda.memory_allocated(device))


def _peak(model: Model, text: str, device: str, n: int) -> int:
    """Bytes at the peak of sampling and decoding `n` images."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    keys = np.arange(n, dtype=np.uint64)
    trace = model.traverse(model.encode([text] * n), Probe(), PhiloxNoise(keys, keys))
    model.decode(trace.tokens)
    return torch.cuda.max_memory_allocated(device)


def largest(one: int, five: int, available: int) -> int:
    """Samples, a power of two up to `MOST`, whose peak stays within `SHARE` of the memory.

    All are bytes: the peaks of one sample and of five, and the memory there is. At least one sample
    is given, even where it does not fit.

    >>> largest(one=1_000, five=1_400, available=10_000)
    64
    """
    each = max((five - one) // 4, 1)
    n = int((SHARE * available - (one - each)) // each)
    return 1 << max(min(n, MOST), 1).bit_length() - 1
