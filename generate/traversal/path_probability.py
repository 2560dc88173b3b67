"""Probability of what one step of confidence-ordered unmasking committed.

A step draws a candidate c_i ~ p_i at each open position, ranks them by `log p_i(c_i) + T g_i` with
Gumbel noise g, and commits the best n. In units of T a confidence is a Gumbel variable of scale one
around log w, w = p_i(c)^(1/T), mixed over the candidate. So with t = exp(-threshold), F_i(t) =
sum_c p_i(c) exp(-w_i(c) t) is the probability that position i stays below the threshold, and the
committed set S lies above all the others with probability

    q(S | s) = integral of prod_{i in S} (1 - F_i) dW,    W(t) = prod_{j open, not in S} F_j(t).

With p_i(z_i) (1 - exp(-w_i(z_i) t)) in place of 1 - F_i this is q(S, z_S | s); with one atom at the
candidate in place of every law it is q(S | c, s) (exponential races; Yellott 1977,
doi:10.1016/0022-2496(77)90026-8). In x = log t the integrands are analytic around the real axis, so
the trapezoid rule converges exponentially (Trefethen & Weideman 2014, doi:10.1137/130932132).

Relative accuracy, measured against sums over all orders of commitment (path temperatures .05 to 4,
up to 8 positions, probabilities down to 1e-250): 1e-9 up to `confidence.DIRECT` codes, 1e-8 given
candidates; binning of larger codebooks adds at most 2e-6 a position. Results are bits, float64,
(sample,). A path temperature below `COLD` counts as zero: noise that small reorders only candidates
whose log-probabilities nearly agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from generate.traversal import confidence, noiseless_order
from generate.traversal.confidence import COARSE, LATE, TINY, Ranks, log_hit

COLD = 0.02
NEGLIGIBLE = 22.0
"""Nats below the whole at which an integral is cut off: 3e-10."""
RACE_STEP = 0.1
"""Step of the integral given candidates, in units of the sinh that spreads its nodes."""
NODES = 128
"""Nodes of an integral worked on at once; a wide window takes several turns."""
CHUNK = 1 << 21
"""Numbers an intermediate array may hold (a few times that for a single sample of a large grid)."""


def exact_surprisals(
    probabilities: Tensor, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Surprisal of committing exactly `commit` at a step, and of doing so with `tokens`.

    That is (-log2 q(S | s), -log2 q(S, z_S | s)) in bits, (sample,) each. Laws are (sample,
    position, code); tokens and the masks `is_open`, `commit` (sample, position), with the same
    number of positions in every sample. `temperature` is the scale of the Gumbel noise.
    """
    laws = probabilities.double()
    logs = torch.log(laws / laws.sum(dim=-1, keepdim=True))
    drawn = logs.gather(-1, tokens.unsqueeze(-1))
    left = is_open & ~commit
    sets, pairs, others = _rows(logs, commit), _rows(drawn, commit), _rows(logs, left)
    if others.shape[1] == 0:
        log_set = sets.logsumexp(dim=-1).sum(dim=-1)
        log_pair = pairs.logsumexp(dim=-1).sum(dim=-1)
    elif temperature < COLD:
        at = torch.arange(commit.shape[1], device=commit.device).expand_as(commit)
        where = _rows(at, commit), _rows(at, left)
        log_set = noiseless_order.log_probability(sets, others, *where)
        log_pair = noiseless_order.log_probability(pairs, others, *where)
    else:
        log_set, log_pair = _log_both(sets, pairs, others, temperature)
    return _bits(log_set), _bits(log_pair)


def set_surprisal_given_candidates(
    log_probability: Tensor, is_open: Tensor, commit: Tensor, temperature: float
) -> Tensor:
    """-log2 q(S | c, s): that a step commits exactly `commit`, given the candidates, (sample,).

    `log_probability` is that of each candidate in nats, and it and the masks are (sample,
    position). Zero without noise, since the candidates then fix the order.
    """
    if temperature < COLD:
        return log_probability.new_zeros(len(log_probability), dtype=torch.float64)
    return race_surprisal(log_probability, is_open, commit, temperature)


