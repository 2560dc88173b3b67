"""Whether a model's weights fit, said before they are read."""

from __future__ import annotations

import math

import torch

from generate.errors import ModelError


def free_bytes(device: str) -> int:
    """Memory of a device that can be had now."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def require(model: str, needed: int, device: str) -> None:
    """Raise if a device has less free memory than a model's weights take; sampling takes more, by the batch."""
    free = free_bytes(device)
    if needed > free:
        raise ModelError(
            f"model '{model}' takes about {gigabytes(needed)} for its weights alone, but {device} has "
            f"{gigabytes(free)} free: free some, set the option dtype to bfloat16, or take a larger device."
        )


def gigabytes(n: int) -> str:
    """Bytes for people, rounded up to a tenth of a GB."""
    return f"{math.ceil(n / 1e8) / 10:.1f} GB"
