"""Intervals of means over prompts: the unit. Every quantity sees the same resamples."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ibstats.errors import IbstatsError
from ibstats.kernels import resampling
from schemas.analysis import Resampling

__all__ = ["Resampling", "mean_interval", "method_of"]


def method_of(how: Resampling, n_prompts: int) -> resampling.Method:
    """The interval method used with that many prompts: `auto` leaves the choice to the number."""
    return resampling.default_method(n_prompts) if how.method == "auto" else how.method


def mean_interval(values: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Mean over `prompt` with its interval: `estimate`, `low`, `high`, `degenerate`.

    Over the other dims of `values`, in its unit. Identical values (argmax of a model without path
    noise) have no sampling variation: the interval is the value itself, marked `degenerate`. The
    method, level, resamples, seed and n stand in the attributes. Raises IbstatsError for one
    prompt; NaN among the values of a column leaves it NaN.

    >>> found = mean_interval(xr.DataArray([1.0, 2.0, 3.0, 6.0], dims="prompt"), Resampling())
    >>> float(found["estimate"]), bool(found["low"] < 3 < found["high"]), found.attrs["method"]
    (3.0, True, 'studentized')
    """
    x = values.transpose("prompt", ...)
    n = x.sizes["prompt"]
    if n < 2:
        raise IbstatsError(
            f"{n} prompt is not enough for an interval over prompts; "
            "analyse a store with two or more"
        )
    method = method_of(how, n)
    low, high = resampling.bootstrap_mean(
        x.values,
        method=method,
        n_resamples=how.n_resamples,
        level=how.level,
        rng=np.random.default_rng(how.seed),
    )
    dims = x.dims[1:]
    coords = {name: c for name, c in x.coords.items() if "prompt" not in c.dims}
    attrs: dict[str, Any] = how.model_dump() | {"method": method, "n_prompts": n}
    return xr.Dataset(
        {
            "estimate": (dims, x.values.mean(axis=0), values.attrs),
            "low": (dims, low, values.attrs),
            "high": (dims, high, values.attrs),
            "degenerate": (dims, resampling.is_constant(x.values)),
        },
        coords=coords,
        attrs=attrs,
    )
