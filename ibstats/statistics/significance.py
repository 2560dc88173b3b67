"""Tests of means over prompts: does an effect differ from zero, and is it small enough to be called none?

Values are arrays `(n_prompts, m)`, one column per effect; a column without variation (degenerate) is not tested and
gives NaN. The formulas are those of SciPy and pingouin, which serve as oracles in the tests.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError, unknown
from ibstats.kernels.resampling import MAX_EXACT_UNITS, is_constant, sign_flip

Array = NDArray[np.float64]

ADJUSTMENTS = ("holm", "bh")
MAX_EXACT_RANKS = 50


class TTest(NamedTuple):
    """One-sample t test of mean zero per column; F(1, n-1) of the repeated-measures ANOVA is t squared."""

    t: Array
    df: int
    p: Array


class EffectSize(NamedTuple):
    """Standardised mean per column, with its interval."""

    d_z: Array
    low: Array
    high: Array
    hedges_g: Array
    g_low: Array
    g_high: Array


class Equivalence(NamedTuple):
    """Outcome of two one-sided tests."""

    p: float
    verdict: str
    """equivalent, inconclusive, or degenerate (no variation, so no test)."""


def _columns(values: ArrayLike) -> Array:
    x = np.asarray(values, dtype=np.float64)
    return x[:, None] if x.ndim == 1 else x


def t_test(values: ArrayLike) -> TTest:
    """Two-sided t test of mean zero; NaN for constant columns and fewer than two prompts."""
    x = _columns(values)
    n = len(x)
    if n < 2:
        return TTest(np.full(x.shape[1], np.nan), n - 1, np.full(x.shape[1], np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(is_constant(x), np.nan, x.mean(axis=0) / (x.std(axis=0, ddof=1) / np.sqrt(n)))
    return TTest(t, n - 1, 2 * scipy.special.stdtr(n - 1, -np.abs(t)))


def wilcoxon(values: ArrayLike) -> Array:
    """Two-sided Wilcoxon signed-rank p per column, zeros dropped; exact up to 50 prompts, with ties too.

    Values that differ by rounding alone, as differences of shares do, are ties, and zero if they are nothing else.
    """
    from scipy import stats

    x = _columns(values)
    p = np.full(x.shape[1], np.nan)
    for column in np.flatnonzero(~is_constant(x) & np.isfinite(x).all(axis=0)):
        whole = np.round(1e12 * (x[:, column] / np.abs(x[:, column]).max()))
        nonzero = whole[whole != 0]
        exact = len(nonzero) <= MAX_EXACT_RANKS
        p[column] = (
            _signed_rank_p(nonzero)
            if exact
            else stats.wilcoxon(nonzero, method="asymptotic").pvalue
        )
    return p


def _signed_rank_p(x: Array) -> float:
    """Exact two-sided p of the signed ranks, given the ties: the law of the sum of positive ranks, rank by rank.

    The normal approximation is too small with few: five ties of one sign have p = 1/16, it says .025.
    Source: Streitberg & Roehmel (1986), Statistical Software Newsletter 12, 10-17 (the shift algorithm).
    """
    from scipy import stats

    twice = np.round(2 * stats.rankdata(np.abs(x))).astype(np.int64)
    chance = np.zeros(twice.sum() + 1)
    chance[0] = 1.0
    for rank in twice:
        shifted = np.concatenate([np.zeros(rank), chance[:-rank]])
        chance = (chance + shifted) / 2
    found = twice[x > 0].sum()
    return float(min(1.0, 2 * min(chance[: found + 1].sum(), chance[found:].sum())))


def sign_flip_p(values: ArrayLike, *, n_permutations: int, seed: int) -> tuple[Array, Array]:
    """Sign-flip p and its max-T adjusted p per column: exact where that is no more work, else Monte Carlo."""
    x = _columns(values)
    exact = len(x) <= MAX_EXACT_UNITS and 2 ** (len(x) - 1) <= n_permutations
    return sign_flip(x) if exact else sign_flip(x, n_permutations, np.random.default_rng(seed))


def adjust(p: ArrayLike, method: str = "holm") -> Array:
    """Adjusted p values: `holm` (family-wise) or `bh` (false discovery rate). NaN stays NaN, outside the family."""
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
    """Number of tests that were possible: what an adjustment counted."""
    return int(np.isfinite(np.asarray(p, dtype=np.float64)).sum())


def equivalence(values: ArrayLike, low: float, high: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided t tests that the mean of `(n_prompts,)` lies inside the margin (low, high), declared beforehand.

    Source: Schuirmann (1987), doi:10.1007/BF01068419. The p value is the larger of the two.
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
    """d_z = mean / sd of the per-prompt values and Hedges' g (bias-corrected), with intervals from the noncentral t.

    Source: Cumming & Finch (2001), doi:10.1177/0013164401614002. Note that d_z is on the scale of the per-prompt
    contrast, not pingouin's paired `cohen_d`, which divides by the average of two standard deviations.
    """
    x = _columns(values)
    n = len(x)
    t, df, _ = t_test(x)
    d = t / np.sqrt(n)
    bounds = np.array([noncentrality_interval(value, df, level) for value in t]) / np.sqrt(n)
    correction = np.exp(_log_hedges(df)) if df > 1 else np.nan
    return EffectSize(
        d, bounds[:, 0], bounds[:, 1], *(correction * b for b in (d, bounds[:, 0], bounds[:, 1]))
    )


def _log_hedges(df: int) -> float:
    """Log of the small-sample correction J(df) = Gamma(df/2) / (sqrt(df/2) Gamma((df-1)/2))."""
    from math import lgamma, log

    return lgamma(df / 2) - 0.5 * log(df / 2) - lgamma((df - 1) / 2)


def noncentral_t_cdf(t: float, df: int, shift: float) -> float:
    """P(T <= t) for the noncentral t; the normal approximation where the exact routine leaves double precision.

    Approximation: Abramowitz & Stegun (1972), 26.7.10.
    """
    exact = float(scipy.special.nctdtr(df, shift, t))
    if np.isfinite(exact):
        return exact
    return float(
        scipy.special.ndtr((t * (1 - 1 / (4 * df)) - shift) / np.sqrt(1 + t**2 / (2 * df)))
    )


def noncentrality_interval(t: float, df: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of the noncentrality parameter whose t statistic was observed."""
    from scipy.optimize import brentq

    if not np.isfinite(t):
        return np.nan, np.nan
    tail = (1 - level) / 2
    if (
        abs(t) > 1e4
    ):  # a unit normal is nothing beside it: t is the noncentrality over a chi, to a share of df / t^2
        low, high = abs(t) * np.sqrt(scipy.special.chdtri(df, [1 - tail, tail]) / df)
        return (low, high) if t >= 0 else (-high, -low)
    reach = 10.0 + float(scipy.special.stdtrit(df, 1 - tail / 10)) * (1 + abs(t) / np.sqrt(df))

    def bound(target: float) -> float:
        return float(
            brentq(
                lambda nc: noncentral_t_cdf(abs(t), df, nc) - target,
                abs(t) - reach,
                abs(t) + reach,
                xtol=1e-10,
            )
        )

    low, high = bound(1 - tail), bound(tail)
    return (low, high) if t >= 0 else (-high, -low)


