"""How many samples go through a model at once: as the study says, or as many as fit, found once and kept for the run.

Logits depend on the shape of their batch by rounding, so a run never changes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from generate.study.plan import Plan

if TYPE_CHECKING:
    from generate.models.base import Model

CPU_BATCH = 64
MOST = 512
SHARE = 0.8
"""Share of the free memory to fill: allocators fragment, and blocks of longer texts take more."""


def batch_sizes(plan: Plan, load: Callable[[str], Model], device: str) -> dict[str, int]:
    """Samples per forward of every model of a plan, by its label; `load` is called only where it must be found out."""
    asked = plan.study.batch_size
    if asked != "auto":
        return dict.fromkeys(plan.models, asked)
    if not device.startswith("cuda"):
        return dict.fromkeys(plan.models, CPU_BATCH)
    longest = max((prompt.text for prompt in plan.prompts), key=len)
    return {label: fit(load(label), longest, device) for label in plan.models}


def fit(model: Model, text: str, device: str) -> int:
    """The largest power of two of samples that fits beside a model on a GPU."""
    import numpy as np
    import torch

    from generate.models.memory import free_bytes
    from generate.study.probes import Probe
    from generate.traversal.draw import PhiloxNoise

    def peak(n: int) -> int:
        """Bytes at the peak of sampling and decoding `n` images."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        keys = np.arange(n, dtype=np.uint64)
        trace = model.traverse(model.encode([text] * n), Probe(), PhiloxNoise(keys, keys))
        model.decode(trace.tokens)
        return torch.cuda.max_memory_allocated(device)

    one, several = peak(1), peak(5)
    torch.cuda.empty_cache()
    return largest(one, several, free_bytes(device) + torch.cuda.memory_allocated(device))


def largest(one: int, five: int, available: int) -> int:
    """Power of two of samples whose peak stays within `SHARE` of the memory, from the peaks of one and of five."""
    each = max((five - one) // 4, 1)
    n = int((SHARE * available - (one - each)) // each)
    return 1 << max(min(n, MOST), 1).bit_length() - 1
