"""Intervals and tests for means of prompts, by resampling prompts as whole units.

The same resampling weights serve every column, so one product `weights x values` gives all
contrasts at once and keeps the pairing of cells inside a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError, unknown
from ibstats.kernels import hall

Array = NDArray[np.float64]
Method = Literal["bca", "percentile", "studentized", "guarded"]

METHODS = ("bca", "percentile", "studentized", "guarded")
STUDENTIZED = ("studentized", "guarded")
"""Methods by means over their standard errors."""
MOST_GUARDED = 500
"""Units up to which the guarded interval is the default: it covers skewed values best."""
FALL_BACK = "hall"
"""What stands in for the studentized bootstrap where ties leave it without a bound."""
MOST_WITHOUT_ERROR = 0.005
"""Share of resamples of one repeated value, in a tail, that leaves no bound at 99 %."""
MAX_EXACT_UNITS = 24
CHUNK = 1 << 22
"""Numbers held at once by a resampling product."""
DRAWS = 1 << 16
"""Draws of units counted at once: they fit a core's cache."""


def default_method(n_units: int) -> Method:
    """Guarded up to 500 units, else BCa, which is cheaper to repeat and as good there.

    >>> default_method(300), default_method(1000)
    ('guarded', 'bca')
    """
    return "guarded" if n_units <= MOST_GUARDED else "bca"


def is_constant(values: ArrayLike) -> NDArray[np.bool_]:
    """Whether a column `(n_units, ...)` holds one value, up to rounding: `(...)`.

    Then it has no sampling variation. False for a column with NaN.

    >>> is_constant([[1.0, 0.1 + 0.2], [2.0, 0.3]])
    array([False,  True])
    """
    x = np.asarray(values, dtype=np.float64)
    spread = x.max(axis=0) - x.min(axis=0)
    return np.asarray(spread <= 1e-12 * np.abs(x).max(axis=0))


