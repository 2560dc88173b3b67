"""Intervals and tests for means of prompts, by resampling prompts as whole units.

The same resampling weights serve every column, so one product `weights x values` gives all
contrasts at once and keeps the pairing of cells inside a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError, unknown

Array = NDArray[np.float64]
Method = Literal["bca", "percentile", "studentized"]

METHODS = ("bca", "percentile", "studentized")
STUDENTIZED_BELOW = 50
"""Units below which the studentized interval is the default (theory: simulated coverage)."""
MAX_EXACT_UNITS = 24
CHUNK = 1 << 22
"""Numbers held at once by a resampling product."""
DRAWS = 1 << 16
"""Draws of units counted at once: they fit a core's cache."""


def default_method(n_units: int) -> Method:
    """Studentized below 50 units, else BCa.

    >>> default_method(12), default_method(300)
    ('studentized', 'bca')
    """
    if n_units < STUDENTIZED_BELOW:
        return "studentized"
    return "bca"


def is_constant(values: ArrayLike) -> NDArray[np.bool_]:
    """Whether a column `(n_units, ...)` holds one value, up to rounding: `(...)`.

    Then it has no sampling variation. False for a column with NaN.

    >>> is_constant([[1.0, 0.1 + 0.2], [2.0, 0.3]])
    array([False,  True])
    """
    x = np.asarray(values, dtype=np.float64)
    spread = x.max(axis=0) - x.min(axis=0)
    return np.asarray(spread <= 1e-12 * np.abs(x).max(axis=0))


def resampling_weights(n_units: int, n_resamples: int, rng: np.random.Generator) -> Array:
    """How often each unit is drawn in each resample, `(n_resamples, n_units)`; rows sum to n_units.

    The draws are those of `rng.integers(0, n_units, (n_resamples, n_units))`, row by row.

    >>> resampling_weights(4, 3, np.random.default_rng(0)).sum(axis=1)
    array([4., 4., 4.])
    """
    weights = np.empty((n_resamples, n_units))
    rows = DRAWS // n_units + 1
    for part in np.split(weights, range(rows, n_resamples, rows)):
        drawn = rng.integers(0, n_units, part.shape)
        drawn += n_units * np.arange(len(part))[:, None]
        part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
    return weights


def bootstrap_mean(
    values: ArrayLike,
    method: Method = "bca",
    n_resamples: int = 10_000,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
) -> tuple[Array, Array]:
    """Bootstrap interval of the mean over units, `(n_units, ...) -> (low, high)`, each `(...)`.

    `method`: `percentile`, `bca` (bias-corrected and accelerated) or `studentized` (bootstrap t). A
    constant column gives [value, value]; a column with NaN, or fewer than two units, gives NaN; so
    does a studentized bound that rests on resamples of one repeated unit (very few units).
    Raises IbstatsError for another method, a level outside (0, 1), or no `rng`.
    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapters 12-14.

    >>> low, high = bootstrap_mean([1.0, 2.0, 4.0, 5.0], rng=np.random.default_rng(0))
    >>> float(low), float(high)
    (1.5, 4.5)
    """
    if method not in METHODS:
        raise unknown("interval method", method, METHODS)
    if rng is None:
        raise IbstatsError("bootstrap_mean needs rng, for instance numpy.random.default_rng(seed)")
    if not 0 < level < 1:
        raise IbstatsError(f"level is {level}, but must lie between 0 and 1")
    x = np.asarray(values, dtype=np.float64)
    n, shape = x.shape[0], x.shape[1:]
    columns = x.reshape(n, -1)
    if n < 2:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    estimate = columns.mean(axis=0)
    weights = resampling_weights(n, n_resamples, rng)
    below, above = _bounds(columns - estimate, weights, method, level)
    constant = is_constant(columns)
    low = np.where(constant, columns[0], estimate + below)
    high = np.where(constant, columns[0], estimate + above)
    return low.reshape(shape), high.reshape(shape)


def _bounds(centred: Array, weights: Array, method: str, level: float) -> tuple[Array, Array]:
    """Bounds relative to the mean, of columns that are centred on it."""
    n = len(centred)
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    means = weights @ centred / n
    with np.errstate(divide="ignore", invalid="ignore"):
        if method == "percentile":
            low, high = np.quantile(means, tails, axis=0)
            return low, high
        if method == "studentized":
            return _studentized(centred, weights, means, tails)
        below = 0.5 * ((means < 0).mean(axis=0) + (means <= 0).mean(axis=0))
        bias = scipy.special.ndtri(below)
        acceleration = (centred**3).sum(axis=0) / (6 * (centred**2).sum(axis=0) ** 1.5)
        shifted = bias + scipy.special.ndtri(tails)[:, None]
        share = scipy.special.ndtr(bias + shifted / (1 - acceleration * shifted))
    bounds = np.full(share.shape, np.nan)
    for column in np.flatnonzero(np.isfinite(share).all(axis=0)):
        bounds[:, column] = np.quantile(means[:, column], share[:, column])
    return bounds[0], bounds[1]


