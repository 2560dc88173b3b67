"""Which torch device does the work: asked for by name, checked before anything is begun."""

from __future__ import annotations

from schemas.errors import UserError


def devices() -> list[str]:
    """Give the names of the devices of this machine that torch can use, cpu first; loads torch."""
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found.append("cuda")
        for number in range(torch.cuda.device_count()):
            found.append(f"cuda:{number}")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def pick_device(name: str) -> str:
    """Give the torch device of that name; `auto` is the CUDA GPU where there is one, else cpu.

    Torch is loaded for any other name than cpu. Raises UserError, which says what there is, for a
    device that this machine has not.

    >>> pick_device("cpu")
    'cpu'
    >>> pick_device("gpu")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    schemas.errors.UserError: device 'gpu' is not available here; use --device with one of: cpu...
    """
    if name == "cpu":
        return name
    there = devices()
    if name == "auto":
        return "cuda" if "cuda" in there else "cpu"
    if name not in there:
        raise UserError(
            f"device '{name}' is not available here; use --device with one of: {', '.join(there)}."
        )
    return name


def device_of_workers(cluster: str, device: str) -> str:
    """Give the device of the workers of a cluster: cpu, cuda or mps.

    `auto` looks at this machine for workers that run on it, and means cpu elsewhere; the GPUs of
    other machines cannot be looked at from here. Raises UserError as `pick_device` does, and for a
    name that no machine knows.

    >>> device_of_workers("slurm", "cuda:1")
    'cuda'
    """
    if cluster == "cuda" and device == "auto":
        device = "cuda"
    if cluster in ("local", "cuda"):
        device = pick_device(device)
    elif device == "auto":
        device = "cpu"
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise UserError(f"device '{device}' is unknown; workers have cpu or cuda.")
    return kind