def race_surprisal(rank: Tensor, is_open: Tensor, commit: Tensor, scale: float) -> Tensor:
    """-log2 of the chance that `commit` are the open positions of highest perturbed rank, (sample,).

    Ranks and masks are (sample, position), with as many open positions in every sample; noise is
    Gumbel of some `scale`. Without noise 0 or infinite; ties go to the earlier position.

    >>> is_open = torch.ones(1, 4, dtype=torch.bool)
    >>> commit = torch.tensor([[True, False, True, False]])
    >>> round(float(race_surprisal(torch.zeros(1, 4), is_open, commit, scale=1.0).exp2()), 6)  # C(4, 2)
    6.0
    """
    left = is_open & ~commit
    if not left.any():
        return rank.new_zeros(len(rank), dtype=torch.float64)
    if scale == 0:
        ranks = rank.masked_fill(~is_open, -torch.inf)
        ranked = commit.gather(-1, ranks.argsort(dim=-1, descending=True, stable=True))
        is_first = ranked[:, : int(commit[0].sum())].all(dim=-1)
        return torch.where(is_first, 0.0, torch.inf).double()
    log_weight = rank.double() / scale
    total = log_weight.masked_fill(~left, -torch.inf).logsumexp(dim=-1, keepdim=True)
    return _bits(_log_race(_rows(log_weight, commit) - total))


def _bits(nats: Tensor) -> Tensor:
    """Surprisals in bits of log-probabilities in nats; what rounding puts above 0 is 0."""
    return -nats.clamp(max=0) / math.log(2.0)


def _rows(values: Tensor, mask: Tensor) -> Tensor:
    """The masked positions, (sample, n, ...)."""
    return values[mask].reshape(len(values), -1, *values.shape[2:])


