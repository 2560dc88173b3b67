"""Tests of means over prompts: does an effect differ from zero, and is it small enough to be none?

Values are arrays `(n_prompts, m)`, one column per effect, or `(n_prompts,)`; a column without
variation (degenerate) is not tested and gives NaN. The formulas are those of SciPy and pingouin,
which serve as oracles in the tests.
"""

from __future__ import annotations

from functools import cache
from math import lgamma, log
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError, unknown
from ibstats.kernels.resampling import MAX_EXACT_UNITS, is_constant, sign_flip

Array = NDArray[np.float64]

ADJUSTMENTS = ("holm", "bh")
MARGIN_SHARE = 0.05
"""Margin of equivalence where none is declared, as a share of the value without intervention.

It lies between the changes that the paper calls minor (up to 4.3 % of it: LlamaGen's codebook, +0.025
of 0.577) and those that it calls significant (from 10.6 %: VQ-Diffusion's codebook, +0.080 of 0.755).
"""
MAX_EXACT_RANKS = 50
"""Prompts up to which the law of the signed ranks is exact."""
QUADRATURE = 200
"""Nodes of an integral over a distribution."""
HUGE_T = 1e4
"""A t beside which a unit normal is nothing: it is the noncentrality over a chi, to df / t^2."""


class TTest(NamedTuple):
    """One-sample t test of mean zero per column; F(1, n-1) of the ANOVA is t squared.

    `t` and `p (m,)`, NaN where there is no test.
    """

    t: Array
    df: int
    p: Array


class EffectSize(NamedTuple):
    """Standardised mean per column, with its interval; d_z and Hedges' g, both without a unit.

    NaN for a column without variation.
    """

    d_z: Array
    low: Array
    high: Array
    hedges_g: Array
    g_low: Array
    g_high: Array


class Equivalence(NamedTuple):
    """Outcome of two one-sided tests that a mean lies within a margin.

    Source: Schuirmann (1987), doi:10.1007/BF01068419.
    """

    p: float
    verdict: str
    """equivalent, inconclusive, or degenerate (no variation, so no test)."""


def _columns(values: ArrayLike) -> Array:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim == 1:
        return x[:, None]
    return x


