"""Prompts of unequal length as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def left_padded(
    prompts: Sequence[Sequence[int]], pad: int, device: str, length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Ids (row, place) of prompts, padded on the left, and where they are text, bool of that shape.

    Rows are as long as the longest prompt, unless a `length` is given that no prompt exceeds.

    >>> left_padded([[7], [8, 9]], pad=0, device="cpu")[0].tolist()
    [[0, 7], [8, 9]]
    """
    length = length or max(map(len, prompts))
    rows = [[pad] * (length - len(ids)) + list(ids) for ids in prompts]
    n_pads = torch.tensor([length - len(ids) for ids in prompts], device=device)
    is_text = torch.arange(length, device=device) >= n_pads[:, None]
    return torch.tensor(rows, device=device), is_text