def _log_both(
    sets: Tensor, pairs: Tensor, others: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """log q(S | s) and log q(S, z_S | s) with noise, a few samples at a time, (sample,) each."""
    n_codes = others.shape[-1]
    n_positions = sets.shape[1] + others.shape[1]
    width = n_codes * NODES if n_codes <= confidence.DIRECT else max(n_codes, 16 * NODES)
    size = max(1, CHUNK // (n_positions * width))
    log_sets, log_pairs = [], []
    for start in range(0, len(sets), size):
        rows = slice(start, start + size)
        log_set, log_pair = _log_integrals(others[rows], [sets[rows], pairs[rows]], temperature)
        log_sets.append(log_set)
        log_pairs.append(log_pair)
    return torch.cat(log_sets), torch.cat(log_pairs)


def _log_integrals(left: Tensor, committed: Sequence[Tensor], temperature: float) -> list[Tensor]:
    """log of the integral of prod (1 - F_i) dW for each version of the committed laws, (sample,).

    Laws are log-masses (sample, n, atom), of any total for the committed ones. Trapezoid rule in x
    = log t, in steps of .7 / sqrt(n): the least width of the integrand is 1 / sqrt(2 n).
    """
    others = Ranks(left, left / temperature)
    versions = [Ranks(laws, laws / temperature) for laws in committed]
    windows = [_window(version, others) for version in versions]
    start = torch.stack([start for start, _ in windows]).amin(dim=0)
    stop = torch.stack([stop for _, stop in windows]).amax(dim=0)
    step = min(0.25, 0.7 / math.sqrt(left.shape[1] + committed[0].shape[1]))
    n_nodes = math.ceil(float((stop - start).max()) / step) + 1
    shift = step * torch.arange(n_nodes, dtype=torch.float64, device=left.device)
    parts: list[list[Tensor]] = [[] for _ in versions]
    for nodes in torch.split(shift, NODES):
        origin, near = start + nodes[0], nodes - nodes[0]
        log_missed, slope = others.log_misses(origin, near)
        density = log_missed.sum(dim=1) + torch.log(slope.sum(dim=1)) + math.log(step)
        for part, version in zip(parts, versions, strict=True):
            log_hits = version.log_hits(origin, near).sum(dim=1)
            part.append((log_hits + density).logsumexp(dim=-1))
    return [torch.stack(part).logsumexp(dim=0) for part in parts]


def _window(committed: Ranks, left: Ranks) -> tuple[Tensor, Tensor]:
    """Bounds in x outside which the integral is negligible, (sample,) each.

    A = prod (1 - F_i) rises and W falls, so the integral is at least A(x) W(x) for any x (here
    where about A = W), what lies right of `stop` at most A(inf) W(stop), and what lies left of
    `start` at most A(start) (1 - W(start)). Where those are is looked for with coarse laws, and
    their error added.
    """
    possible = left.log_mass > -torch.inf
    lowest = torch.where(possible, left.log_weight, torch.inf).amin(dim=(1, 2))
    highest = torch.maximum(left.log_weight.amax(dim=(1, 2)), committed.log_weight.amax(dim=(1, 2)))
    low, high = -highest - 2 * NEGLIGIBLE, -lowest + 6.0
    bounds = lowest, highest
    error = (highest - lowest) / (2 * COARSE)
    rough_committed, rough_left = Ranks.coarse(committed, *bounds), Ranks.coarse(left, *bounds)

    def before_the_middle(x: Tensor) -> Tensor:
        return rough_committed.log_above(x) < rough_left.log_below(x)

    middle = _last(before_the_middle, low, high)
    most = committed.log_mass.logsumexp(dim=-1).sum(dim=-1)
    cut = committed.log_above(middle) + left.log_below(middle) - NEGLIGIBLE

    def before_the_end(x: Tensor) -> Tensor:
        return most + rough_left.log_below(x) > cut

    def before_the_start(x: Tensor) -> Tensor:
        return rough_committed.log_above(x) + rough_left.log_any_above(x) < cut

    stop = _last(before_the_end, middle - error, high) + 0.5 + error
    start = _last(before_the_start, low, middle + error) - error
    return start, torch.maximum(stop, start + 1.0)


def _last(holds: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Where a condition that holds up to a point fails, to half a unit from below, (sample,)."""
    width = float((high - low).max())
    for _ in range(max(1, math.ceil(math.log2(max(width, 1.0) * 2)))):
        middle = (low + high) / 2
        true = holds(middle)
        low, high = torch.where(true, middle, low), torch.where(true, high, middle)
    return low


def _log_race(log_ratio: Tensor) -> Tensor:
    """log of the integral of exp(-u) prod_i (1 - exp(-r_i u)) du, (sample,), for log r_i (sample, n).

    The log-integrand in x = log u is concave, with its mode at 1 <= u <= 1 + n; nodes are spread as
    sinh around it.
    """
    n = log_ratio.shape[1]
    low, high = torch.zeros_like(log_ratio[:, 0]), torch.full_like(log_ratio[:, 0], math.log1p(n))
    for _ in range(30):
        mode = (low + high) / 2
        scaled = torch.exp((log_ratio + mode[:, None]).clamp(max=math.log(LATE)))
        each = (scaled / torch.expm1(scaled).clamp(min=TINY)).clamp(max=1)
        rising = 1 - mode.exp() + each.sum(dim=-1) > 0
        low, high = torch.where(rising, mode, low), torch.where(rising, high, mode)
    width = 1 / math.sqrt(n + 1)
    left, right = math.asinh(1.5 * NEGLIGIBLE / width), math.asinh(4 / width)
    s = torch.arange(-left, right, RACE_STEP, dtype=torch.float64, device=log_ratio.device)
    x = mode[:, None] + width * torch.sinh(s)
    log_hits = log_hit(log_ratio.unsqueeze(-1) + x.unsqueeze(1)).sum(dim=1)
    density = log_hits - x.exp() + x + torch.log(width * torch.cosh(s))
    return density.logsumexp(dim=-1) + math.log(RACE_STEP)
