"""Probability of what one step of confidence-ordered unmasking committed.

A step draws a candidate c_i ~ p_i at each open position, ranks them by `log p_i(c_i) + T g_i` with
Gumbel noise g, and commits the best n. In units of T a confidence is a Gumbel variable of scale one
around log w, w = p_i(c)^(1/T), mixed over the candidate. So with t = exp(-threshold), F_i(t) =
sum_c p_i(c) exp(-w_i(c) t) is the probability that position i stays below the threshold, and the
committed set S lies above all the others with probability

    q(S | s) = integral of W d prod_{i in S} (1 - F_i),    W(t) = prod_{j open, not in S} F_j(t).

With p_i(z_i) (1 - exp(-w_i(z_i) t)) in place of 1 - F_i this is q(S, z_S | s); with one atom at the
candidate in place of every law it is q(S | c, s) (exponential races; Yellott 1977,
doi:10.1016/0022-2496(77)90026-8), an integral of its own, whose nodes are spread as sinh.

Relative accuracy, measured against sums over all orders of commitment (path temperatures .002 to 4,
up to 8 positions, probabilities down to 1e-250): 1e-9 up to `DIRECT` codes, 1e-8 given candidates.
Laws of larger codebooks are binned, which moves the bits of a step by up to 1e-5 (scales of logits 0 to
10, path temperatures .002 to 4, subsets; against the sum over codes). Results are bits, float64,
(sample,). A path temperature between 0 and `COLD` counts as `COLD`: the integral takes the longer the
colder it is. A set that only noise could choose then has more bits than it has at so large a noise, but
never infinitely many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from generate.traversal import noiseless_order
from generate.traversal.binned import (
    MOST_BINS,
    ROUGHNESS,
    BinnedCommitted,
    BinnedLeft,
    Bins,
    log_early,
    masses,
    moments,
)
from generate.traversal.confidence import Atoms, Committed, log_hit
from generate.traversal.rank_integral import NEGLIGIBLE, NODES, Window, log_probabilities, window_of

COLD = 0.002
"""Least scale of the noise that bits are computed with, where there is noise at all."""
DIRECT = 32
"""Codes up to which laws are summed code by code; those of larger codebooks are binned."""
RACE_STEP = 0.1
"""Step of the integral given candidates, in units of the sinh that spreads its nodes."""
LATE = 600.0
"""r u above which exp(-r u) is nothing at all."""
ROUGHLY_NEGLIGIBLE = 16.0
"""Nats below the whole at which an integral of binned laws is cut off: 1e-7."""
WIDE = 60.0
"""Width of an integral from which samples are worked on one by one: few of its nodes serve them all."""
ARRAY = 1 << 20
"""Numbers of an intermediate array on a CPU, about: small ones stay in its cache."""
ARRAY_ELSEWHERE = 1 << 27
LAW_WIDTH = 2048
"""Numbers that a binned law is reckoned to take, for the size of arrays."""


def exact_surprisals(
    probabilities: Tensor, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Surprisal of committing exactly `commit` at a step, and of doing so with `tokens`.

    That is (-log2 q(S | s), -log2 q(S, z_S | s)) in bits, (sample,) each. Laws are (sample,
    position, code); tokens and the masks `is_open`, `commit` (sample, position), with the same
    number of positions in every sample. `temperature` is the scale of the Gumbel noise.
    """
    left = is_open & ~commit
    drawn = _drawn(probabilities, tokens, commit)
    n_left = int(left[0].sum())
    if n_left == 0:
        log_pair = _log(drawn).sum(dim=-1)
        return _bits(torch.zeros_like(log_pair)), _bits(log_pair)
    found = []
    for rows in _turns(probabilities, n_left + drawn.shape[1]):
        given = probabilities[rows], drawn[rows], left[rows], commit[rows]
        if temperature == 0:
            found.append(_log_without_noise(*given))
        else:
            found.append(_log_with_noise(*given, max(temperature, COLD)))
    log_set, log_pair = (torch.cat(part) for part in zip(*found, strict=True))
    return _bits(log_set), _bits(log_pair)


