"""Weights that need no storing: each tensor follows from its name and shape alone, here and beside upstream's code."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def named_tensor(name: str, shape: tuple[int, ...], scale: float = 0.4) -> Tensor:
    """Uniform in [-scale, scale), scaled down by the fan-in of a matrix; norms stand around 1."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    values = (2 * rng.random(shape) - 1) * scale
    if name.endswith(
        ("norm.weight", "norm1.weight", "norm2.weight", "norm_out.weight", "layernorm.weight")
    ):
        values += 1.0
    elif len(shape) > 1 and "embed" not in name:
        values *= 4.0 / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(values).float()


def named_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of the same names and shapes."""
    return {name: named_tensor(name, tuple(tensor.shape)) for name, tensor in state.items()}