def _studentized(centred: Array, weights: Array, means: Array, tails: Array) -> tuple[Array, Array]:
    """Bootstrap t bounds relative to the mean.

    A resample of one repeated unit has no standard error and counts as infinitely far out.
    """
    n = len(centred)
    second = weights @ centred**2 / n
    variance = np.where(second - means**2 > 1e-12 * second, second - means**2, 0.0)
    ratio = means / np.sqrt(variance / (n - 1))
    ratio[np.isnan(ratio) & ~np.isnan(means)] = 0.0
    lowest, highest = np.quantile(ratio, tails, axis=0, method="nearest")
    error = centred.std(axis=0, ddof=1) / np.sqrt(n)
    low = np.where(np.isfinite(highest), -highest * error, np.nan)
    high = np.where(np.isfinite(lowest), -lowest * error, np.nan)
    return low, high


def sign_flip(
    values: ArrayLike,
    n_permutations: int | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[Array, Array]:
    """Sign-flip test of mean zero per column of `(n_units, m)`: p, and p by max-T, `(m,)` each.

    Two-sided. `n_permutations=None` enumerates all sign patterns (up to 24 units); otherwise that
    many random ones, and the observed one is counted in. Columns without variation around zero, or
    with NaN, give NaN and are left out of the family. Exact under symmetry of the unit's values
    around zero. The statistic `|sum| / sqrt(sum of squares)` is a fixed increasing function of
    |t|, so max-T over it is max-|t|. Raises IbstatsError for values without two axes, for more
    units than can be enumerated, and for random patterns without `rng`. Source: Westfall & Young
    (1993); Winkler et al. (2014), doi:10.1016/j.neuroimage.2014.01.060.

    >>> p, adjusted = sign_flip([[1.0], [2.0], [3.0], [4.0]])
    >>> p
    array([0.125])
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2:
        raise IbstatsError(f"values have {x.ndim} axes, but need two: (n_units, columns)")
    if n_permutations is None and len(x) > MAX_EXACT_UNITS:
        raise IbstatsError(
            f"exact enumeration stops at {MAX_EXACT_UNITS} units, here {len(x)}; "
            "give n_permutations and rng"
        )
    if n_permutations is not None and rng is None:
        raise IbstatsError(
            "a Monte Carlo sign-flip test needs rng, for instance numpy.random.default_rng(seed)"
        )
    p = np.full((2, x.shape[1]), np.nan)
    size = np.sqrt((x**2).sum(axis=0))
    tested = np.flatnonzero((size > 0) & np.isfinite(size))
    if len(tested) == 0 or len(x) < 2:
        return p[0], p[1]
    scaled = x[:, tested] / size[tested]
    observed = np.abs(scaled.sum(axis=0)) - 1e-10
    single = np.zeros(len(tested))
    family = np.zeros(len(tested))
    total = 0
    for signs in _sign_patterns(len(x), n_permutations, rng):
        statistic = np.abs(signs @ scaled)
        single += (statistic >= observed).sum(axis=0)
        family += (statistic.max(axis=1)[:, None] >= observed).sum(axis=0)
        total += len(signs)
    extra = int(n_permutations is not None)
    p[0, tested] = (single + extra) / (total + extra)
    p[1, tested] = (family + extra) / (total + extra)
    return p[0], p[1]


def _sign_patterns(
    n: int, n_permutations: int | None, rng: np.random.Generator | None
) -> Iterator[Array]:
    """Chunks of +-1 rows: all patterns with the first sign fixed (two-sided), or random ones."""
    total = n_permutations
    if total is None:
        total = 2 ** (n - 1)
    rows = max(1, CHUNK // n)
    for start in range(0, total, rows):
        count = min(rows, total - start)
        if rng is None or n_permutations is None:
            bits = (np.arange(start, start + count)[:, None] >> np.arange(n)) & 1
        else:
            bits = rng.integers(0, 2, (count, n))
        yield (2 * bits - 1).astype(np.float64)
