"""The order of confidences without noise: log p_i(c_i) decides, then the earlier position."""

from __future__ import annotations

import torch
from torch import Tensor


def log_probability(
    committed: Tensor, left: Tensor, committed_at: Tensor, left_at: Tensor
) -> Tensor:
    """log-probability that all `committed` candidates rank above all those `left`, (sample,).

    The laws are log-masses (sample, n, atom) and rank by them; `*_at` (sample, n) are their
    positions in the grid. One sweep through all atoms from the lowest rank sums the cases where an
    atom is the best of those left: its mass, times the mass that the other laws left have below it,
    times the mass that the committed laws have above it.
    """
    n_left = left.shape[1]
    left, committed = left.sort(dim=-1).values, committed.sort(dim=-1).values
    below = left.logcumsumexp(dim=-1)
    possible = left > -torch.inf
    first = possible & (possible.cumsum(dim=-1) == 1)
    before = torch.cat([torch.full_like(below[..., :1], -torch.inf), below[..., :-1]], dim=-1)
    growth = torch.where(first, below, below - before).masked_fill(~possible, 0.0)
    above = committed.flip(-1).logcumsumexp(dim=-1).flip(-1)
    gone = torch.full_like(above[..., -1:], -torch.inf)
    loss = torch.cat([above[..., 1:] - above[..., :-1], gone], dim=-1)
    rank = torch.cat([left.flatten(1), committed.flatten(1)], dim=1)
    position = torch.cat([_each(left_at, left), _each(committed_at, committed)], dim=1)
    order = _by_rank(rank, position)

    def swept(of_left: Tensor, of_committed: Tensor) -> Tensor:
        return torch.cat([of_left.flatten(1), of_committed.flatten(1)], dim=1).gather(1, order)

    none = torch.zeros_like(committed)
    others_below = swept(growth, none).cumsum(dim=1) + swept(left - below, none)
    all_begun = swept(first, none.bool()).cumsum(dim=1) == n_left
    all_at_first = above[..., 0].sum(dim=1, keepdim=True)
    all_above = swept(torch.zeros_like(left), loss).cumsum(dim=1) + all_at_first
    is_case = swept(possible, none.bool()) & all_begun
    return (others_below + all_above).masked_fill(~is_case, -torch.inf).logsumexp(dim=1)


def _each(positions: Tensor, laws: Tensor) -> Tensor:
    """Position of every atom of some laws, (sample, atom)."""
    return positions.unsqueeze(-1).expand_as(laws).flatten(1)


def _by_rank(rank: Tensor, position: Tensor) -> Tensor:
    """Order of the atoms from the lowest rank up; of equal ones the later position comes first."""
    later_first = position.argsort(dim=1, descending=True, stable=True)
    return later_first.gather(1, rank.gather(1, later_first).argsort(dim=1, stable=True))