def bayes_factor(t: ArrayLike, n: int, scale: float = 0.707) -> Array:
    """JZS Bayes factor BF10 of a one-sample t test, Cauchy prior of that scale on d_z; NaN stays NaN.

    Infinite where it leaves double precision (above 1e308).
    Source: Rouder et al. (2009), doi:10.3758/PBR.16.2.225.
    """
    from scipy.integrate import quad

    df = n - 1

    def one(value: float) -> float:
        """The Bayes factor of one t."""
        if not np.isfinite(value):
            return np.nan
        null = -(df + 1) / 2 * np.log1p(value**2 / df)

        def log_integrand(log_g: ArrayLike) -> Array:
            g = np.exp(log_g)
            spread = 1 + n * g * scale**2
            return np.asarray(
                -0.5 * np.log(spread)
                - (df + 1) / 2 * np.log1p(value**2 / (spread * df))
                - 0.5 * np.log(2 * np.pi)
                - 0.5 * np.asarray(log_g)
                - 0.5 / g
                - null
            )

        top = float(
            log_integrand(np.linspace(-12, 40, 521)).max()
        )  # scaled by it, the integral cannot overflow
        area = quad(
            lambda log_g: float(np.exp(log_integrand(log_g) - top)),
            -12,
            40,
            limit=200,
            points=(0.0, 5.0),
        )[0]
        with np.errstate(over="ignore"):
            return float(np.exp(top + np.log(area)))

    return np.array([one(float(value)) for value in np.atleast_1d(np.asarray(t, dtype=np.float64))])
