"""Intervals of means over prompts: the unit. Every quantity sees the same resamples."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from ibstats.errors import IbstatsError, unknown
from ibstats.kernels import resampling


@dataclass(frozen=True)
class Resampling:
    """How intervals are made. `method="auto"` is studentized below 50 prompts, else BCa.

    Raises IbstatsError for an unknown method, a level outside (0, 1), no resamples, or a seed
    below 0.

    >>> Resampling(level=0.9).resolved(n_prompts=20)
    'studentized'
    """

    method: resampling.Method | Literal["auto"] = "auto"
    level: float = 0.95
    n_resamples: int = 5000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("auto", *resampling.METHODS):
            raise unknown("interval method", self.method, ("auto", *resampling.METHODS))
        if not 0 < self.level < 1:
            raise IbstatsError(f"level is {self.level}, but must lie between 0 and 1; 95 % is 0.95")
        if self.n_resamples < 1:
            raise IbstatsError(
                f"n_resamples is {self.n_resamples}, but must be 1 or more; the default is 5000"
            )
        if self.seed < 0:
            raise IbstatsError(f"seed is {self.seed}, but must be 0 or more")

    def resolved(self, n_prompts: int) -> resampling.Method:
        """The method used with that many prompts: what `auto` stands for, else the method itself.

        >>> Resampling().resolved(n_prompts=300)
        'bca'
        """
        if self.method == "auto":
            return resampling.default_method(n_prompts)
        return self.method


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
    method = how.resolved(n)
    low, high = resampling.bootstrap_mean(
        x.values,
        method=method,
        n_resamples=how.n_resamples,
        level=how.level,
        rng=np.random.default_rng(how.seed),
    )
    dims = x.dims[1:]
    coords = {name: c for name, c in x.coords.items() if "prompt" not in c.dims}
    attrs: dict[str, Any] = asdict(how) | {"method": method, "n_prompts": n}
    variables = {
        "estimate": (dims, x.values.mean(axis=0), values.attrs),
        "low": (dims, low, values.attrs),
        "high": (dims, high, values.attrs),
        "degenerate": (dims, resampling.is_constant(x.values)),
    }
    return xr.Dataset(variables, coords=coords, attrs=attrs)
