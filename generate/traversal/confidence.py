"""Laws of confidences: how likely they fall short of a threshold, or reach it.

A confidence is a Gumbel variable around log w, mixed over the candidate, so its law is a set of
atoms of mass p at log w = log p / T. Below the threshold -x, with t = exp(x), it stays with
probability F = sum_c p(c) exp(-w(c) t). `rank_integral` says what follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

RARE = -32.0
"""log of w t below which 1 - exp(-w t) is w t to all digits."""


class Left(Protocol):
    """Laws of confidences that are to stay below a threshold -x, asked at rising x, (node,) float64."""

    @property
    def n_positions(self) -> int:
        """Positions of each sample."""

    @property
    def support(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest log w that has mass in any sample, float64."""

    def log_missed(self, x: Tensor) -> Tensor:
        """log F, that a confidence stays below -x, (sample, position, node)."""


class Committed(Protocol):
    """Laws of confidences that are to reach a threshold -x, asked at rising x, (node,) float64."""

    @property
    def n_positions(self) -> int:
        """Positions of each sample."""

    @property
    def support(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest log w that has mass in any sample, float64."""

    def log_mass(self) -> Tensor:
        """log of the whole mass, (sample, position): below 0 where candidates are left out."""

    def log_reached(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log (1 - F), and log of its slope along x, (sample, position, node) each."""


@dataclass(frozen=True)
class Atoms:
    """Laws code by code, which is the definition: for small codebooks and single candidates.

    Atoms have log-masses `log_p`, which need not sum to one, and rank at `log_w`, both (sample,
    position, atom) float64 and -inf for an atom without mass.
    """

    log_p: Tensor
    log_w: Tensor

    @property
    def n_positions(self) -> int:
        """Positions of each sample."""
        return self.log_p.shape[1]

    @property
    def support(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest log w that has mass in any sample, float64."""
        lowest = torch.where(self.log_w > -torch.inf, self.log_w, torch.inf).amin()
        return lowest, self.log_w.amax()

    def log_mass(self) -> Tensor:
        """log of the whole mass, (sample, position): below 0 where candidates are left out."""
        return self.log_p.logsumexp(dim=-1)

    def log_missed(self, x: Tensor) -> Tensor:
        """log F, that a confidence stays below -x, (sample, position, node)."""
        return (self.log_p.unsqueeze(-1) - torch.exp(self._log_wt(x))).logsumexp(dim=2)

    def log_reached(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log (1 - F), and log of its slope along x, (sample, position, node) each."""
        log_p, log_wt = self.log_p.unsqueeze(-1), self._log_wt(x)
        reached = (log_p + log_hit(log_wt)).logsumexp(dim=2)
        return reached, (log_p + log_wt - torch.exp(log_wt)).logsumexp(dim=2)

    def _log_wt(self, x: Tensor) -> Tensor:
        """log of w t, (sample, position, atom, node)."""
        return self.log_w.unsqueeze(-1) + x


def log_hit(log_wt: Tensor) -> Tensor:
    """log (1 - exp(-w t)) from log w t, of any shape, to all digits however small w t is.

    >>> found = log_hit(torch.tensor([-700.0, 0.0], dtype=torch.float64))
    >>> [round(number, 4) for number in found.tolist()]
    [-700.0, -0.4587]
    """
    hit = torch.log(-torch.expm1(-torch.exp(log_wt)))
    return torch.where(log_wt < RARE, log_wt, hit)
