"""Entropy of a code distribution from its counts, in bits.

Every estimator works on the multiplicities of the counts (how many codes were seen once, twice,
...), so its cost does not depend on how many tokens were counted. Tokens are taken as independent
draws; an interval must resample images or prompts, never tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError, unknown

Array = NDArray[np.float64]

_node, _weight = np.polynomial.legendre.leggauss(32)
NODE, WEIGHT = 0.5 * (_node + 1), 0.5 * _weight
"""Gauss-Legendre rule on [0, 1]."""


COUNTED_AT_ONCE = 1 << 16
"""Tokens counted at a time."""

COUNTED = 8
"""Counts up to so many times the codes seen are counted themselves; larger ones are sorted."""


class Multiplicities(NamedTuple):
    """How many codes were seen how often: `number[j]` codes were seen `value[j]` times each.

    Zero counts are left out; `total` is the number of tokens, `n_codes` the size of the codebook
    where it is known.
    """

    value: Array
    number: Array
    total: float
    n_codes: int | None

    @property
    def seen(self) -> float:
        """Number of different codes seen."""
        return float(self.number.sum())

    def seen_exactly(self, times: int) -> float:
        """Number of codes seen that many times (f1, f2 of the literature)."""
        return float(self.number[self.value == times].sum())


def multiplicities(counts: ArrayLike, n_codes: int | None = None) -> Multiplicities:
    """Multiplicities of one row of counts `(code,)`, of a codebook of `n_codes` where it is known.

    >>> m = multiplicities([3, 0, 1, 1])
    >>> m.value, m.number, m.total, m.seen
    (array([1., 3.]), array([2., 1.]), 5.0, 3.0)
    """
    row = np.asarray(counts)
    positive = row[row > 0]
    if positive.dtype.kind in "iu" and positive.size and positive.max() <= COUNTED * positive.size:
        every = np.bincount(positive)
        value = np.flatnonzero(every)
        number = every[value]
    else:
        value, number = np.unique(positive, return_counts=True)
    return Multiplicities(value.astype(float), number.astype(float), float(positive.sum()), n_codes)


def plugin(m: Multiplicities) -> float:
    """Maximum likelihood entropy in nats, `-sum p log p`.

    Biased down by about (seen - 1) / 2N nats.

    >>> round(plugin(multiplicities([2, 2])), 4)
    0.6931
    """
    return float(np.log(m.total) - (m.number * m.value * np.log(m.value)).sum() / m.total)


def miller_madow(m: Multiplicities) -> float:
    """Plug-in plus the first-order bias term, in nats. Source: Miller (1955).

    >>> round(miller_madow(multiplicities([2, 2])), 4)
    0.8181
    """
    return plugin(m) + (m.seen - 1) / (2 * m.total)


def jackknife(m: Multiplicities) -> float:
    """Leave-one-token-out jackknife, in nats; NaN for a single token.

    Source: Zahl (1977), doi:10.2307/1936227.

    >>> round(jackknife(multiplicities([2, 2])), 4)
    0.863
    """
    if m.total < 2:
        return np.nan
    n = m.total
    weighted = (m.number * m.value * np.log(m.value)).sum()
    less = m.value - 1
    without = weighted - m.value * np.log(m.value) + less * np.log(np.maximum(less, 1))
    left_out = np.log(n - 1) - without / (n - 1)
    return float(n * plugin(m) - (n - 1) / n * (m.number * m.value * left_out).sum())


def grassberger(m: Multiplicities) -> float:
    """Grassberger's second estimator, with G_n, in nats.

    Source: Grassberger (2003), arXiv:physics/0307138.

    >>> round(grassberger(multiplicities([2, 2])), 4)
    0.6567
    """
    v = m.value
    sign = np.where(v % 2 == 0, 1.0, -1.0)
    difference = scipy.special.digamma((v + 1) / 2) - scipy.special.digamma(v / 2)
    G = scipy.special.digamma(v) + sign * 0.5 * difference
    return float(np.log(m.total) - (m.number * v * G).sum() / m.total)


def good_turing_coverage(m: Multiplicities) -> float:
    """Share of the probability mass that lies on seen codes, `1 - f1 / N`.

    Of independent draws: tokens of one image are not, so it promises too much of images.
    Source: Good (1953), doi:10.1093/biomet/40.3-4.237.

    >>> good_turing_coverage(multiplicities([3, 1]))
    0.75
    """
    return 1.0 - m.seen_exactly(1) / m.total


def chao_shen(m: Multiplicities) -> float:
    """Horvitz-Thompson entropy with coverage-adjusted frequencies, in nats.

    When every code was seen once the coverage is taken as 1/N, so that the estimate stays finite.
    Source: Chao & Shen (2003), doi:10.1023/A:1026096204727.

    >>> round(chao_shen(multiplicities([2, 2])), 4)
    0.7394
    """
    coverage = max(good_turing_coverage(m), 1.0 / m.total)
    p = coverage * m.value / m.total
    with np.errstate(divide="ignore"):
        included = -np.expm1(m.total * np.log1p(-p))
    return float(-(m.number * p * np.log(p) / included).sum())


def chao_wang_jost(m: Multiplicities) -> float:
    """Low-bias entropy from the accumulation curve of codes over tokens, in nats.

    Source: Chao, Wang & Jost (2013), doi:10.1111/2041-210X.12108.

    >>> round(chao_wang_jost(multiplicities([2, 2])), 4)
    0.8333
    """
    n, f1, f2 = m.total, m.seen_exactly(1), m.seen_exactly(2)
    steps = scipy.special.digamma(n) - scipy.special.digamma(m.value)
    curve = (m.number * m.value / n * steps).sum()
    if f1 == 0:
        return float(curve)
    if f2 > 0:
        A = 2 * f2 / ((n - 1) * f1 + 2 * f2)
    else:
        A = 2 / ((n - 1) * (f1 - 1) + 2)
    return float(curve + f1 / n * unseen_tail(n, A))


def unseen_tail(n: float, A: float) -> float:
    """`(1-A)^(1-n) * (-log A - sum_{r<n} (1-A)^r / r)` without overflow or cancellation.

    Equal to `sum_{k>=1} (1-A)^k / (n+k-1)`. For (n-1)A <= 1 the finite sum is written as an
    integral over [0, A] of a smooth function (Gauss-Legendre); beyond, the series is an incomplete
    beta function with b = 0 and its continued fraction converges in a few dozen terms, whatever n.

    >>> round(unseen_tail(1, 0.5), 6)  # the series of log 2
    0.693147
    """
    if A >= 1:
        return 0.0
    if (n - 1) * A > 1:
        return (1 - A) / n * _beta_fraction(n, 1 - A)
    smooth = (WEIGHT * -np.expm1((n - 1) * np.log1p(-A * NODE)) / NODE).sum()
    tail = -np.log(A) - scipy.special.digamma(n) - np.euler_gamma + smooth
    return float(np.exp(-(n - 1) * np.log1p(-A)) * tail)


def _beta_fraction(a: float, x: float) -> float:
    """Continued fraction of the incomplete beta function B(x; a, 0) times a / x^a.

    By Lentz's method (DLMF 8.17.22).
    """
    c, d = 1.0, 1.0 / (1.0 - a * x / (a + 1))
    value = d
    for m in range(1, 1000):
        even = -m * m * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -((a + m) ** 2) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d)
            c = 1.0 + term / c
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


def james_stein(m: Multiplicities) -> float:
    """Plug-in entropy after shrinkage towards the uniform law over the codebook, in nats.

    Needs the size of the codebook, IbstatsError without it.
    Source: Hausser & Strimmer (2009), JMLR 10, 1469-1484.

    >>> round(james_stein(multiplicities([4, 1], n_codes=2)), 4)
    0.6365
    """
    K = _codes(m, "james_stein")
    unseen = K - m.seen
    p = m.value / m.total
    misfit = (m.number * (1 / K - p) ** 2).sum() + unseen / K**2
    if misfit == 0 or m.total < 2:
        shrinkage = 1.0
    else:
        shrinkage = min(1.0, max(0.0, (1 - (m.number * p**2).sum()) / ((m.total - 1) * misfit)))
    q = shrinkage / K + (1 - shrinkage) * p
    floor = shrinkage / K
    rest = 0.0
    if floor > 0:
        rest = unseen * floor * np.log(floor)
    return float(-(m.number * q * np.log(q)).sum() - rest)


def nsb(m: Multiplicities) -> float:
    """Posterior mean entropy under the prior that is nearly flat in entropy, in nats.

    A mixture of symmetric Dirichlet priors whose concentration is weighted by d(prior mean
    entropy); one integral over log concentration, on a grid around its peak. Needs the size of the
    codebook, IbstatsError without it. Source: Nemenman, Shafee & Bialek (2002),
    arXiv:physics/0108025.

    >>> round(nsb(multiplicities([4, 1], n_codes=2)), 4)
    0.5309
    """
    K = _codes(m, "nsb")
    if K == 1:
        return 0.0
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
    """Log of evidence x prior density in log concentration, up to a constant.

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
    if m.n_codes < m.seen:
        raise IbstatsError(f"n_codes is {m.n_codes}, but {m.seen:.0f} different codes were seen")
    return m.n_codes


