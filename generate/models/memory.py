"""Whether a model's weights fit, said before they are read."""

from __future__ import annotations

import math

import psutil
import torch

from generate.errors import ModelError


def free_bytes(device: str) -> int:
    """Memory of a torch device that can be had now, in bytes.

    For "cuda" and "cuda:N" that of the GPU, for any other device the available memory of the
    machine.
    """
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def give_back(device: str) -> None:
    """Return to a GPU what PyTorch keeps of it for tensors to come; nothing for other devices.

    Else that counts as taken, and the next model is refused though nothing runs.
    """
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def require(model: str, needed: int, device: str) -> None:
    """Raise ModelError if a device has less free memory than a model's weights take.

    `needed` is in bytes, and `model` a name for the message. Sampling takes more, by the batch.
    """
    give_back(device)
    free = free_bytes(device)
    if needed > free:
        raise ModelError(
            f"model '{model}' takes about {gigabytes(needed)} for its weights alone, but {device} "
            f"has {gigabytes(free)} free: free some, set the option precision to bfloat16, or take a "
            "larger device."
        )


def gigabytes(n: int) -> str:
    """Bytes for people, rounded up to a tenth of a GB.

    >>> gigabytes(2_010_000_000)
    '2.1 GB'
    """
    return f"{math.ceil(n / 1e8) / 10:.1f} GB"
