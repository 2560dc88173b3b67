"""The diversity-fidelity frontier: which conditions pay for diversity with quality, and which just lose."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ibstats.kernels.factorial import ROUNDING
from ibstats.quantities import quantity
from ibstats.statistics.stacking import FEWEST_UNITS, units
from ibstats.statistics.uncertainty import Resampling, mean_interval

ON_FRONTIER, DOMINATED = "frontier", "dominated"


def frontier(diversity: xr.Dataset, scores: xr.Dataset, how: Resampling) -> xr.Dataset:
    """Which conditions are worse than another one in diversity and quality at once.

    Parameters: `diversity`, distances `(condition, prompt)` by name; `scores`, `(condition,
    prompt)` or `(condition, block)` by name; `how`, the resampling.
    Returns `verdict (distance, quantity, condition)`: `dominated` (some condition is better in
    both: the paired intervals exclude zero, at a level for all its rivals, Bonferroni: one that
    looks better by chance is easily found among many), else `frontier`, which shows no more than
    that; `against` names a condition that dominates, empty on the frontier.
    """
    conditions = [str(name) for name in scores["condition"].values]
    x = {str(name): _differences(value, how) for name, value in diversity.data_vars.items()}
    y: dict[str, xr.Dataset] = {}
    for name, value in scores.data_vars.items():
        if units(value).sizes["prompt"] >= FEWEST_UNITS:
            sign = 1.0 if quantity(str(name)).better == "larger" else -1.0
            y[str(name)] = _differences(sign * value, how)
    verdict = np.full((len(x), len(y), len(conditions)), ON_FRONTIER, dtype=object)
    against = np.full(verdict.shape, "", dtype=object)
    for i, diverse in enumerate(x.values()):
        for j, good in enumerate(y.values()):
            for c in range(len(conditions)):
                rival = _rival(diverse, good, c)
                if rival is not None:
                    verdict[i, j, c] = DOMINATED
                    against[i, j, c] = conditions[rival]
    dims = ("distance", "quantity", "condition")
    names = {"distance": list(x), "quantity": list(y), "condition": conditions}
    coords: dict[str, Any] = {d: np.array(labels, dtype=object) for d, labels in names.items()}
    return xr.Dataset({"verdict": (dims, verdict), "against": (dims, against)}, coords=coords)


def _rival(diverse: xr.Dataset, good: xr.Dataset, condition: int) -> int | None:
    """The first condition that is better in both, by paired differences `(of, condition)`; None if there is none."""
    a, b = diverse.isel(condition=condition), good.isel(condition=condition)
    better = (a["low"].values > 0) & (b["low"].values > 0)
    return int(np.flatnonzero(better)[0]) if better.any() else None


def _differences(value: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Paired differences of all conditions, `(of, condition)`: the first less the second."""
    x = units(value).transpose("prompt", "condition").values
    pairs = xr.DataArray(x[:, :, None] - x[:, None, :], dims=("prompt", "of", "condition"))
    rivals = max(x.shape[1] - 1, 1)
    level = 1 - (1 - how.level) / rivals
    found = mean_interval(pairs, how.but(level=level))
    rounding = ROUNDING * len(x) * np.abs(x).max()  # means that differ by no more are equal
    for bound in ("estimate", "low", "high"):
        found[bound] = found[bound].where(abs(found[bound]) > rounding, 0.0)
    return found
