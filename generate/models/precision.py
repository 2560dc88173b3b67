"""The numbers a network computes in: one word for how they are stored and how multiplied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch

from generate.errors import ModelError

Precision = Literal["float32", "tf32", "bfloat16", "float16"]
"""How the networks compute that read texts and give logits.

`tf32` stores float32, and a GPU rounds the factors of products to 10 bits of mantissa.
"""

STORAGE = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""The type of the weights in memory, by precision."""

AMPERE = (8, 0)
"""The first compute capability of NVIDIA's GPUs that has TF32."""


@contextmanager
def computing(precision: str) -> Iterator[None]:
    """While it is open, float32 is multiplied in TF32 where `precision` is `tf32`.

    Any other precision leaves torch as it is set. What was set before holds again afterwards, so
    that draws, bits and image decoders never see TF32 of ours. A decorator too.

    >>> with computing("tf32"):
    ...     torch.get_float32_matmul_precision()
    'high'
    >>> torch.get_float32_matmul_precision()
    'highest'
    """
    if precision != "tf32":
        yield
        return
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def require(model: str, precision: str, device: str) -> None:
    """Raise ModelError if a torch device does not compute in a precision.

    Only `tf32` asks for a device: elsewhere torch would take float32 and not say so.
    """
    if precision == "tf32" and not has_tf32(device):
        raise ModelError(
            f"option 'precision' of model '{model}' is 'tf32', which needs an NVIDIA GPU of compute "
            f"capability {AMPERE[0]}.{AMPERE[1]} or later, but the device is {device}: take float32 "
            "or bfloat16, or another --device."
        )


def has_tf32(device: str) -> bool:
    """Whether a torch device multiplies in TF32.

    >>> has_tf32("cpu")
    False
    """
    return device.startswith("cuda") and torch.cuda.get_device_capability(device) >= AMPERE


def named_as_now(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a published model under the names of today, so that older studies go on.

    `dtype` became `precision`; `compile: false` said what holds always now. Raises ModelError for
    `compile: true`, and for both names of the precision at once.

    >>> named_as_now({"dtype": "bfloat16", "steps": 8})
    {'steps': 8, 'precision': 'bfloat16'}
    """
    named = dict(given)
    if named.pop("compile", False):
        raise ModelError(
            "option 'compile' is gone, since it made sampling slower: leave it out. A run that was "
            "made with it can be analysed, but has to be made anew to go on."
        )
    if "dtype" in named:
        dtype = named.pop("dtype")
        if "precision" in named:
            raise ModelError(
                "options 'precision' and 'dtype' are two names of one setting: leave 'dtype' out."
            )
        named["precision"] = dtype
    return named


def times_elsewhere(time: float, precision: str, speeds: Mapping[str, float]) -> dict[str, float]:
    """What takes some time in one precision, in every other; in the unit of `time`.

    `speeds` are images a second by precision, all of one machine: only their ratios count. Empty
    where that of `precision` is unknown.

    >>> times_elsewhere(60.0, "float32", {"float32": 2.0, "tf32": 6.0, "bfloat16": 12.0})
    {'tf32': 20.0, 'bfloat16': 10.0}
    """
    if precision not in speeds:
        return {}
    work = time * speeds[precision]
    return {other: work / speed for other, speed in speeds.items() if other != precision}
