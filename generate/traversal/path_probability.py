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

Relative accuracy, measured against sums over all orders of commitment (path temperatures .05 to 4,
up to 8 positions, probabilities down to 1e-250): 1e-9 up to `DIRECT` codes, 1e-8 given candidates.
Laws of larger codebooks are binned, which moves the bits of a step by up to 1e-5 (scales of logits 0 to
10, path temperatures .03 to 4, subsets; against the sum over codes). Results are bits, float64,
(sample,). A path temperature below `COLD` counts as zero: noise that small reorders only candidates
whose log-probabilities nearly agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from generate.traversal import noiseless_order
from generate.traversal.binned import ROUGHNESS, Binned, Bins, moments, rough_masses
from generate.traversal.confidence import Atoms, Confidences, log_hit
from generate.traversal.rank_integral import NEGLIGIBLE, NODES, Window, log_probabilities, window_of

COLD = 0.02
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
        if temperature < COLD:
            found.append(_log_without_noise(*given))
        else:
            found.append(_log_with_noise(*given, temperature))
    log_set, log_pair = (torch.cat(part) for part in zip(*found, strict=True))
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


def _drawn(probabilities: Tensor, tokens: Tensor, commit: Tensor) -> Tensor:
    """Of each committed token its probability, and the sum over all codes: (sample, committed, 2)."""
    drawn = probabilities.gather(-1, tokens.unsqueeze(-1))
    return _rows(torch.cat([drawn, probabilities.sum(dim=-1, keepdim=True)], dim=-1), commit)


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
    others = _log_laws(probabilities, left)
    at = torch.arange(commit.shape[1], device=commit.device).expand_as(commit)
    where = _rows(at, commit), _rows(at, left)
    log_set = noiseless_order.log_probability(_log_laws(probabilities, commit), others, *where)
    log_pair = noiseless_order.log_probability(_log(drawn).unsqueeze(-1), others, *where)
    return log_set, log_pair


def _log_with_noise(
    probabilities: Tensor, drawn: Tensor, left: Tensor, commit: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """log q(S | s) and log q(S, z_S | s) with noise, (sample,) each."""
    pairs = Atoms(_log(drawn).unsqueeze(-1), torch.log(drawn[..., :1].double()) / temperature)
    if probabilities.shape[-1] <= DIRECT:
        others = _atoms(probabilities, left, temperature)
        sets = _atoms(probabilities, commit, temperature)
        versions: list[Confidences] = [sets, pairs]
        log_set, log_pair = log_probabilities(others, versions, window_of(others, versions))
        return log_set, log_pair
    open_laws = OpenLaws.of(probabilities, left, commit, temperature)
    window = open_laws.window([open_laws.rough_sets, pairs])
    if window.width <= WIDE:
        log_set, log_pair = open_laws.log_probabilities(window, pairs)
        return log_set, log_pair
    if len(probabilities) > 1:
        halves = probabilities, drawn, left, commit
        parts = zip(*(given.tensor_split(2) for given in halves), strict=True)
        sides = [_log_with_noise(p, by, stay, go, temperature) for p, by, stay, go in parts]
        return torch.cat([sides[0][0], sides[1][0]]), torch.cat([sides[0][1], sides[1][1]])
    log_set, _ = open_laws.log_probabilities(open_laws.window([open_laws.rough_sets]), pairs)
    _, log_pair = open_laws.log_probabilities(open_laws.window([pairs]), pairs)
    return log_set, log_pair


@dataclass(frozen=True)
class OpenLaws:
    """Laws of the positions left and committed, of a codebook that is binned.

    `laws` are (position of any sample, code) float32, `rows` those left, then those committed.
    """

    laws: Tensor
    rows: Tensor
    shape: tuple[int, int]
    bins: Bins
    rough_left: Binned
    rough_sets: Binned
    temperature: float

    @classmethod
    def of(
        cls, probabilities: Tensor, left: Tensor, commit: Tensor, temperature: float
    ) -> OpenLaws:
        """From laws (sample, position, code) and the masks of those left and committed."""
        laws = probabilities.float().flatten(0, 1)
        rows = torch.cat([mask.flatten().nonzero()[:, 0] for mask in (left, commit)])
        shape = len(probabilities), int(left[0].sum())
        masses, bins = rough_masses(laws, rows)
        both = _by_sample(masses, bins, shape, temperature)
        return cls(laws, rows, shape, bins, *both, temperature)

    def window(self, versions: Sequence[Confidences]) -> Window:
        """Bounds of the integrals, as the rough laws find them."""
        found = window_of(self.rough_left, versions, ROUGHLY_NEGLIGIBLE)
        return found.widened(ROUGHNESS / self.temperature)

    def log_probabilities(self, window: Window, pairs: Atoms) -> list[Tensor]:
        """log q(S | s) and log q(S, z_S | s), (sample,) each, by the nodes in a window."""
        bins = self.bins.refined(window.stop, window.start, self.temperature)
        found = moments(self.laws, self.rows, bins)
        left, sets = _by_sample(found, bins, self.shape, self.temperature)
        return log_probabilities(left, [sets, pairs], window)


def _by_sample(
    found: Tensor, bins: Bins, shape: tuple[int, int], temperature: float
) -> tuple[Binned, Binned]:
    """Binned laws of those left and of those committed, from moments (row, m bin) in that order."""
    n_samples, n_left = shape
    left, sets = found.tensor_split([n_samples * n_left])
    log_p = bins.log_p(found.device)
    return (
        Binned(left.reshape(n_samples, -1, *left.shape[1:]), log_p, temperature),
        Binned(sets.reshape(n_samples, -1, *sets.shape[1:]), log_p, temperature),
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