def t_test(values: ArrayLike) -> TTest:
    """Two-sided one-sample t test of mean zero, per column of `(n_prompts, m)`.

    NaN for constant columns and fewer than two prompts.

    >>> test = t_test([1.0, 2.0, 3.0])
    >>> test.t.round(3), test.df, test.p.round(3)
    (array([3.464]), 2, array([0.074]))
    """
    x = _columns(values)
    n = len(x)
    if n < 2:
        return TTest(np.full(x.shape[1], np.nan), n - 1, np.full(x.shape[1], np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = x.mean(axis=0) / (x.std(axis=0, ddof=1) / np.sqrt(n))
    t = np.where(is_constant(x), np.nan, t)
    return TTest(t, n - 1, 2 * scipy.special.stdtr(n - 1, -np.abs(t)))


def wilcoxon(values: ArrayLike) -> Array:
    """Two-sided Wilcoxon signed-rank p per column of `(n_prompts, m)`, zeros dropped.

    Exact up to 50 prompts, with ties too; beyond, the normal approximation. Values that differ by
    rounding alone, as differences of shares do, are ties, and zero if they are nothing else. NaN
    for constant columns and those with NaN.

    >>> wilcoxon([1.0, 2.0, 3.0, 4.0, 5.0])
    array([0.0625])
    """
    x = _columns(values)
    p = np.full(x.shape[1], np.nan)
    for column in np.flatnonzero(~is_constant(x) & np.isfinite(x).all(axis=0)):
        whole = np.round(1e12 * (x[:, column] / np.abs(x[:, column]).max()))
        nonzero = whole[whole != 0]
        if len(nonzero) <= MAX_EXACT_RANKS:
            p[column] = _signed_rank_p(nonzero)
        else:
            p[column] = scipy.stats.wilcoxon(nonzero, method="asymptotic").pvalue
    return p


def _signed_rank_p(x: Array) -> float:
    """Exact two-sided p of the signed ranks, given the ties.

    The law of the sum of positive ranks, rank by rank. The normal approximation is too small with
    few: five ties of one sign have p = 1/16, it says .025. Source: Streitberg & Roehmel (1986),
    Statistical Software Newsletter 12, 10-17 (the shift algorithm).
    """
    twice = np.round(2 * scipy.stats.rankdata(np.abs(x))).astype(np.int64)
    chance = np.zeros(twice.sum() + 1)
    chance[0] = 1.0
    for rank in twice:
        shifted = np.concatenate([np.zeros(rank), chance[:-rank]])
        chance = (chance + shifted) / 2
    found = twice[x > 0].sum()
    return float(min(1.0, 2 * min(chance[: found + 1].sum(), chance[found:].sum())))


def sign_flip_p(values: ArrayLike, *, n_permutations: int, seed: int) -> tuple[Array, Array]:
    """Sign-flip p and its max-T adjusted p per column of `(n_prompts, m)`, `(m,)` each.

    Exact where enumeration is no more work than `n_permutations` random patterns, else those. NaN,
    and outside the family, for columns without variation, as for every other test, and with NaN.
    Max-T holds where values are symmetric around zero; where one of two conditions never varies,
    their difference is as skewed as the other, and Holm's adjustment is to be read.

    >>> sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0], n_permutations=100, seed=0)[0]
    array([0.0625])
    """
    x = _columns(values)
    varying = np.where(is_constant(x), np.nan, x)
    if len(x) <= MAX_EXACT_UNITS and 2 ** (len(x) - 1) <= n_permutations:
        return sign_flip(varying)
    return sign_flip(varying, n_permutations, np.random.default_rng(seed))


def adjust(p: ArrayLike, method: str = "holm") -> Array:
    """Adjusted p values, same shape: `holm` (family-wise error) or `bh` (false discovery rate).

    NaN stays NaN, outside the family. Raises IbstatsError for another method.
    Source: Holm (1979); Benjamini & Hochberg (1995).

    >>> adjust([0.01, float("nan"), 0.04])
    array([0.02,  nan, 0.04])
    """
    if method not in ADJUSTMENTS:
        raise unknown("adjustment", method, ADJUSTMENTS)
    values = np.asarray(p, dtype=np.float64)
    out = np.full(values.shape, np.nan)
    family = np.flatnonzero(~np.isnan(values.ravel()))
    ordered = family[np.argsort(values.ravel()[family], kind="stable")]
    size = len(ordered)
    rank = np.arange(size)
    sorted_p = values.ravel()[ordered]
    if method == "holm":
        adjusted = np.maximum.accumulate((size - rank) * sorted_p)
    else:
        adjusted = np.minimum.accumulate((size / (rank + 1) * sorted_p)[::-1])[::-1]
    out.ravel()[ordered] = np.minimum(adjusted, 1.0)
    return out


def family_size(p: ArrayLike) -> int:
    """Number of tests that were possible (p not NaN): what an adjustment counted.

    >>> family_size([0.1, float("nan")])
    1
    """
    return int(np.isfinite(np.asarray(p, dtype=np.float64)).sum())


def equivalence(values: ArrayLike, low: float, high: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided t tests that the mean of `(n_prompts,)` lies inside the margin (low, high).

    The margin is declared beforehand, in the unit of the values. The p value is the larger of the
    two; `equivalent` below alpha. Degenerate without variation. Raises IbstatsError unless the low
    end is below the high end. Source: Schuirmann (1987), doi:10.1007/BF01068419.

    >>> equivalence([0.1, -0.1, 0.0, 0.1, -0.1], -0.5, 0.5).verdict
    'equivalent'
    """
    if not low < high:
        raise IbstatsError(
            f"the equivalence margin is ({low}, {high}), but its low end must be below its high end"
        )
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n < 2 or bool(is_constant(x)):
        return Equivalence(np.nan, "degenerate")
    error = x.std(ddof=1) / np.sqrt(n)
    t = max((low - x.mean()) / error, (x.mean() - high) / error)
    p = float(scipy.special.stdtr(n - 1, t))
    return Equivalence(p, "equivalent" if p < alpha else "inconclusive")


def effect_size(values: ArrayLike, level: float = 0.95) -> EffectSize:
    """d_z = mean / sd of per-prompt values and Hedges' g (bias-corrected), per column.

    With intervals from the noncentral t at that level. NaN where there is no t test. d_z is on the
    scale of the per-prompt contrast, not pingouin's paired `cohen_d`, which divides by the average
    of two standard deviations. Source: Cumming & Finch (2001), doi:10.1177/0013164401614002.

    >>> size = effect_size([1.0, 2.0, 3.0])
    >>> size.d_z, size.low.round(3), size.high.round(3)
    (array([2.]), array([-0.142]), array([4.105]))
    """
    x = _columns(values)
    n = len(x)
    t, df, _ = t_test(x)
    d, low, high = t / np.sqrt(n), np.empty(len(t)), np.empty(len(t))
    for i, value in enumerate(t):
        low[i], high[i] = noncentrality_interval(value, df, level)
    low, high = low / np.sqrt(n), high / np.sqrt(n)
    correction = np.nan
    if df > 1:
        correction = np.exp(_log_hedges(df))
    return EffectSize(d, low, high, correction * d, correction * low, correction * high)


def _log_hedges(df: int) -> float:
    """Log of the small-sample correction J = Gamma(df/2) / (sqrt(df/2) Gamma((df-1)/2))."""
    return lgamma(df / 2) - 0.5 * log(df / 2) - lgamma((df - 1) / 2)


def noncentral_t_cdf(t: float, df: int, shift: float) -> float:
    """P(T <= t) for the noncentral t with df degrees of freedom and noncentrality `shift`.

    The mean over the law of the estimated error, by quadrature, where the exact routine leaves
    double precision.

    >>> round(noncentral_t_cdf(2.0, 10, 0.0), 4)
    0.9633
    """
    exact = float(scipy.special.nctdtr(df, shift, t))
    if np.isfinite(exact):
        return exact
    nodes, weights = _quadrature()
    error = np.sqrt(scipy.special.chdtri(df, (1 - nodes) / 2) / df)
    return float((weights / 2 * scipy.special.ndtr(t * error - shift)).sum())


@cache
def _quadrature() -> tuple[Array, Array]:
    """Nodes and weights of Gauss and Legendre on [-1, 1]."""
    return np.polynomial.legendre.leggauss(QUADRATURE)


def noncentrality_interval(t: float, df: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of the noncentrality parameter whose t statistic was observed; NaN for NaN.

    Its ends are where the observed t stands at the two tails of the noncentral t.

    >>> low, high = noncentrality_interval(3.0, 9)
    >>> round(low, 3), round(high, 3)
    (0.557, 5.334)
    """
    if not np.isfinite(t):
        return np.nan, np.nan
    tail = (1 - level) / 2
    if abs(t) > HUGE_T:
        low, high = abs(t) * np.sqrt(scipy.special.chdtri(df, [1 - tail, tail]) / df)
    else:
        low, high = _noncentrality(abs(t), df, 1 - tail), _noncentrality(abs(t), df, tail)
    if t < 0:
        low, high = -high, -low
    return float(low), float(high)


def _noncentrality(t: float, df: int, target: float) -> float:
    """The noncentrality under which t, not negative, stands at that point of the distribution."""
    tail = min(target, 1 - target)
    reach = 10.0 + float(scipy.special.stdtrit(df, 1 - tail / 10)) * (1 + t / np.sqrt(df))

    def miss(shift: float) -> float:
        """How far above the target t stands."""
        return noncentral_t_cdf(t, df, shift) - target

    return float(scipy.optimize.brentq(miss, t - reach, t + reach, xtol=1e-10))


def bayes_factor(t: ArrayLike, n: int, scale: float = 0.707) -> Array:
    """JZS Bayes factor BF10 of one-sample t tests of n prompts; NaN stays NaN.

    How much likelier the data are under an effect, with a Cauchy prior of that scale on d_z, than
    under none. Infinite where it leaves double precision (above 1e308).
    Source: Rouder et al. (2009), doi:10.3758/PBR.16.2.225.

    >>> bayes_factor([0.0, 3.0], 20).round(3)
    array([0.232, 6.619])
    """
    values = np.atleast_1d(np.asarray(t, dtype=np.float64))
    found = np.full(len(values), np.nan)
    for i in np.flatnonzero(np.isfinite(values)):
        found[i] = _bayes_factor(float(values[i]), n, scale)
    return found


def _bayes_factor(t: float, n: int, scale: float) -> float:
    """The Bayes factor of one t: an integral over log g, the prior variance of the effect."""
    df = n - 1
    null = -(df + 1) / 2 * np.log1p(t**2 / df)

    def log_integrand(log_g: ArrayLike) -> Array:
        """Log of likelihood times prior at log g, over the likelihood of no effect."""
        g = np.exp(log_g)
        spread = 1 + n * g * scale**2
        likelihood = -0.5 * np.log(spread) - (df + 1) / 2 * np.log1p(t**2 / (spread * df))
        prior = -0.5 * np.log(2 * np.pi) - 0.5 * np.asarray(log_g) - 0.5 / g
        return np.asarray(likelihood + prior - null)

    # scaled by its top, the integral cannot overflow
    top = float(log_integrand(np.linspace(-12, 40, 521)).max())

    def scaled(log_g: float) -> float:
        """The integrand, 1 at its top."""
        return float(np.exp(log_integrand(log_g) - top))

    area = scipy.integrate.quad(scaled, -12, 40, limit=200, points=(0.0, 5.0))[0]
    with np.errstate(over="ignore"):
        return float(np.exp(top + np.log(area)))
