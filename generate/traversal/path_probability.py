"""Probability of what one step of confidence-ordered unmasking committed.

A step draws a candidate c_i ~ p_i at each open position, ranks them by `log p_i(c_i) + T g_i` with Gumbel noise g, and
commits the best n. In units of T a confidence is a Gumbel variable of scale one around log w, w = p_i(c)^(1/T), mixed
over the candidate. So with t = exp(-threshold), F_i(t) = sum_c p_i(c) exp(-w_i(c) t) is the probability that position i
stays below the threshold, and the committed set S lies above all the others with probability

    q(S | s) = integral of prod_{i in S} (1 - F_i) dW,    W(t) = prod_{j open, not in S} F_j(t).

With p_i(z_i) (1 - exp(-w_i(z_i) t)) in place of 1 - F_i this is q(S, z_S | s); with one atom at the candidate in place
of every law it is q(S | c, s) (exponential races; Yellott 1977, doi:10.1016/0022-2496(77)90026-8). In x = log t the
integrands are analytic around the real axis, so the trapezoid rule converges exponentially (Trefethen & Weideman 2014,
doi:10.1137/130932132).

Relative accuracy, measured against sums over all orders of commitment (path temperatures .05 to 4, up to 8 positions,
probabilities down to 1e-250): 1e-9 up to `DIRECT` codes, 1e-8 given candidates; binning of larger codebooks adds at
most 2e-6 a position. Results are bits, float64, (sample,). A path temperature below `COLD` counts as zero: noise that
small reorders only candidates whose log-probabilities nearly agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from generate.traversal import noiseless_order

COLD = 0.02
DIRECT = 32
"""Codes up to which laws are summed code by code; the codes of larger codebooks are binned in log w."""
BIN = 1 / 32
"""Width of a bin in log w."""
NEGLIGIBLE = 22.0
"""Nats below the whole at which an integral is cut off: 3e-10."""
RARE = -16.0
"""log of w t below which 1 - exp(-w t) is w t."""
LATE = 600.0
"""w t above which exp(-w t) is nothing at all."""
TINY = 1e-300
RACE_STEP = 0.1
"""Step of the integral given candidates, in units of the sinh that spreads its nodes."""
COARSE = 64
"""Levels of log w with which the bounds of an integral are looked for."""
NODES = 128
"""Nodes of an integral worked on at once; a wide window takes several turns."""
CHUNK = 1 << 21
"""Numbers an intermediate array may hold (a few times that for a single sample of a large grid)."""


def exact_surprisals(
    probabilities: Tensor, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """(-log2 q(S | s), -log2 q(S, z_S | s)): that a step commits exactly the positions `commit`, and with `tokens`.

    Laws (sample, position, code); tokens and the masks `is_open`, `commit` (sample, position), with the same number of
    positions in every sample.
    """
    laws = probabilities.double()
    logs = torch.log(laws / laws.sum(dim=-1, keepdim=True))
    drawn = logs.gather(-1, tokens.unsqueeze(-1))
    left = is_open & ~commit
    sets, pairs, others = _rows(logs, commit), _rows(drawn, commit), _rows(logs, left)
    if others.shape[1] == 0:
        nats = [chosen.logsumexp(dim=-1).sum(dim=-1) for chosen in (sets, pairs)]
    elif temperature < COLD:
        at = torch.arange(commit.shape[1], device=commit.device).expand_as(commit)
        where = _rows(at, commit), _rows(at, left)
        nats = [noiseless_order.log_probability(chosen, others, *where) for chosen in (sets, pairs)]
    else:
        n_positions, n_codes = logs.shape[1:]
        width = n_codes * NODES if n_codes <= DIRECT else max(n_codes, 16 * NODES)
        size = max(1, CHUNK // (n_positions * width))
        parts = zip(
            torch.split(sets, size),
            torch.split(pairs, size),
            torch.split(others, size),
            strict=True,
        )
        chunks = [
            _log_integrals(rows, [first, second], temperature) for first, second, rows in parts
        ]
        nats = [torch.cat(chunk) for chunk in zip(*chunks, strict=True)]
    first, second = (-value.clamp(max=0) / math.log(2.0) for value in nats)
    return first, second


def set_surprisal_given_candidates(
    log_probability: Tensor, is_open: Tensor, commit: Tensor, temperature: float
) -> Tensor:
    """-log2 q(S | c, s): that a step commits exactly `commit`, given the candidates by their log-probability.

    Zero without noise, since the candidates then fix the order.
    """
    left = is_open & ~commit
    if temperature < COLD or not left.any():
        return log_probability.new_zeros(len(log_probability), dtype=torch.float64)
    log_weight = log_probability.double() / temperature
    total = log_weight.masked_fill(~left, -torch.inf).logsumexp(dim=-1, keepdim=True)
    return -_log_race(_rows(log_weight, commit) - total).clamp(max=0) / math.log(2.0)


def _rows(values: Tensor, mask: Tensor) -> Tensor:
    """The masked positions, (sample, n, ...)."""
    return values[mask].reshape(len(values), -1, *values.shape[2:])


@dataclass(frozen=True)
class Ranks:
    """Laws of the confidences of some positions: atoms of given log-mass at log w, (sample, position, atom) each."""

    log_mass: Tensor
    log_weight: Tensor

    @classmethod
    def coarse(cls, ranks: Ranks, low: Tensor, high: Tensor) -> Ranks:
        """The laws with log w rounded to `COARSE` levels between two bounds (sample,): F moves by at most half a level
        in log t.
        """
        if ranks.log_mass.shape[-1] <= COARSE:
            return ranks
        low, width = low[:, None, None], ((high - low) / COARSE).clamp(min=TINY)[:, None, None]
        level = ((ranks.log_weight - low) / width).clamp(0, COARSE - 1).long()
        mass = ranks.mass.new_zeros((*ranks.mass.shape[:2], COARSE)).scatter_add(
            -1, level, ranks.mass
        )
        centre = low + (torch.arange(COARSE, dtype=torch.float64, device=mass.device) + 0.5) * width
        return cls(torch.log(mass), centre.expand_as(mass))

    @cached_property
    def mass(self) -> Tensor:
        """Mass of the atoms."""
        return self.log_mass.exp()

    @cached_property
    def log_rate(self) -> Tensor:
        """log sum_c p(c) w(c), the slope of 1 - F at t = 0, (sample, position)."""
        return (self.log_mass + self.log_weight).logsumexp(dim=-1)

    def log_above(self, x: Tensor) -> Tensor:
        """log prod (1 - F_i) at one log t per sample, (sample,)."""
        hit = torch.expm1(-torch.exp(self.log_weight + x[:, None, None]))
        rare = self.log_rate + x[:, None]  # 1 - exp(-w t) is w t where that is small
        return torch.where(rare < RARE, rare, torch.log(-(self.mass * hit).sum(dim=-1))).sum(dim=-1)

    def log_below(self, x: Tensor) -> Tensor:
        """log prod F_j at one log t per sample, (sample,)."""
        missed = torch.exp(-torch.exp(self.log_weight + x[:, None, None]))
        return torch.log((self.mass * missed).sum(dim=-1)).sum(dim=-1)

    def log_any_above(self, x: Tensor) -> Tensor:
        """log (1 - prod F_j) at one log t per sample, (sample,)."""
        rare = self.log_rate.logsumexp(dim=-1) + x
        return torch.where(rare < RARE, rare, torch.log(-torch.expm1(self.log_below(x))))


def _log_integrals(left: Tensor, committed: Sequence[Tensor], temperature: float) -> list[Tensor]:
    """log of the integral of prod (1 - F_i) dW for each version of the committed laws, (sample,) each.

    Laws are log-masses (sample, n, atom), of any total for the committed ones. Trapezoid rule in x = log t.
    """
    others = Ranks(left, left / temperature)
    versions = [Ranks(laws, laws / temperature) for laws in committed]
    windows = [_window(version, others) for version in versions]
    start = torch.stack([start for start, _ in windows]).amin(dim=0)
    stop = torch.stack([stop for _, stop in windows]).amax(dim=0)
    step = min(
        0.25, 0.7 / math.sqrt(left.shape[1] + committed[0].shape[1])
    )  # of 1 / sqrt(2 n), the least width
    n_nodes = math.ceil(float((stop - start).max()) / step) + 1
    shift = step * torch.arange(n_nodes, dtype=torch.float64, device=left.device)
    parts: list[list[Tensor]] = [[] for _ in versions]
    for nodes in torch.split(shift, NODES):
        origin, near = start + nodes[0], nodes - nodes[0]
        log_missed, slope = _log_misses(others, origin, near)
        density = log_missed.sum(dim=1) + torch.log(slope.sum(dim=1)) + math.log(step)
        for part, version in zip(parts, versions, strict=True):
            part.append((_log_hits(version, origin, near).sum(dim=1) + density).logsumexp(dim=-1))
    return [torch.stack(part).logsumexp(dim=0) for part in parts]


def _window(committed: Ranks, left: Ranks) -> tuple[Tensor, Tensor]:
    """Bounds in x outside which the integral is negligible, (sample,) each.

    A = prod (1 - F_i) rises and W falls, so the integral is at least A(x) W(x) for any x (here where about A = W), what
    lies right of `stop` at most A(inf) W(stop), and what lies left of `start` at most A(start) (1 - W(start)). Where
    those are is looked for with coarse laws, and their error added.
    """
    possible = left.log_mass > -torch.inf
    lowest = torch.where(possible, left.log_weight, torch.inf).amin(dim=(1, 2))
    highest = torch.maximum(left.log_weight.amax(dim=(1, 2)), committed.log_weight.amax(dim=(1, 2)))
    low, high = -highest - 2 * NEGLIGIBLE, -lowest + 6.0
    bounds = lowest, highest
    error = (highest - lowest) / (2 * COARSE)
    rough_committed, rough_left = Ranks.coarse(committed, *bounds), Ranks.coarse(left, *bounds)
    middle = _last(lambda x: rough_committed.log_above(x) < rough_left.log_below(x), low, high)
    most = committed.log_mass.logsumexp(dim=-1).sum(dim=-1)
    cut = committed.log_above(middle) + left.log_below(middle) - NEGLIGIBLE
    stop = _last(lambda x: most + rough_left.log_below(x) > cut, middle - error, high) + 0.5 + error
    start = _last(
        lambda x: rough_committed.log_above(x) + rough_left.log_any_above(x) < cut,
        low,
        middle + error,
    )
    start = start - error
    return start, torch.maximum(stop, start + 1.0)


def _last(holds: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Where a condition that holds first and then no more changes, to half a unit from below, (sample,)."""
    width = float((high - low).max())
    for _ in range(max(1, math.ceil(math.log2(max(width, 1.0) * 2)))):
        middle = (low + high) / 2
        true = holds(middle)
        low, high = torch.where(true, middle, low), torch.where(true, high, middle)
    return low


