"""Laws of confidences as mixtures of atoms, and how far they reach at the nodes of an integral.

A confidence is a Gumbel variable around log w, mixed over the candidate, so its law is a set of
atoms of mass p at log w. `path_probability` says what follows from it; F(t) is the probability that
a confidence stays below -log t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

DIRECT = 32
"""Codes up to which laws are summed code by code; larger codebooks are binned in log w."""
BIN = 1 / 32
"""Width of a bin in log w."""
RARE = -16.0
"""log of w t below which 1 - exp(-w t) is w t."""
LATE = 600.0
"""w t above which exp(-w t) is nothing at all."""
TINY = 1e-300
COARSE = 64
"""Levels of log w with which the bounds of an integral are looked for."""


@dataclass(frozen=True)
class Ranks:
    """Laws of the confidences of some positions.

    Atoms of given log-mass at log w, (sample, position, atom) each.
    """

    log_mass: Tensor
    log_weight: Tensor

    @classmethod
    def coarse(cls, ranks: Ranks, low: Tensor, high: Tensor) -> Ranks:
        """The laws with log w rounded to `COARSE` levels between two bounds, (sample,) each.

        F moves by at most half a level in log t. Laws of no more atoms than that come back as they
        are.
        """
        if ranks.log_mass.shape[-1] <= COARSE:
            return ranks
        low, width = low[:, None, None], ((high - low) / COARSE).clamp(min=TINY)[:, None, None]
        level = ((ranks.log_weight - low) / width).clamp(0, COARSE - 1).long()
        empty = ranks.mass.new_zeros((*ranks.mass.shape[:2], COARSE))
        mass = empty.scatter_add(-1, level, ranks.mass)
        centre = low + (torch.arange(COARSE, dtype=torch.float64, device=mass.device) + 0.5) * width
        return cls(torch.log(mass), centre.expand_as(mass))

    @cached_property
    def mass(self) -> Tensor:
        """Mass of the atoms, (sample, position, atom) float64.

        Sums to one over the atoms of a whole law, and to less where a version keeps some of them
        only.
        """
        return self.log_mass.exp()

    @cached_property
    def log_rate(self) -> Tensor:
        """log sum_c p(c) w(c), (sample, position).

        This is the slope of 1 - F at t = 0, and stands for log (1 - F) - log t wherever w t is
        tiny.
        """
        return (self.log_mass + self.log_weight).logsumexp(dim=-1)

    def log_above(self, x: Tensor) -> Tensor:
        """log prod (1 - F_i), that all confidences exceed -x, for x = log t, (sample,).

        There is one x per sample, (sample,).
        """
        hit = torch.expm1(-torch.exp(self.log_weight + x[:, None, None]))
        rare = self.log_rate + x[:, None]  # 1 - exp(-w t) is w t where that is small
        return torch.where(rare < RARE, rare, torch.log(-(self.mass * hit).sum(dim=-1))).sum(dim=-1)

    def log_below(self, x: Tensor) -> Tensor:
        """log prod F_j, that all confidences stay below -x, for x = log t, (sample,).

        There is one x per sample, (sample,). Rounds to 0 where t is small: `log_any_above` keeps
        the digits that are lost here.
        """
        missed = torch.exp(-torch.exp(self.log_weight + x[:, None, None]))
        return torch.log((self.mass * missed).sum(dim=-1)).sum(dim=-1)

    def log_any_above(self, x: Tensor) -> Tensor:
        """log (1 - prod F_j), that some confidence exceeds -x, for x = log t, (sample,).

        There is one x per sample, (sample,). Where t is small this is the sum of the rates times t,
        which keeps the digits that 1 - prod F_j would lose.
        """
        rare = self.log_rate.logsumexp(dim=-1) + x
        return torch.where(rare < RARE, rare, torch.log(-torch.expm1(self.log_below(x))))

    def log_hits(self, start: Tensor, shift: Tensor) -> Tensor:
        """log (1 - F) of every position at the nodes of an integral, (sample, position, node).

        Nodes lie at log t of `start` (sample,) + `shift` (node,), which rises from 0. Laws of more
        than `DIRECT` atoms are summed in bins, which adds a relative error of at most 2e-6.
        """
        exponent = self.log_weight + start[:, None, None]
        if self.log_mass.shape[-1] <= DIRECT:
            hit = log_hit(exponent.unsqueeze(-1) + shift)
            return (self.log_mass.unsqueeze(-1) + hit).logsumexp(dim=2)
        bins = Bins.of(self, exponent, shift)
        y, missed = bins.y, torch.exp(-bins.y)
        hit = bins.moments @ torch.cat([-torch.expm1(-y), y * missed, -(y**2) * missed])
        return torch.logaddexp(torch.log(hit.clamp(min=0)), bins.log_rare)

    def log_misses(self, start: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """log F and its slope -dF/dx / F at x = log t of `start` (sample,) + `shift` (node,).

        Both are (sample, position, node).
        """
        exponent = self.log_weight + start[:, None, None]
        if self.log_mass.shape[-1] <= DIRECT:
            z = (exponent.unsqueeze(-1) + shift).clamp(max=LATE)
            missing = self.log_mass.unsqueeze(-1) - torch.exp(z)
            log_missed = missing.logsumexp(dim=2)
            return log_missed, torch.exp((missing + z).logsumexp(dim=2) - log_missed)
        bins = Bins.of(self, exponent, shift)
        y, missed = bins.y, torch.exp(-bins.y)
        value = bins.moments @ torch.cat([missed, -y * missed, y**2 * missed])
        slopes = [y * missed, (y - y**2) * missed, (y**3 - 2 * y**2) * missed]
        falling = bins.moments @ torch.cat(slopes)
        value = value.clamp(min=TINY) + bins.outside
        falling = falling.clamp(min=TINY) + torch.exp(bins.log_rare)
        return torch.log(value), falling / value


def log_hit(z: Tensor) -> Tensor:
    """log (1 - exp(-exp(z))) of z = log(w t), of any shape.

    For z below 2 `RARE` it is z itself, to all digits, where w t is too small for the formula.
    """
    return torch.where(z < 2 * RARE, z, torch.log(-torch.expm1(-torch.exp(z))))


@dataclass(frozen=True)
class Bins:
    """Laws as moments of w in a few hundred bins, so that one matrix product serves all positions.

    With w = w_b (1 + d) in a bin around w_b and y = w_b t, exp(-w t) = exp(-y) (1 - y d + y^2 d^2 /
    2) up to (y d)^3 / 6; even orders keep it positive. `moments` (sample, position, 3 bin) are sums
    of mass times 1, d, d^2 / 2, `y` is (bin, node). Weights so small that w t is tiny at every node
    enter by their sum alone, `log_rare` (sample, position, node), and their mass `outside` (sample,
    position, 1); ones too large for any node are kept from overflowing.
    """

    moments: Tensor
    y: Tensor
    log_rare: Tensor
    outside: Tensor

    @classmethod
    def of(cls, ranks: Ranks, exponent: Tensor, shift: Tensor) -> Bins:
        """Bins of laws with log w t = `exponent` (sample, position, atom) at the first node.

        The other nodes lie at log t up by `shift` (node,), rising from 0.
        """
        bottom, top = RARE - float(shift[-1]), math.log(LATE)
        n_bins = math.ceil((top - bottom) / BIN)
        index = ((exponent.clamp(bottom, top) - bottom) / BIN).long().clamp(max=n_bins - 1)
        deviation = torch.expm1(exponent.clamp(max=top) - bottom - (index + 0.5) * BIN)
        inside = exponent >= bottom
        mass = ranks.mass * inside
        empty = mass.new_zeros((*mass.shape[:2], n_bins))
        terms = (mass, mass * deviation, mass * deviation**2 / 2)
        number = torch.arange(n_bins, dtype=torch.float64, device=mass.device)
        centre = bottom + (number + 0.5) * BIN
        outside = (ranks.log_mass + exponent).masked_fill(inside, -torch.inf)
        return cls(
            moments=torch.cat([empty.scatter_add(-1, index, term) for term in terms], dim=-1),
            y=torch.exp(centre[:, None] + shift),
            log_rare=outside.logsumexp(dim=-1, keepdim=True) + shift,
            outside=(ranks.mass * ~inside).sum(dim=-1, keepdim=True),
        )