def _drawn(
    n_units: int, n_resamples: int, rng: np.random.Generator
) -> Iterator[tuple[slice, Array]]:
    """How often each unit is drawn, for some resamples at a time, which a core's cache holds.

    Which resamples, and `(resample, unit)`, overwritten by the next.
    """
    rows = min(DRAWS // n_units + 1, n_resamples)
    first = n_units * np.arange(rows)[:, None]
    room = np.empty((rows, n_units))
    for start in range(0, n_resamples, rows):
        some = slice(start, min(start + rows, n_resamples))
        times = room[: some.stop - start]
        drawn = rng.integers(0, n_units, times.shape)
        drawn += first[: len(times)]
        times[:] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        yield some, times


def resampling_weights(n_units: int, n_resamples: int, rng: np.random.Generator) -> Array:
    """How often each unit is drawn in each resample, `(n_resamples, n_units)`; rows sum to n_units.

    The draws are those of `rng.integers(0, n_units, (n_resamples, n_units))`, row by row.

    >>> resampling_weights(4, 3, np.random.default_rng(0)).sum(axis=1)
    array([4., 4., 4.])
    """
    weights = np.empty((n_resamples, n_units))
    for some, times in _drawn(n_units, n_resamples, rng):
        weights[some] = times
    return weights


def resampled_means(columns: ArrayLike, n_resamples: int, rng: np.random.Generator) -> Array:
    """Means of columns `(n_units, m)` in resamples of the units: `(n_resamples, m)`.

    Of the resamples that `resampling_weights` has for the same `rng`, without keeping them.

    >>> resampled_means([[1.0, 2.0], [1.0, 4.0]], 3, np.random.default_rng(0))[:, 0]
    array([1., 1., 1.])
    """
    x = np.asarray(columns, dtype=np.float64)
    means = np.empty((n_resamples, x.shape[1]))
    for some, times in _drawn(len(x), n_resamples, rng):
        np.matmul(times, x, out=means[some])
    means /= len(x)
    return means


def bootstrap_mean(
    values: ArrayLike,
    method: Method = "bca",
    n_resamples: int = 10_000,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
) -> tuple[Array, Array]:
    """Bootstrap interval of the mean over units, `(n_units, ...) -> (low, high)`, each `(...)`.

    `method`: `percentile`, `bca` (bias-corrected and accelerated), `studentized` (bootstrap t) or
    `guarded`: each bound is the outermost of the studentized bootstrap, of Hall's transformed t,
    which takes the skewness of the values out, and of t. Few skewed values deceive each of the
    three in studies that another one sees through. A constant column gives [value, value]; a column
    with NaN, or fewer than two units, gives NaN. Where ties leave a studentized bound to resamples
    of one repeated value, which have no standard error, the outer of Hall's and t stands in. Raises
    IbstatsError for another method, a level outside (0, 1), or no `rng`. Source: Efron & Tibshirani
    (1993), An Introduction to the Bootstrap, chapters 12-14; Hall (1992),
    doi:10.1111/j.2517-6161.1992.tb01872.x (the transformation).

    >>> low, high = bootstrap_mean([1.0, 2.0, 4.0, 5.0], rng=np.random.default_rng(0))
    >>> float(low), float(high)
    (1.5, 4.5)
    """
    if rng is None:
        raise IbstatsError("bootstrap_mean needs rng, for instance numpy.random.default_rng(seed)")
    x = np.asarray(values, dtype=np.float64)
    shape = x.shape[1:]
    if len(x) < 2:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    low, high = MeanBootstrap(x.reshape(len(x), -1), method, n_resamples, rng).interval(level)
    return low.reshape(shape), high.reshape(shape)


class MeanBootstrap:
    """Resampled means of columns `(n_units, m)`: intervals and p values from one distribution.

    An interval excludes a value exactly if the p value of the mean being that value is below 1 -
    level, so the two cannot disagree; a guarded p is the largest of its three. Beyond what that
    many resamples can tell, a studentized p is that of the t law. Needs two units or more; raises
    IbstatsError for an unknown method. Parameters as of `bootstrap_mean`.

    >>> means = MeanBootstrap([[0.5], [1.0], [2.0], [2.5]], "bca", 999, np.random.default_rng(0))
    >>> low, high = means.interval(0.95)
    >>> bool(low[0] > 0), bool(means.p()[0] < 0.05)
    (True, True)
    """

    def __init__(
        self, values: ArrayLike, method: Method, n_resamples: int, rng: np.random.Generator
    ) -> None:
        if method not in METHODS:
            raise unknown("interval method", method, METHODS)
        x = np.asarray(values, dtype=np.float64)
        self.n = len(x)
        self.method = method
        self.estimate = x.mean(axis=0)
        self.first = x[0]
        self.constant = is_constant(x)
        self.centred = x - self.estimate
        self.error = self.centred.std(axis=0, ddof=1) / np.sqrt(self.n)
        self.fallen = np.zeros(len(self.estimate), dtype=bool)
        moments = [self.centred]
        if method in STUDENTIZED:
            moments.append(self.centred**2)
        drawn = resampled_means(np.hstack(moments), n_resamples, rng)
        self.means = drawn[:, : len(self.estimate)]
        if method in STUDENTIZED:
            self.lean = _skewness(self.centred) / np.sqrt(self.n)
            self.ratio = self._ratio(drawn[:, len(self.estimate) :])
            infinite = [(self.ratio == sign * np.inf).mean(axis=0) for sign in (-1, 1)]
            self.fallen = np.maximum(*infinite) >= MOST_WITHOUT_ERROR
        else:
            self.ordered = np.sort(self.means.T, axis=1)
        if method == "bca":
            self.bias, self.acceleration = self._corrections()

    @property
    def methods(self) -> NDArray[np.object_]:
        """The method behind each column: its own, or the fall-back."""
        return np.where(self.fallen & ~self.constant, FALL_BACK, self.method).astype(object)

    def interval(self, level: float) -> tuple[Array, Array]:
        """Lowest and highest mean of each column at that level, `(m,)` each.

        Raises IbstatsError for a level outside (0, 1).
        """
        if not 0 < level < 1:
            raise IbstatsError(f"level is {level}, but must lie between 0 and 1")
        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = self._bounds(tails)
        if self.method == "guarded" or self.fallen.any():
            outer = self._outer(float(scipy.special.stdtrit(self.n - 1, tails[1])))
            low = np.where(self.fallen, outer[0], low)
            high = np.where(self.fallen, outer[1], high)
            if self.method == "guarded":
                low, high = np.minimum(low, outer[0]), np.maximum(high, outer[1])
        low = np.where(self.constant, self.first, self.estimate + low)
        high = np.where(self.constant, self.first, self.estimate + high)
        return low, high

    def p(self, value: float = 0.0) -> Array:
        """Two-sided p of the mean being that value, `(m,)`; NaN for constant columns and NaN."""
        smaller = np.minimum(self.p_above(value), self.p_below(value))
        return np.asarray(np.minimum(1.0, 2 * smaller))

    def p_above(self, value: float) -> Array:
        """One-sided p against the mean being `value` or less: small where it lies above."""
        return self._p(value, upper=True)

    def p_below(self, value: float) -> Array:
        """One-sided p against the mean being `value` or more: small where it lies below."""
        return self._p(value, upper=False)

    def _p(self, value: float, *, upper: bool) -> Array:
        """The tail at which the bound of an interval stands at the value."""
        offset = value - self.estimate
        sign = 2 * int(upper) - 1
        least = 0.5 / len(self.means)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.method in STUDENTIZED:
                t = -offset / self.error
                by_t = scipy.special.stdtr(self.n - 1, -sign * t)
                beyond = (sign * self.ratio < sign * t).sum(axis=0)
                found = 1 - (beyond - 0.5) / (len(self.ratio) - 1)
                # further out than any resample, the t law says how far
                found = np.where(found <= least, np.minimum(by_t, least), found)
                by_hall = scipy.special.stdtr(self.n - 1, -sign * hall.transformed(t, self.lean))
                outer = np.maximum(by_t, by_hall)
                found = np.where(self.fallen, outer, found)
                if self.method == "guarded":
                    found = np.maximum(found, outer)
            else:
                share = self._share_below(offset)
                found = np.maximum(np.where(upper, share, 1 - share), least)
        found = np.minimum(found, 1.0)
        return np.where(self.constant | np.isnan(self.estimate), np.nan, found)

    def _outer(self, t: float) -> tuple[Array, Array]:
        """The outer bounds of t and of Hall's transformed t, relative to the mean, at a quantile."""
        low = np.minimum(-t, -hall.untransformed(t, self.lean)) * self.error
        high = np.maximum(t, -hall.untransformed(-t, self.lean)) * self.error
        return low, high

    def _bounds(self, tails: Array) -> tuple[Array, Array]:
        """Bounds relative to the mean, at two tails."""
        if self.method in STUDENTIZED:
            lowest, highest = np.quantile(self.ratio, tails, axis=0, method="nearest")
            low = np.where(np.isfinite(highest), -highest * self.error, np.nan)
            high = np.where(np.isfinite(lowest), -lowest * self.error, np.nan)
            return low, high
        share = np.broadcast_to(tails[:, None], (2, len(self.ordered)))
        if self.method == "bca":
            shifted = self.bias + scipy.special.ndtri(tails)[:, None]
            share = scipy.special.ndtr(self.bias + shifted / (1 - self.acceleration * shifted))
        return self._quantile(share[0]), self._quantile(share[1])

    def _quantile(self, share: Array) -> Array:
        """The mean below which that share of each column's resamples lies, by linear interpolation."""
        place = share * (self.ordered.shape[1] - 1)
        known = np.isfinite(place)
        below = np.floor(np.where(known, place, 0.0)).astype(np.int64)
        above = np.minimum(below + 1, self.ordered.shape[1] - 1)
        column = np.arange(len(self.ordered))
        low, high = self.ordered[column, below], self.ordered[column, above]
        return np.asarray(np.where(known, low + (high - low) * (place - below), np.nan))

    def _share_below(self, offset: Array) -> Array:
        """The tail at which the bound of a percentile or BCa interval stands at the offset."""
        share = np.full(len(offset), np.nan)
        grid = np.linspace(0, 1, len(self.means))
        for column in np.flatnonzero(np.isfinite(offset)):
            share[column] = np.interp(offset[column], self.ordered[column], grid)
        if self.method == "percentile":
            return share
        beyond = scipy.special.ndtri(share) - self.bias
        shifted = beyond / (1 + self.acceleration * beyond)
        # where nothing, or all, lies below, the tail is an end of the law
        shifted = np.where(np.isinf(beyond), beyond, shifted)
        return np.asarray(scipy.special.ndtr(shifted - self.bias))

    def _ratio(self, second: Array) -> Array:
        """Means of the resamples over their standard errors; `second` are their mean squares.

        A resample of one repeated value has no standard error and counts as infinitely far out.
        """
        variance = np.where(second - self.means**2 > 1e-12 * second, second - self.means**2, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = self.means / np.sqrt(variance / (self.n - 1))
        ratio[np.isnan(ratio) & ~np.isnan(self.means)] = 0.0
        return np.asarray(ratio)

    def _corrections(self) -> tuple[Array, Array]:
        """Bias and acceleration of BCa."""
        n_below = np.empty(len(self.ordered))
        for column, values in enumerate(self.ordered):
            n_below[column] = np.searchsorted(values, 0.0) + np.searchsorted(values, 0.0, "right")
        below = np.where(np.isnan(self.ordered[:, 0]), 0.0, n_below / (2 * len(self.means)))
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = 6 * (self.centred**2).sum(axis=0) ** 1.5
            acceleration = (self.centred**3).sum(axis=0) / spread
            return np.asarray(scipy.special.ndtri(below)), np.asarray(acceleration)


def _skewness(centred: Array) -> Array:
    """Skewness of columns of mean 0, `(m,)`; NaN without variation."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((centred**3).mean(axis=0) / (centred**2).mean(axis=0) ** 1.5)


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