def _log_hits(ranks: Ranks, start: Tensor, shift: Tensor) -> Tensor:
    """log (1 - F) at log t of `start + shift`, (sample, position, node)."""
    exponent = ranks.log_weight + start[:, None, None]
    if ranks.log_mass.shape[-1] <= DIRECT:
        return (ranks.log_mass.unsqueeze(-1) + _log_hit(exponent.unsqueeze(-1) + shift)).logsumexp(
            dim=2
        )
    bins = Bins.of(ranks, exponent, shift)
    missed = torch.exp(-bins.y)
    hit = bins.moments @ torch.cat([-torch.expm1(-bins.y), bins.y * missed, -(bins.y**2) * missed])
    return torch.logaddexp(torch.log(hit.clamp(min=0)), bins.log_rare)


def _log_misses(ranks: Ranks, start: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """log F and its slope -dF/dx / F at log t of `start + shift`, (sample, position, node) each."""
    exponent = ranks.log_weight + start[:, None, None]
    if ranks.log_mass.shape[-1] <= DIRECT:
        z = (exponent.unsqueeze(-1) + shift).clamp(max=LATE)
        missing = ranks.log_mass.unsqueeze(-1) - torch.exp(z)
        log_missed = missing.logsumexp(dim=2)
        return log_missed, torch.exp((missing + z).logsumexp(dim=2) - log_missed)
    bins = Bins.of(ranks, exponent, shift)
    y, missed = bins.y, torch.exp(-bins.y)
    value = bins.moments @ torch.cat([missed, -y * missed, y**2 * missed])
    falling = bins.moments @ torch.cat(
        [y * missed, (y - y**2) * missed, (y**3 - 2 * y**2) * missed]
    )
    value, falling = (
        value.clamp(min=TINY) + bins.outside,
        falling.clamp(min=TINY) + torch.exp(bins.log_rare),
    )
    return torch.log(value), falling / value


def _log_hit(z: Tensor) -> Tensor:
    """log (1 - exp(-exp(z)))."""
    return torch.where(z < 2 * RARE, z, torch.log(-torch.expm1(-torch.exp(z))))


@dataclass(frozen=True)
class Bins:
    """Laws as moments of w in a few hundred bins, so that one matrix product serves all positions.

    With w = w_b (1 + d) in a bin around w_b and y = w_b t, exp(-w t) = exp(-y) (1 - y d + y^2 d^2 / 2) up to
    (y d)^3 / 6; even orders keep it positive. `moments` (sample, position, 3 bin) are sums of mass times 1, d, d^2 / 2,
    `y` is (bin, node). Weights so small that w t is tiny at every node enter by their sum alone, `log_rare` (sample,
    position, node), and their mass `outside` (sample, position, 1); ones too large for any node are kept from
    overflowing.
    """

    moments: Tensor
    y: Tensor
    log_rare: Tensor
    outside: Tensor

    @classmethod
    def of(cls, ranks: Ranks, exponent: Tensor, shift: Tensor) -> Bins:
        """Bins of laws with log w t = `exponent` at the first node, for nodes at log t up by `shift`."""
        bottom, top = RARE - float(shift[-1]), math.log(LATE)
        n_bins = math.ceil((top - bottom) / BIN)
        index = ((exponent.clamp(bottom, top) - bottom) / BIN).long().clamp(max=n_bins - 1)
        deviation = torch.expm1(exponent.clamp(max=top) - bottom - (index + 0.5) * BIN)
        inside = exponent >= bottom
        mass = ranks.mass * inside
        empty = mass.new_zeros((*mass.shape[:2], n_bins))
        terms = (mass, mass * deviation, mass * deviation**2 / 2)
        centre = (
            bottom + (torch.arange(n_bins, dtype=torch.float64, device=mass.device) + 0.5) * BIN
        )
        rate = (
            (ranks.log_mass + exponent)
            .masked_fill(inside, -torch.inf)
            .logsumexp(dim=-1, keepdim=True)
        )
        return cls(
            moments=torch.cat([empty.scatter_add(-1, index, term) for term in terms], dim=-1),
            y=torch.exp(centre[:, None] + shift),
            log_rare=rate + shift,
            outside=(ranks.mass * ~inside).sum(dim=-1, keepdim=True),
        )


def _log_race(log_ratio: Tensor) -> Tensor:
    """log of the integral of exp(-u) prod_i (1 - exp(-r_i u)) du, for log r_i (sample, n); (sample,).

    The log-integrand in x = log u is concave, with its mode at 1 <= u <= 1 + n; nodes are spread as sinh around it.
    """
    n = log_ratio.shape[1]
    low, high = torch.zeros_like(log_ratio[:, 0]), torch.full_like(log_ratio[:, 0], math.log1p(n))
    for _ in range(30):
        mode = (low + high) / 2
        scaled = torch.exp((log_ratio + mode[:, None]).clamp(max=math.log(LATE)))
        rising = (
            1 - mode.exp() + (scaled / torch.expm1(scaled).clamp(min=TINY)).clamp(max=1).sum(dim=-1)
            > 0
        )
        low, high = torch.where(rising, mode, low), torch.where(rising, high, mode)
    width = 1 / math.sqrt(n + 1)
    left, right = math.asinh(1.5 * NEGLIGIBLE / width), math.asinh(4 / width)
    s = torch.arange(-left, right, RACE_STEP, dtype=torch.float64, device=log_ratio.device)
    x = mode[:, None] + width * torch.sinh(s)
    log_hits = _log_hit(log_ratio.unsqueeze(-1) + x.unsqueeze(1)).sum(dim=1)
    density = log_hits - x.exp() + x + torch.log(width * torch.cosh(s))
    return density.logsumexp(dim=-1) + math.log(RACE_STEP)
