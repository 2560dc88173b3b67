"""Entropy of a code distribution from its counts, in bits.

Every estimator works on the multiplicities of the counts (how many codes were seen once, twice,
...) of many rows at once, so its cost does not depend on how many tokens were counted. Tokens are
taken as independent draws; an interval must resample images or prompts, never tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError, unknown
from ibstats.kernels.multiplicities import Multiplicities, multiplicities

Array = NDArray[np.float64]

_node, _weight = np.polynomial.legendre.leggauss(32)
NODE, WEIGHT = 0.5 * (_node + 1), 0.5 * _weight
"""Gauss-Legendre rule on [0, 1]."""


COUNTED_AT_ONCE = 1 << 16
"""Tokens counted at a time."""

ESTIMATED_AT_ONCE = 1 << 19
"""Counts whose entropies are estimated at a time."""


def plugin(m: Multiplicities) -> Array:
    """Maximum likelihood entropy in nats, `-sum p log p`, `(row,)`.

    Biased down by about (seen - 1) / 2N nats.

    >>> plugin(multiplicities([[2, 2]])).round(4)
    array([0.6931])
    """
    return np.log(m.total) - m.sum(m.number * m.value * np.log(m.value)) / m.total


def miller_madow(m: Multiplicities) -> Array:
    """Plug-in plus the first-order bias term, in nats, `(row,)`. Source: Miller (1955).

    >>> miller_madow(multiplicities([[2, 2]])).round(4)
    array([0.8181])
    """
    return plugin(m) + (m.seen - 1) / (2 * m.total)


def jackknife(m: Multiplicities) -> Array:
    """Leave-one-token-out jackknife, in nats, `(row,)`; NaN for a single token.

    Source: Zahl (1977), doi:10.2307/1936227.

    >>> jackknife(multiplicities([[2, 2]])).round(4)
    array([0.863])
    """
    n = np.where(m.total < 2, np.nan, m.total)
    weighted = m.sum(m.number * m.value * np.log(m.value))
    less = m.value - 1
    without = weighted[m.row] - m.value * np.log(m.value) + less * np.log(np.maximum(less, 1))
    left_out = np.log(n - 1)[m.row] - without / (n - 1)[m.row]
    return n * plugin(m) - (n - 1) / n * m.sum(m.number * m.value * left_out)


def grassberger(m: Multiplicities) -> Array:
    """Grassberger's second estimator, with G_n, in nats, `(row,)`.

    Source: Grassberger (2003), arXiv:physics/0307138.

    >>> grassberger(multiplicities([[2, 2]])).round(4)
    array([0.6567])
    """
    v = m.value
    sign = np.where(v % 2 == 0, 1.0, -1.0)
    difference = scipy.special.digamma((v + 1) / 2) - scipy.special.digamma(v / 2)
    G = scipy.special.digamma(v) + sign * 0.5 * difference
    return np.log(m.total) - m.sum(m.number * v * G) / m.total


def good_turing_coverage(m: Multiplicities) -> Array:
    """Share of the probability mass that lies on seen codes, `1 - f1 / N`, `(row,)`.

    Of independent draws: tokens of one image are not, so it promises too much of images.
    Source: Good (1953), doi:10.1093/biomet/40.3-4.237.

    >>> good_turing_coverage(multiplicities([[3, 1]]))
    array([0.75])
    """
    return 1.0 - m.seen_exactly(1) / m.total


def chao_shen(m: Multiplicities) -> Array:
    """Horvitz-Thompson entropy with coverage-adjusted frequencies, in nats, `(row,)`.

    When every code was seen once the coverage is taken as 1/N, so that the estimate stays finite.
    Source: Chao & Shen (2003), doi:10.1023/A:1026096204727.

    >>> chao_shen(multiplicities([[2, 2]])).round(4)
    array([0.7394])
    """
    coverage = np.maximum(good_turing_coverage(m), 1.0 / m.total)
    n = m.total[m.row]
    p = coverage[m.row] * m.value / n
    with np.errstate(divide="ignore"):
        included = -np.expm1(n * np.log1p(-p))
    return -m.sum(m.number * p * np.log(p) / included)


def chao_wang_jost(m: Multiplicities) -> Array:
    """Low-bias entropy from the accumulation curve of codes over tokens, in nats, `(row,)`.

    Source: Chao, Wang & Jost (2013), doi:10.1111/2041-210X.12108.

    >>> chao_wang_jost(multiplicities([[2, 2]])).round(4)
    array([0.8333])
    """
    n = m.total
    steps = scipy.special.digamma(n)[m.row] - scipy.special.digamma(m.value)
    curve = m.sum(m.number * m.value / n[m.row] * steps)
    once, twice = m.seen_exactly(1), m.seen_exactly(2)
    open_ended = once > 0
    n, f1, f2 = n[open_ended], once[open_ended], twice[open_ended]
    # Chao's share of the rarest codes, bias-corrected where none was seen twice
    doubled = np.where(f2 > 0, 2 * f2, 2.0)
    A = doubled / ((n - 1) * np.where(f2 > 0, f1, f1 - 1) + doubled)
    curve[open_ended] += f1 / n * unseen_tail(n, A)
    return curve


def unseen_tail(n: ArrayLike, A: ArrayLike) -> Array:
    """`(1-A)^(1-n) * (-log A - sum_{r<n} (1-A)^r / r)` without overflow or cancellation.

    `n` and `A` have the same shape, which the result has. Equal to `sum_{k>=1} (1-A)^k / (n+k-1)`.
    For (n-1)A <= 1 the finite sum is written as an integral over [0, A] of a smooth function
    (Gauss-Legendre); beyond, the series is an incomplete beta function with b = 0 and its
    continued fraction converges in a few dozen terms, whatever n.

    >>> unseen_tail([1, 9], [0.5, 1.0]).round(6)  # the series of log 2, and nothing
    array([0.693147, 0.      ])
    """
    n, A = np.asarray(n, dtype=float), np.asarray(A, dtype=float)
    tail = np.zeros(n.shape)
    near = (A < 1) & ((n - 1) * A <= 1)
    far = (A < 1) & ~near
    tail[near] = _near_tail(n[near], A[near])
    tail[far] = (1 - A[far]) / n[far] * _beta_fraction(n[far], 1 - A[far])
    return tail


def _near_tail(n: Array, A: Array) -> Array:
    """`unseen_tail` for (n-1)A <= 1."""
    power = np.log1p(-A[:, None] * NODE) * (n[:, None] - 1)
    smooth = (WEIGHT * -np.expm1(power) / NODE).sum(axis=1)
    tail = -np.log(A) - scipy.special.digamma(n) - np.euler_gamma + smooth
    return np.asarray(np.exp(-(n - 1) * np.log1p(-A)) * tail)


def _beta_fraction(a: Array, x: Array) -> Array:
    """Continued fraction of the incomplete beta function B(x; a, 0) times a / x^a.

    By Lentz's method (DLMF 8.17.22). A row leaves when it has converged.
    """
    c, d = np.ones(a.shape), 1.0 / (1.0 - a * x / (a + 1))
    value = d.copy()
    left = np.arange(len(a))
    for m in range(1, 1000):
        even = -m * m * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -((a + m) ** 2) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d)
            c = 1.0 + term / c
            value[left] *= c * d
        going = abs(c * d - 1.0) >= 1e-15
        if not going.all():
            a, x, c, d, left = a[going], x[going], c[going], d[going], left[going]
        if not len(left):
            break
    return value


def james_stein(m: Multiplicities) -> Array:
    """Plug-in entropy after shrinkage towards the uniform law over the codebook, in nats, `(row,)`.

    Needs the size of the codebook, IbstatsError without it.
    Source: Hausser & Strimmer (2009), JMLR 10, 1469-1484.

    >>> james_stein(multiplicities([[4, 1]], n_codes=2)).round(4)
    array([0.6365])
    """
    K = _codes(m, "james_stein")
    unseen = K - m.seen
    p = m.value / m.total[m.row]
    misfit = m.sum(m.number * (1 / K - p) ** 2) + unseen / K**2
    apart = (misfit > 0) & (m.total > 1)
    wanted = (1 - m.sum(m.number * p**2)) / np.where(apart, (m.total - 1) * misfit, 1.0)
    shrinkage = np.where(apart, np.clip(wanted, 0.0, 1.0), 1.0)
    floor = shrinkage / K
    q = floor[m.row] + (1 - shrinkage)[m.row] * p
    mass_unseen = unseen * scipy.special.xlogy(floor, floor)
    return np.asarray(-m.sum(m.number * q * np.log(q)) - mass_unseen)


def nsb(m: Multiplicities) -> Array:
    """Posterior mean entropy under the prior that is nearly flat in entropy, in nats, `(row,)`.

    A mixture of symmetric Dirichlet priors whose concentration is weighted by d(prior mean
    entropy); one integral over log concentration, on a grid around its peak. Needs the size of the
    codebook, IbstatsError without it. Source: Nemenman, Shafee & Bialek (2002),
    arXiv:physics/0108025.

    >>> nsb(multiplicities([[4, 1]], n_codes=2)).round(4)
    array([0.5309])
    """
    K = _codes(m, "nsb")
    if K == 1:
        return np.zeros(len(m.total))
    known: dict[bytes, float] = {}  # many short rows hold few different multisets
    found = np.empty(len(m.total))
    for number, one in enumerate(m.rows()):
        multiset = one.value.tobytes() + one.number.tobytes()
        if multiset not in known:
            known[multiset] = _nsb_of_row(one, K)
        found[number] = known[multiset]
    return found


def _nsb_of_row(m: Multiplicities, K: int) -> float:
    """`nsb` of a single row."""
    grid = np.linspace(-40.0, 40.0, 401)
    for _ in range(3):
        log_posterior = _nsb_log_posterior(m, K, grid)
        kept = grid[log_posterior > log_posterior.max() - 45]
        step = grid[1] - grid[0]
        grid = np.linspace(kept[0] - step, kept[-1] + step, 401)
    log_posterior = _nsb_log_posterior(m, K, grid)
    weight = np.exp(log_posterior - log_posterior.max())
    beta = np.exp(grid)[:, None]
    pseudo = m.value + beta
    # codes never seen carry beta each
    seen = (m.number * pseudo * scipy.special.digamma(pseudo + 1)).sum(axis=1)
    unseen = (K - m.seen) * beta[:, 0] * scipy.special.digamma(beta[:, 0] + 1)
    mass = m.total + K * beta[:, 0]
    mean = scipy.special.digamma(mass + 1) - (seen + unseen) / mass
    return float((weight * mean).sum() / weight.sum())


def _nsb_log_posterior(m: Multiplicities, K: int, log_beta: Array) -> Array:
    """Log of evidence x prior density in log concentration of a single row, up to a constant.

    Stable for concentrations 1e-17..1e17.
    """
    beta = np.exp(log_beta)
    betaln = scipy.special.betaln
    terms = scipy.special.gammaln(m.value) - betaln(beta[:, None], m.value)
    seen = (m.number * terms).sum(axis=1)
    evidence = seen + betaln(K * beta, m.total)
    slope = K * scipy.special.polygamma(1, K * beta + 1) - scipy.special.polygamma(1, beta + 1)
    with np.errstate(divide="ignore"):
        return np.asarray(evidence + np.log(np.maximum(slope, 0.0)) + log_beta)


def _codes(m: Multiplicities, estimator: str) -> int:
    if m.n_codes is None:
        raise IbstatsError(f"estimator '{estimator}' needs n_codes, the size of the codebook")
    most = m.seen.max(initial=0)
    if m.n_codes < most:
        raise IbstatsError(f"n_codes is {m.n_codes}, but {most:.0f} different codes were seen")
    return m.n_codes


ESTIMATORS: dict[str, Callable[[Multiplicities], Array]] = {
    "plugin": plugin,
    "miller_madow": miller_madow,
    "jackknife": jackknife,
    "grassberger": grassberger,
    "chao_shen": chao_shen,
    "chao_wang_jost": chao_wang_jost,
    "james_stein": james_stein,
    "nsb": nsb,
}
"""Estimators by name, each from multiplicities to nats."""

DEFAULT = "chao_wang_jost"


def count_codes(tokens: NDArray[np.integer[Any]], n_codes: int) -> NDArray[np.int64]:
    """How often each code occurs in tokens of any shape, `(code,)`: one counting for all estimators.

    As many tokens at a time as a core's cache holds as whole numbers of 64 bits, which
    `numpy.bincount` makes of them all at once.

    >>> count_codes(np.array([[0, 2], [2, 1]], dtype=np.uint16), 4)
    array([1, 1, 2, 0])
    """
    flat = tokens.reshape(-1)
    found = np.zeros(n_codes, dtype=np.int64)
    buffer = np.empty(min(len(flat), COUNTED_AT_ONCE), dtype=np.intp)
    for start in range(0, len(flat), COUNTED_AT_ONCE):
        part = flat[start : start + COUNTED_AT_ONCE]
        codes = buffer[: len(part)]
        codes[:] = part
        found += np.bincount(codes, minlength=n_codes)
    return found


def estimate(counts: ArrayLike, estimator: str = DEFAULT, n_codes: int | None = None) -> Array:
    """Entropy in bits of counts `(..., code) -> (...)`; NaN where nothing was counted.

    `estimator` is a name of `ESTIMATORS`, `n_codes` the size of the codebook, which `james_stein`
    and `nsb` need. Raises IbstatsError for another name, negative counts, or more codes than
    `n_codes`.

    >>> float(estimate([[1, 1, 0, 0]], "plugin")[0])
    1.0
    """
    if estimator not in ESTIMATORS:
        raise unknown("entropy estimator", estimator, ESTIMATORS)
    function = ESTIMATORS[estimator]
    return _by_row(counts, n_codes, lambda m: function(m) / np.log(2))


def coverage(counts: ArrayLike) -> Array:
    """Good-Turing coverage of counts by tokens, `(..., code) -> (...)`, a share of the mass.

    NaN where nothing was counted.

    >>> float(coverage([3, 1]))
    0.75
    """
    return _by_row(counts, None, good_turing_coverage)


def group_counts(codes: ArrayLike) -> NDArray[np.int64]:
    """Counts of the codes in each short group, `(..., n) -> (..., n)`, zeros filled in.

    Without a column per code: which code a count belongs to is lost, which entropies do not need,
    and the cost does not depend on the codebook.

    >>> group_counts([[7, 3, 7]])
    array([[1, 2, 0]])
    """
    ordered = np.sort(np.asarray(codes), axis=-1, kind="stable")  # radix sort: codes are 16-bit
    first = np.ones(ordered.shape, dtype=bool)
    first[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    start = np.flatnonzero(first)
    counts = np.zeros(ordered.size, dtype=np.int64)
    counts[start] = np.diff(start, append=ordered.size)
    return counts.reshape(ordered.shape)


def _by_row(
    counts: ArrayLike, n_codes: int | None, function: Callable[[Multiplicities], Array]
) -> Array:
    """A function of multiplicities of each row of counts, as many rows at a time as memory allows."""
    table = np.asarray(counts)
    if table.ndim == 0 or not np.all(table >= 0):
        raise IbstatsError(
            "counts must be an array of numbers >= 0 with the codes on the last axis"
        )
    rows = table.reshape(-1, table.shape[-1])
    out = np.full(len(rows), np.nan)
    drawn = np.flatnonzero(rows.any(axis=1))
    step = max(1, ESTIMATED_AT_ONCE // max(1, rows.shape[1]))
    for start in range(0, len(drawn), step):
        some = drawn[start : start + step]
        out[some] = function(multiplicities(rows[some], n_codes))
    return out.reshape(table.shape[:-1])[()]
