"""The order of confidences without noise: p_i(c_i) decides, then the earlier position."""

from __future__ import annotations

import torch
from torch import Tensor

from generate.traversal.confidence import Atoms


def log_pair_probability(
    drawn: Tensor, laws: Tensor, committed_at: Tensor, left_at: Tensor
) -> Tensor:
    """log-probability that given candidates all rank above those left, (sample,) float64.

    `drawn` (sample, committed) are the probabilities of the given candidates, `laws` (sample, left,
    code) those of the others; `*_at` (sample, n) are their positions in the grid. That is whether the
    lowest of those given is above.
    """
    lowest = drawn.amin(dim=1, keepdim=True)
    at = committed_at.where(drawn == lowest, -1).amax(dim=1, keepdim=True)
    lowest = lowest.unsqueeze(-1)
    is_below = torch.where((left_at > at).unsqueeze(-1), laws <= lowest, laws < lowest)
    below = laws.where(is_below, 0.0).sum(dim=-1, dtype=torch.float64)
    return torch.log(below / laws.sum(dim=-1, dtype=torch.float64)).sum(dim=1)


def log_probability(committed: Atoms, left: Atoms, committed_at: Tensor, left_at: Tensor) -> Tensor:
    """log-probability that all `committed` candidates rank above all those `left`, (sample,).

    `*_at` (sample, n) are the positions of the laws in the grid. One sweep through all atoms from
    the lowest rank sums the cases where an atom is the best of those left: its mass, times the mass
    that the other laws left have below it, times the mass that the committed laws have above it.
    """
    n_left = left.n_positions
    left_rank, left_mass = _sorted(left)
    committed_rank, committed_mass = _sorted(committed)
    below = left_mass.logcumsumexp(dim=-1)
    possible = left_mass > -torch.inf
    first = possible & (possible.cumsum(dim=-1) == 1)
    before = torch.cat([torch.full_like(below[..., :1], -torch.inf), below[..., :-1]], dim=-1)
    growth = torch.where(first, below, below - before).masked_fill(~possible, 0.0)
    above = committed_mass.flip(-1).logcumsumexp(dim=-1).flip(-1)
    gone = torch.full_like(above[..., -1:], -torch.inf)
    loss = torch.cat([above[..., 1:] - above[..., :-1], gone], dim=-1)
    rank = torch.cat([left_rank.flatten(1), committed_rank.flatten(1)], dim=1)
    position = torch.cat([_each(left_at, left_rank), _each(committed_at, committed_rank)], dim=1)
    order = _by_rank(rank, position)

    def swept(of_left: Tensor, of_committed: Tensor) -> Tensor:
        return torch.cat([of_left.flatten(1), of_committed.flatten(1)], dim=1).gather(1, order)

    none = torch.zeros_like(committed_mass)
    others_below = swept(growth, none).cumsum(dim=1) + swept(left_mass - below, none)
    all_begun = swept(first, none.bool()).cumsum(dim=1) == n_left
    all_at_first = above[..., 0].sum(dim=1, keepdim=True)
    all_above = swept(torch.zeros_like(left_mass), loss).cumsum(dim=1) + all_at_first
    is_case = swept(possible, none.bool()) & all_begun
    return (others_below + all_above).masked_fill(~is_case, -torch.inf).logsumexp(dim=1)


def _sorted(laws: Atoms) -> tuple[Tensor, Tensor]:
    """Ranks and log-masses of atoms, from the lowest rank up, (sample, position, atom) each."""
    rank, order = laws.log_w.sort(dim=-1)
    return rank, laws.log_p.gather(-1, order)


def _each(positions: Tensor, laws: Tensor) -> Tensor:
    """Position of every atom of some laws, (sample, atom)."""
    return positions.unsqueeze(-1).expand_as(laws).flatten(1)


def _by_rank(rank: Tensor, position: Tensor) -> Tensor:
    """Order of the atoms from the lowest rank up; of equal ones the later position comes first."""
    later_first = position.argsort(dim=1, descending=True, stable=True)
    return later_first.gather(1, rank.gather(1, later_first).argsort(dim=1, stable=True))
