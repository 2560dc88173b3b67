"""Scores that are means over a prompt's images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr


def per_prompt(features: xr.DataArray, score: Callable[[np.ndarray], np.ndarray]) -> xr.DataArray:
    """A score of each prompt in each condition, `(condition, prompt)`.

    `features (condition, prompt, sample, feature)`, of which one condition is in memory at a time;
    `score` takes the `(prompt, sample, feature)` of a condition and gives `(prompt,)`.
    """
    table = features.transpose("condition", "prompt", "sample", "feature")
    values = [
        score(np.asarray(table[condition].values, dtype=np.float64))
        for condition in range(len(table))
    ]
    coords = {
        name: c for name, c in features.coords.items() if set(c.dims) <= {"condition", "prompt"}
    }
    return xr.DataArray(np.stack(values), dims=("condition", "prompt"), coords=coords)
