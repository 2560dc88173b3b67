"""Intervals of ratios of means, by resampling units as wholes.

The linearised values of a ratio (`ibstats.kernels.crossed.ratio_values`) give its standard error.
Resampled as if they were data, they cover .80-.83 at 12 units whose scales are lognormal(0, 1): the
ratio that they lean on is that of the sample itself. So here the ratio and its error are computed
anew from every resample, which covers .93-.96 there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from ibstats.kernels.crossed import ratio_values
from ibstats.kernels.resampling import MOST_WITHOUT_ERROR, is_constant

Array = NDArray[np.float64]
Ratio = tuple[Array, Array]
"""Tops and bottoms `(n_units,)` of a ratio of means."""

FALL_BACK = "t"
"""What stands in where too many resamples have no error."""

NO_ERROR = 1e-12
"""Share of the largest squared value below which a resample's variance is rounding."""


class RatioInterval(NamedTuple):
    """A sum of ratios of means, with its interval, and how that was made.

    `degenerate` where no unit differs: the interval is the estimate.
    """

    estimate: float
    low: float
    high: float
    degenerate: bool
    method: str


def ratio_interval(ratios: Sequence[Ratio], level: float, weights: Array) -> RatioInterval:
    """Symmetric studentized interval of the sum of some ratios of means over the same units.

    `weights (n_resamples, n_units)` are how often each unit is drawn, see `resampling_weights`. Two
    units or more; NaN where the bottom of a ratio averages to zero. The t interval stands in
    where ties, or bottoms of zero, leave too many resamples without an error. Source: Hall (1988),
    doi:10.1214/aos/1176350933; linearisation, Cochran (1977), section 6.4.

    >>> x = np.array([1.0, 2.0, 3.0, 5.0, 4.0, 6.0, 2.0, 5.0])
    >>> y = np.array([2.0, 2.0, 4.0, 4.0, 5.0, 5.0, 3.0, 6.0])
    >>> from ibstats.kernels.resampling import resampling_weights
    >>> weights = resampling_weights(8, 999, np.random.default_rng(0))
    >>> found = ratio_interval([(x, y)], 0.95, weights)
    >>> round(found.estimate, 3), bool(found.low < 0.9 < found.high), found.method
    (0.903, True, 'symmetric')
    """
    values = np.zeros(len(ratios[0][0]))
    for top, bottom in ratios:
        values = values + ratio_values(top, bottom)
    estimate, n = float(values.mean()), len(values)
    if np.isnan(estimate):
        return RatioInterval(np.nan, np.nan, np.nan, False, "symmetric")
    if is_constant(values):
        first = float(values[0])
        return RatioInterval(first, first, first, True, "symmetric")
    error = float(values.std(ddof=1)) / np.sqrt(n)
    t = _studentized(ratios, estimate, weights)
    if (~np.isfinite(t)).mean() >= MOST_WITHOUT_ERROR:
        reach = float(scipy.special.stdtrit(n - 1, (1 + level) / 2)) * error
        return RatioInterval(estimate, estimate - reach, estimate + reach, False, FALL_BACK)
    reach = float(np.quantile(t, level, method="nearest")) * error
    return RatioInterval(estimate, estimate - reach, estimate + reach, False, "symmetric")


def _studentized(ratios: Sequence[Ratio], estimate: float, weights: Array) -> Array:
    """How far each resample's sum of ratios lies from the estimate, in its own standard errors.

    Infinite where a resample has no error, or a bottom of zero.
    """
    n = weights.shape[1]
    total = np.zeros(len(weights))
    influence = np.zeros(weights.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        for top, bottom in ratios:
            mean = weights @ bottom / n
            ratio = weights @ top / n / mean
            total += ratio
            influence += (top - ratio[:, None] * bottom) / mean[:, None]
        variance = (weights * influence**2).sum(axis=1) / n
        largest = (influence**2).max(axis=1)
        variance = np.where(variance > NO_ERROR * largest, variance, 0.0)
        t = np.abs(total - estimate) / np.sqrt(variance / (n - 1))
    return np.where(np.isnan(t), np.inf, t)
