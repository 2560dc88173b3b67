"""Intervals of means over prompts: the unit. Every quantity sees the same resamples."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ibstats.errors import IbstatsError
from ibstats.kernels import resampling
from ibstats.statistics import significance
from schemas.analysis import Resampling

__all__ = [
    "Resampling",
    "bootstrap",
    "equivalence",
    "mean_interval",
    "mean_p",
    "method_of",
    "unlike_share",
]

AGREEMENT = "agreement"
"""Method of an interval of values that are all alike by chance."""


def method_of(how: Resampling, n_prompts: int) -> resampling.Method:
    """The interval method used with that many prompts: `auto` leaves the choice to the number.

    >>> method_of(Resampling(), n_prompts=20)
    'guarded'
    """
    if how.method == "auto":
        return resampling.default_method(n_prompts)
    return how.method


def bootstrap(values: ArrayLike, how: Resampling) -> resampling.MeanBootstrap:
    """Resampled means of columns `(n_prompts, m)`: one distribution for interval, p, equivalence.

    Every call with as many prompts sees the same resamples. Raises IbstatsError for one prompt.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n < 2:
        raise IbstatsError(
            f"{n} prompt is not enough for an interval over prompts; "
            "analyse a store with two or more"
        )
    method = method_of(how, n)
    return resampling.MeanBootstrap(x, method, how.n_resamples, np.random.default_rng(how.seed))


def mean_interval(
    values: xr.DataArray,
    how: Resampling,
    chance: tuple[float, float] | None = None,
) -> xr.Dataset:
    """Mean over `prompt` with its interval: `estimate`, `low`, `high`, `degenerate`, `method`.

    Over the other dims of `values`, in its unit. Identical values (argmax of a model without path
    noise) have no sampling variation: the interval is the value itself, marked `degenerate`. Where
    the values of a quantity are so few that prompts agree by `chance`, give the least and the most
    they can be: identical values then have the interval that they leave to the mean if up to
    `unlike_share` of all prompts differ. `method` is that of each interval: `hall` where ties leave
    the bootstrap without a bound, `agreement` for identical values by chance. Level, resamples, seed and n stand in the
    attributes. Raises IbstatsError for one prompt; NaN among the values of a column leaves it NaN.

    >>> found = mean_interval(xr.DataArray([1.0, 2.0, 3.0, 6.0], dims="prompt"), Resampling())
    >>> float(found["estimate"]), bool(found["low"] < 3 < found["high"]), found.attrs["method"]
    (3.0, True, 'guarded')
    """
    x = values.transpose("prompt", ...)
    n, dims, shape = x.sizes["prompt"], x.dims[1:], x.shape[1:]
    means = bootstrap(x.values.reshape(n, -1), how)
    low, high = means.interval(how.level)
    degenerate, methods = means.constant, means.methods
    if chance is not None:
        room = unlike_share(n, how.level)
        least, most = chance
        low = np.where(degenerate, means.first - room * (means.first - least), low)
        high = np.where(degenerate, means.first + room * (most - means.first), high)
        methods = np.where(degenerate, AGREEMENT, methods).astype(object)
        degenerate = np.zeros_like(degenerate)
    coords = {name: c for name, c in x.coords.items() if "prompt" not in c.dims}
    attrs: dict[str, Any] = how.model_dump() | {"method": means.method, "n_prompts": n}
    variables = {
        "estimate": (dims, means.estimate.reshape(shape), values.attrs),
        "low": (dims, low.reshape(shape), values.attrs),
        "high": (dims, high.reshape(shape), values.attrs),
        "degenerate": (dims, degenerate.reshape(shape)),
        "method": (dims, methods.reshape(shape)),
    }
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def unlike_share(n_prompts: int, level: float = 0.95) -> float:
    """Largest share of prompts that may differ when that many drawn ones are all alike.

    The exact one-sided bound: with a larger share, alike prompts would be rarer than 1 - level.
    Source: Clopper & Pearson (1934), doi:10.1093/biomet/26.4.404.

    >>> round(unlike_share(6), 3)
    0.393
    """
    return float(1 - (1 - level) ** (1 / n_prompts))


def mean_p(values: xr.DataArray, how: Resampling) -> xr.DataArray:
    """Two-sided p of the mean difference over `prompt` being 0, over the other dims.

    Below 1 - level exactly where the interval of `mean_interval` at that level
    leaves 0 out. NaN without variation.

    >>> p = mean_p(xr.DataArray(np.arange(1.0, 9.0), dims="prompt"), Resampling())
    >>> bool(p < 0.05)
    True
    """
    x = values.transpose("prompt", ...)
    p = bootstrap(x.values.reshape(x.sizes["prompt"], -1), how).p()
    coords = {name: c for name, c in x.coords.items() if "prompt" not in c.dims}
    return xr.DataArray(p.reshape(x.shape[1:]), coords, x.dims[1:])


def equivalence(
    values: ArrayLike, margin: float, how: Resampling, alpha: float = 0.05
) -> significance.Equivalence:
    """Whether a mean difference `(n_prompts,)` lies within +-margin, by its 1 - 2 alpha interval.

    `p` is the larger of the two one-sided ones, below alpha exactly where that interval lies inside
    the margin. Degenerate without variation. Raises IbstatsError for a margin that is not above 0.

    >>> equivalence([0.1, -0.1, 0.0, 0.1, -0.1], 0.5, Resampling(n_resamples=999)).verdict
    'equivalent'
    """
    if not margin > 0:
        raise IbstatsError(f"the equivalence margin is {margin}, but must be above 0")
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2 or bool(resampling.is_constant(x)):
        return significance.Equivalence(np.nan, "degenerate")
    means = bootstrap(x[:, None], how)
    p = float(max(means.p_above(-margin)[0], means.p_below(margin)[0]))
    return significance.Equivalence(p, "equivalent" if p < alpha else "inconclusive")
