"""Values of a prompt that are means over its images, or over their pairs: however many it has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray


def per_prompt(features: xr.DataArray, score: Callable[[np.ndarray], np.ndarray]) -> xr.DataArray:
    """A score of each prompt in each condition, `(condition, prompt)`.

    `features (condition, prompt, sample, feature)`, of which one condition is in memory at a time,
    NaN for images that a prompt with fewer does not have; `score` takes the `(prompt, sample,
    feature)` of a condition and gives `(prompt, sample)`, whose mean over images is the value.

    >>> dims = ("condition", "prompt", "sample", "feature")
    >>> features = xr.DataArray([[[[1.0], [np.nan]], [[1.0], [3.0]]]], dims=dims)
    >>> per_prompt(features, lambda x: x[..., 0]).values
    array([[1., 2.]])
    """
    table = features.transpose("condition", "prompt", "sample", "feature")
    values, there = [], []
    for condition in range(len(table)):
        known = np.asarray(table[condition].values, dtype=np.float64)
        there.append(~np.isnan(known[..., 0]))
        values.append(np.where(there[-1], score(known), 0.0).sum(axis=1) / there[-1].sum(axis=1))
    coords = {
        name: c for name, c in features.coords.items() if set(c.dims) <= {"condition", "prompt"}
    }
    made = xr.DataArray(np.stack(values), dims=("condition", "prompt"), coords=coords)
    return made.assign_attrs(counted(np.stack(there)))


def counted(there: NDArray[np.bool_]) -> dict[str, int]:
    """Give attributes of values that are of all images, where prompts have unequal numbers.

    `there (condition, prompt, sample)` says which images there are. `n_images_most` is what the
    prompt with the most has; nothing where all have as many.

    >>> counted(np.array([[[True, True, False], [True, True, True]]]))
    {'n_images_most': 3}
    """
    numbers = there.sum(axis=-1)
    if numbers.min() == numbers.max():
        return {}
    return {"n_images_most": int(numbers.max())}
