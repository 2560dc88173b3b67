"""Rotary positions (Su et al. 2021, arXiv:2104.09864): pairs of numbers turned by angles of their place."""

from __future__ import annotations

import torch
from torch import Tensor

ROPE_BASE = 10_000.0


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn neighbouring pairs of (row, head, position, head_dim) by the angles of their positions.

    `table` (position, head_dim / 2, 2) has cosines and sines. Computes in float32 and gives the
    type of `x`.

    >>> quarter = torch.tensor([[[0.0, 1.0]]])
    >>> rotate(torch.tensor([[[[1.0, 2.0]]]]), quarter).tolist()
    [[[[-2.0, 1.0]]]]
    """
    first, second = x.float().view(*x.shape[:-1], -1, 2).unbind(-1)
    cos, sin = table.unbind(-1)
    turned = torch.stack([first * cos - second * sin, second * cos + first * sin], -1)
    return turned.flatten(-2).type_as(x)


def grid_table(rows: Tensor, columns: Tensor, head_dim: int) -> Tensor:
    """Cosines and sines of places of a grid, (position, head_dim / 2, 2) float32.

    `rows` and `columns` (position,) say where a position stands; rows turn the first half of the
    pairs, columns the second.

    >>> grid_table(torch.tensor([0, 1]), torch.tensor([0, 0]), head_dim=4).shape
    torch.Size([2, 2, 2])
    """
    n_each = head_dim // 4
    frequencies = 1.0 / ROPE_BASE ** (torch.arange(n_each).float() / n_each)
    along = [torch.outer(places.float(), frequencies) for places in (rows, columns)]
    angles = torch.cat(along, -1)
    return torch.stack([angles.cos(), angles.sin()], -1)