def set_surprisal_given_candidates(
    log_probability: Tensor, is_open: Tensor, commit: Tensor, temperature: float
) -> Tensor:
    """-log2 q(S | c, s): that a step commits exactly `commit`, given the candidates, (sample,).

    `log_probability` is that of each candidate in nats, and it and the masks are (sample,
    position). Zero without noise, since the candidates then fix the order.
    """
    if temperature == 0:
        return log_probability.new_zeros(len(log_probability), dtype=torch.float64)
    return race_surprisal(log_probability, is_open, commit, max(temperature, COLD))


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


def _drawn(probabilities: Tensor, tokens: Tensor, commit: Tensor) -> Tensor:
    """Of each committed token its probability, and the sum over all codes: (sample, committed, 2)."""
    laws = _rows(probabilities, commit)
    drawn = laws.gather(-1, _rows(tokens, commit).unsqueeze(-1))
    return torch.cat([drawn, laws.sum(dim=-1, keepdim=True)], dim=-1)


def _log(drawn: Tensor) -> Tensor:
    """log-probability (sample, committed) float64 from `_drawn`."""
    p, total = drawn.double().unbind(dim=-1)
    return torch.log(p / total)


def _log_laws(probabilities: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities of all codes at the masked positions, (sample, n, code) float64."""
    laws = _rows(probabilities, mask).double()
    return torch.log(laws / laws.sum(dim=-1, keepdim=True))


def _atoms(probabilities: Tensor, mask: Tensor, temperature: float) -> Atoms:
    """Laws code by code: drawn from in proportion, and ranked by what is not made to sum to one."""
    ranks = torch.log(_rows(probabilities, mask).double()) / temperature
    return Atoms(_log_laws(probabilities, mask), ranks)


def _turns(probabilities: Tensor, n_open: int) -> Iterator[slice]:
    """Parts of the samples that are worked on at once."""
    n_codes = probabilities.shape[-1]
    width = n_codes * NODES if n_codes <= DIRECT else LAW_WIDTH
    numbers = ARRAY if probabilities.device.type == "cpu" else ARRAY_ELSEWHERE
    size = max(1, numbers // (n_open * width))
    for start in range(0, len(probabilities), size):
        yield slice(start, start + size)


def _log_without_noise(
    probabilities: Tensor, drawn: Tensor, left: Tensor, commit: Tensor
) -> tuple[Tensor, Tensor]:
    """log q(S | s) and log q(S, z_S | s) where the candidates decide the order, (sample,) each."""
    at = torch.arange(commit.shape[1], device=commit.device).expand_as(commit)
    where = _rows(at, commit), _rows(at, left)
    if probabilities.shape[-1] <= DIRECT:
        sets, others = _atoms(probabilities, commit, 1.0), _atoms(probabilities, left, 1.0)
    else:
        sets, others = _decisive_atoms(probabilities, left, commit)
    log_set = noiseless_order.log_probability(sets, others, *where)
    log_others = noiseless_order.log_pair_probability(
        drawn[..., 0], _rows(probabilities, left), *where
    )
    return log_set, _log(drawn).sum(dim=-1) + log_others


def _decisive_atoms(probabilities: Tensor, left: Tensor, commit: Tensor) -> tuple[Atoms, Atoms]:
    """Laws committed and left, code by code only where the order can be decided.

    With W(v) and A(v) the probabilities that all left are below v and all committed above, q(S | s)
    is more than W A anywhere, and thresholds below v bring it less than W(v), those above less than
    A(v). So lower and higher codes come together, as one atom at each end.
    """
    laws = probabilities.float().flatten(0, 1)
    bins = Bins.holding(laws)
    rows = [mask.flatten().nonzero()[:, 0] for mask in (commit, left)]
    rough = []
    for part in rows:
        found = masses(laws, part, bins).double()
        found = found / found.sum(dim=-1, keepdim=True)
        rough.append(torch.nn.functional.pad(found.view(len(left), -1, len(bins)), (1, 1)))
    above, below = rough[0].flip(-1).cumsum(dim=-1).flip(-1), rough[1].cumsum(dim=-1)
    log_above = torch.log(above[..., 1:]).sum(dim=1)
    log_below = torch.log(below[..., :-1]).sum(dim=1)
    cut = (log_above + log_below).amax(dim=-1, keepdim=True) - NEGLIGIBLE
    low = int((log_below <= cut).sum(dim=-1).amin()) - 1
    high = max(low + 1, int((log_above > cut).sum(dim=-1).amax()))
    sets, others = (_lumped(laws[part], bins.some(low, high), left) for part in rows)
    return sets, others


def _lumped(laws: Tensor, bins: Bins, left: Tensor) -> Atoms:
    """Atoms of laws (row, code) in some bins, and of all lower and of all higher codes together."""
    pattern = laws.view(torch.int32)
    is_lower, is_higher = pattern < bins.first, pattern >= bins.last
    row, code = (~(is_lower | is_higher)).nonzero(as_tuple=True)
    n = torch.bincount(row, minlength=len(laws))
    place = torch.arange(len(row), device=laws.device) - (n.cumsum(0) - n)[row]
    p = laws.new_zeros(len(laws), int(n.amax()) + 2, dtype=torch.float64)
    p[row, place + 1] = laws[row, code].double()
    rank = torch.log(p)
    edges = torch.tensor([bins.first, bins.last], dtype=torch.int32).view(torch.float32).double()
    low, high = torch.log(edges).tolist()
    p[:, 0] = laws.where(is_lower, 0.0).sum(dim=-1, dtype=torch.float64)
    p[:, -1] = laws.where(is_higher, 0.0).sum(dim=-1, dtype=torch.float64)
    rank[:, 0], rank[:, -1] = low - 1, high + 1
    rank = rank.masked_fill(p == 0, -torch.inf)
    log_p = torch.log(p / p.sum(dim=-1, keepdim=True))
    shape = len(left), -1, p.shape[-1]
    return Atoms(log_p.view(shape), rank.view(shape))


def _log_with_noise(
    probabilities: Tensor, drawn: Tensor, left: Tensor, commit: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """log q(S | s) and log q(S, z_S | s) with noise, (sample,) each."""
    pairs = Atoms(_log(drawn).unsqueeze(-1), torch.log(drawn[..., :1].double()) / temperature)
    if probabilities.shape[-1] <= DIRECT:
        others = _atoms(probabilities, left, temperature)
        sets = _atoms(probabilities, commit, temperature)
        versions: list[Committed] = [sets, pairs]
        log_set, log_pair = log_probabilities(others, versions, window_of(others, versions))
        return log_set, log_pair
    open_laws = OpenLaws.of(probabilities, left, commit, temperature)
    window = open_laws.window(pairs)
    if window.width <= WIDE:
        log_set, log_pair = open_laws.log_probabilities(window, pairs)
        return log_set, log_pair
    if len(probabilities) > 1:
        halves = probabilities, drawn, left, commit
        parts = zip(*(given.tensor_split(2) for given in halves), strict=True)
        sides = [_log_with_noise(p, by, stay, go, temperature) for p, by, stay, go in parts]
        return torch.cat([sides[0][0], sides[1][0]]), torch.cat([sides[0][1], sides[1][1]])
    log_set, _ = open_laws.log_probabilities(open_laws.window(), pairs)
    _, log_pair = open_laws.log_probabilities(open_laws.window(pairs, with_sets=False), pairs)
    return log_set, log_pair


@dataclass(frozen=True)
class OpenLaws:
    """Laws of the positions left and committed, of a codebook that is binned.

    `laws` are (position of any sample, code) float32, `rows` those left, then those committed, and
    `rough` their masses (row, bin) in rough bins. `moments` (row, bin, m) in narrow ones are there
    where these are few; else they wait for the window that says which codes matter.
    """

    laws: Tensor
    rows: Tensor
    shape: tuple[int, int]
    rough: Tensor
    bins: Bins
    moments: Tensor | None
    temperature: float

    @classmethod
    def of(
        cls, probabilities: Tensor, left: Tensor, commit: Tensor, temperature: float
    ) -> OpenLaws:
        """From laws (sample, position, code) and the masks of those left and committed."""
        laws = probabilities.float().flatten(0, 1)
        rows = torch.cat([mask.flatten().nonzero()[:, 0] for mask in (left, commit)])
        shape = len(probabilities), int(left[0].sum())
        bins = Bins.holding(laws)
        narrow = bins.narrow(temperature)
        if len(narrow) > MOST_BINS:
            return cls(laws, rows, shape, masses(laws, rows, bins), bins, None, temperature)
        found = moments(laws, rows, narrow)
        rough = found[..., 0].reshape(*found.shape[:-2], len(bins), -1).sum(dim=-1)
        return cls(laws, rows, shape, rough, bins, found, temperature)

    def window(self, *versions: Atoms, with_sets: bool = True) -> Window:
        """Bounds of the integrals of the sets, and of what other versions there are."""
        left, sets = self._by_sample(self.rough.unsqueeze(-1))
        none_left, none = torch.zeros_like(left[..., 0, 0]), torch.zeros_like(sets[..., 0, 0])
        roughly = BinnedLeft.of(left, self.bins, self.temperature, none_left)
        committed: list[Committed] = list(versions)
        if with_sets:
            early = torch.log(none)
            committed[:0] = [BinnedCommitted.of(sets, self.bins, self.temperature, early, none)]
        found = window_of(roughly, committed, ROUGHLY_NEGLIGIBLE)
        return found.widened(ROUGHNESS / self.temperature)

    def log_probabilities(self, window: Window, pairs: Atoms) -> list[Tensor]:
        """log q(S | s) and log q(S, z_S | s), (sample,) each, by the nodes in a window."""
        left, sets = self._in_narrow_bins(window)
        return log_probabilities(left, [sets, pairs], window)

    def _in_narrow_bins(self, window: Window) -> tuple[BinnedLeft, BinnedCommitted]:
        """The laws left and committed, exact enough at the nodes in a window."""
        temperature, rough = self.temperature, self.rough.double()
        if self.moments is None:
            bins = self.bins.refined(window.start, window.stop, temperature)
            found = moments(self.laws, self.rows, bins)
        else:
            bins, found = self.bins.narrow(temperature), self.moments
        low, high = self.bins.place(bins)
        below, above = rough[:, :low].sum(dim=-1), rough[:, high:].sum(dim=-1)
        whole = below + found[..., 0].sum(dim=-1) + above
        left, sets = self._by_sample(found / whole[:, None, None])
        below, _ = self._by_sample(below / whole)
        _, above = self._by_sample(above / whole)
        early = torch.full_like(above, -torch.inf)
        if low > 0:
            rows = self.rows[-above.numel() :]
            early = log_early(self.laws, rows, bins, temperature).view_as(above)
            early = early - whole[-above.numel() :].log().view_as(above)
        return (
            BinnedLeft.of(left, bins, temperature, below),
            BinnedCommitted.of(sets, bins, temperature, early, above),
        )

    def _by_sample(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Values (row, ...) of those left and of those committed, (sample, position, ...)."""
        n_samples, n_left = self.shape
        left, sets = values.tensor_split([n_samples * n_left])
        return (
            left.reshape(n_samples, -1, *values.shape[1:]),
            sets.reshape(n_samples, -1, *values.shape[1:]),
        )


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
        each = (scaled / torch.expm1(scaled).clamp(min=1e-300)).clamp(max=1)
        rising = 1 - mode.exp() + each.sum(dim=-1) > 0
        low, high = torch.where(rising, mode, low), torch.where(rising, high, mode)
    width = 1 / math.sqrt(n + 1)
    left, right = math.asinh(1.5 * NEGLIGIBLE / width), math.asinh(4 / width)
    s = torch.arange(-left, right, RACE_STEP, dtype=torch.float64, device=log_ratio.device)
    x = mode[:, None] + width * torch.sinh(s)
    log_hits = log_hit(log_ratio.unsqueeze(-1) + x.unsqueeze(1)).sum(dim=1)
    density = log_hits - x.exp() + x + torch.log(width * torch.cosh(s))
    return density.logsumexp(dim=-1) + math.log(RACE_STEP)
