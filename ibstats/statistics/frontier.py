"""The diversity-fidelity frontier: which conditions pay for diversity with quality, and which just lose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from ibstats.kernels.factorial import ROUNDING
from ibstats.statistics.quality import units
from ibstats.statistics.uncertainty import Resampling, mean_interval


def frontier(diversity: xr.Dataset, values: xr.Dataset, how: Resampling) -> xr.Dataset:
    """Which conditions are worse than another one in diversity and quality at once.

    `diversity` has `(condition, prompt)` distances, `values` the scores. Result over `(distance, quantity, condition)`:
    `verdict` is `frontier`, `dominated` (some condition is at least as good in both and better in one, by the
    estimates), or `clearly dominated` (of some condition the paired intervals exclude zero in both, at a level for all
    its rivals, Bonferroni: one that looks better by chance is easily found among many); `by` names one that does it.
    `diversity_estimate`, `_low`, `_high` over `(distance, condition)` are the other axis.
    """
    conditions = [str(name) for name in values["condition"].values]
    x = {str(name): _differences(value, how) for name, value in diversity.data_vars.items()}
    y = {}
    for name, value in values.data_vars.items():
        if units(value).sizes["prompt"] >= 2:
            sign = 1.0 if value.attrs["larger_is_better"] else -1.0
            y[str(name)] = _differences(sign * value, how)
    verdict = np.full((len(x), len(y), len(conditions)), "frontier", dtype=object)
    by = np.full(verdict.shape, "", dtype=object)
    for i, a in enumerate(x.values()):
        for j, b in enumerate(y.values()):
            weak = (a["estimate"].values >= 0) & (b["estimate"].values >= 0)
            better = weak & ((a["estimate"].values > 0) | (b["estimate"].values > 0))
            clear = (a["low"].values > 0) & (b["low"].values > 0)
            for c in range(len(conditions)):
                for word, matrix in (("clearly dominated", clear), ("dominated", better)):
                    if matrix[:, c].any():
                        verdict[i, j, c] = word
                        by[i, j, c] = conditions[int(np.flatnonzero(matrix[:, c])[0])]
                        break
    dims = ("distance", "quantity", "condition")
    names = {"distance": list(x), "quantity": list(y), "condition": conditions}
    coords: dict[str, Any] = {dim: np.array(labels, dtype=object) for dim, labels in names.items()}
    coords |= {
        str(key): c
        for key, c in values.coords.items()
        if c.dims == ("condition",) and key != "condition"
    }
    size = {key: values.attrs[key] for key in ("n_prompts", "n_images")}
    cells = [mean_interval(units(value), how) for value in diversity.data_vars.values()]
    made = {
        f"diversity_{name}": (
            dims[::2],
            np.stack([one[name].transpose("condition").values for one in cells]),
        )
        for name in ("estimate", "low", "high")
    }
    return xr.Dataset(
        {"verdict": (dims, verdict), "by": (dims, by), **made}, coords=coords, attrs=size
    )


def _differences(value: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Paired differences of all conditions, `(of, condition)`: the first less the second."""
    x = units(value).transpose("prompt", "condition").values
    pairs = xr.DataArray(x[:, :, None] - x[:, None, :], dims=("prompt", "of", "condition"))
    rivals = max(x.shape[1] - 1, 1)
    found = mean_interval(pairs, replace(how, level=1 - (1 - how.level) / rivals))
    rounding = (
        ROUNDING * len(x) * np.abs(x).max()
    )  # of a mean: means that differ by no more are equal
    return found.map(
        lambda part: part if part.dtype == bool else part.where(abs(part) > rounding, 0.0)
    )
