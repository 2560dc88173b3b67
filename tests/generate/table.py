"""Logits of a fixed smooth function of the grid, for laws that are written out by hand."""

from __future__ import annotations

import torch
from torch import Tensor

N_POSITIONS, N_CODES = 4, 3


def table_logits(tokens: Tensor, salt: Tensor | float = 0.0) -> Tensor:
    """Logits (sample, position, code) as a fixed smooth function of the whole grid, MASK included."""
    positions = torch.arange(tokens.shape[1], dtype=torch.float64)
    codes = torch.arange(N_CODES, dtype=torch.float64)
    weights = 1.0 + torch.cos(positions[:, None] - positions)  # (position, other)
    context = tokens.double() @ weights.T + torch.as_tensor(salt, dtype=torch.float64).reshape(
        -1, 1
    )
    return 1.3 * torch.sin(context[..., None] * (0.7 + codes) + 2.1 * positions[:, None] + codes)