ESTIMATORS: dict[str, Callable[[Multiplicities], float]] = {
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

SHORT = 64
"""Rows up to this long are estimated once per multiset of counts."""


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


def _distinct(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The different rows, and which of them each row is."""
    base = int(rows.max()) + 1
    if rows.dtype.kind not in "iu" or base ** rows.shape[1] >= 1 << 62:
        found, back = np.unique(rows, axis=0, return_inverse=True)
        return found, back
    # each row as one number: sorting those is ten times quicker
    number = rows @ (base ** np.arange(rows.shape[1], dtype=np.int64))
    _, first, back = np.unique(number, return_index=True, return_inverse=True)
    return rows[first], back


def _by_row(
    counts: ArrayLike, n_codes: int | None, function: Callable[[Multiplicities], float]
) -> Array:
    """Apply a function of multiplicities to each row of counts."""
    table = np.asarray(counts)
    if table.ndim == 0 or not np.all(table >= 0):
        raise IbstatsError(
            "counts must be an array of numbers >= 0 with the codes on the last axis"
        )
    rows = table.reshape(-1, table.shape[-1])
    back: slice | NDArray[np.intp] = slice(None)
    if rows.shape[1] <= SHORT < len(rows):  # many short rows hold few different multisets
        rows, back = _distinct(np.sort(rows, axis=1))
    out = np.full(len(rows), np.nan)
    for i, row in enumerate(rows):
        m = multiplicities(row, n_codes)
        if m.total > 0:
            out[i] = function(m)
    return out[back].reshape(table.shape[:-1])[()]
