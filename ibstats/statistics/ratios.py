"""Ratios of means over prompts, with intervals: shares of bits, of variance, of the diversity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.kernels import ratios
from ibstats.kernels.crossed import ratio_values
from ibstats.kernels.resampling import STUDENTIZED, resampling_weights
from ibstats.statistics.uncertainty import Resampling, mean_interval, method_of

Array = NDArray[np.float64]


def ratio_interval(tops: xr.DataArray, bottoms: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Mean of `tops` over mean of `bottoms`, over `prompt`, with its interval.

    Both `(..., prompt)`, the bottoms broadcast to the tops. As `mean_interval` gives it:
    `estimate`, `low`, `high`, `degenerate`, `method` over the other dims. Where intervals are
    studentized, ratio and error are computed anew from every resample (symmetric tails); the other
    methods resample the linearised values. NaN where the bottoms average to zero.

    >>> x, y = xr.DataArray([1.0, 3.0], dims="prompt"), xr.DataArray([2.0, 2.0], dims="prompt")
    >>> float(ratio_interval(x, y, Resampling())["estimate"])
    1.0
    """
    tops, bottoms = xr.broadcast(tops, bottoms)
    x, y = tops.transpose("prompt", ...), bottoms.transpose("prompt", *_others(tops))
    columns = []
    for index in np.ndindex(*x.shape[1:]):
        place = (slice(None), *index)
        columns.append([(x.values[place], y.values[place])])
    return _stacked(x, columns, how)


def sum_interval(
    pairs: Sequence[tuple[Array, Array]], how: Resampling, *, less: float = 0.0
) -> xr.Dataset:
    """A sum of ratios of means over the same prompts, less a constant, with its interval.

    Each pair is tops and bottoms `(prompt,)`. See `ratio_interval`.
    """
    like = xr.DataArray(pairs[0][0], dims="prompt")
    found = _stacked(like, [list(pairs)], how)
    for bound in ("estimate", "low", "high"):
        found[bound] = found[bound] - less
    return found


def _others(values: xr.DataArray) -> list[Any]:
    return [dim for dim in values.dims if dim != "prompt"]


def _stacked(
    like: xr.DataArray, columns: Sequence[Sequence[tuple[Array, Array]]], how: Resampling
) -> xr.Dataset:
    """Intervals of columns, in the shape of `like (prompt, ...)` without its prompts."""
    n, shape, dims = like.sizes["prompt"], like.shape[1:], like.dims[1:]
    if method_of(how, n) not in STUDENTIZED:
        linear = np.stack(list(map(_linearised, columns)), axis=1)
        return mean_interval(like.copy(data=linear.reshape(n, *shape)), how)
    found = []
    weights = resampling_weights(n, how.n_resamples, np.random.default_rng(how.seed))
    for column in columns:
        found.append(ratios.ratio_interval(column, how.level, weights))
    coords = {name: c for name, c in like.coords.items() if "prompt" not in c.dims}
    attrs: dict[str, Any] = how.model_dump() | {"method": "symmetric", "n_prompts": n}
    made = xr.Dataset(coords=coords, attrs=attrs)
    for number, name in enumerate(ratios.RatioInterval._fields):
        kind = object if name == "method" else None
        values = np.array([one[number] for one in found], dtype=kind).reshape(shape)
        made[name] = (dims, values)
        if name in ("estimate", "low", "high"):
            made[name].attrs = dict(like.attrs)
    return made


def _linearised(column: Sequence[tuple[Array, Array]]) -> Array:
    total = np.zeros(len(column[0][0]))
    for top, bottom in column:
        total = total + ratio_values(top, bottom)
    return total
