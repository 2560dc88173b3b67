"""Distances of a store, measured once: kept beside the store, keyed by content.

A file holds `(prompt, condition, sample, sample + 1)`, the squared norms in the last column; its name carries a digest
of the metric, its settings and the committed blocks it was measured on, so a result can never be read for other data.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats import prompt_table
from ibstats.distances.base import AbstractDistance, identical
from ibstats.each import Each, here
from ibstats.errors import IbstatsError
from ibstats.store import Store, check_sample_count
from ibstats.variables import DISTANCES


def distances(
    store: Store,
    model: str,
    metric: AbstractDistance,
    experiment: str = "factorial",
    *,
    allow_partial: bool = False,
    each: Each = here,
) -> xr.Dataset:
    """Distances of all pairs of a prompt's images per condition, from the cache or measured now.

    Returns `distance (condition, prompt, sample, sample_other)` and `squared_norm (condition, prompt, sample)`; memory
    while measuring is bounded by one prompt's images. Raises MissingImages or MissingWeights when they must be measured
    and cannot be.
    """
    dataset = store.dataset(model, experiment, allow_partial=allow_partial)
    check_sample_count(dataset.sizes["sample"])
    file = _file(store, model, metric, experiment, allow_partial=allow_partial)
    if not file.is_file():
        metric.find_weights()
        images = store.images(model, experiment, allow_partial=allow_partial)
        prompt_table.fill(
            file, images, partial(_measure, metric, model), f"{model}: {metric.name}", each
        )
    table, coords = prompt_table.read(file, dataset)
    meaning = DISTANCES[metric.name]
    attrs = {
        "units": meaning.units,
        "long_name": meaning.long_name,
        "settings": json.dumps(metric.settings()),
    }
    return xr.Dataset(
        {
            "distance": (("condition", "prompt", "sample", "sample_other"), table[..., :-1], attrs),
            "squared_norm": (("condition", "prompt", "sample"), table[..., -1]),
        },
        coords=coords,
    )


def are_kept(
    store: Store,
    model: str,
    metric: AbstractDistance,
    experiment: str = "factorial",
    *,
    allow_partial: bool = False,
) -> bool:
    """Whether these distances were measured before, so that neither images nor weights are needed."""
    return _file(store, model, metric, experiment, allow_partial=allow_partial).is_file()


def _file(
    store: Store, model: str, metric: AbstractDistance, experiment: str, *, allow_partial: bool
) -> Path:
    content = prompt_table.content(store, model, experiment, allow_partial=allow_partial)
    key = prompt_table.digest([metric.name, metric.settings(), content])
    return (
        store.path / "results" / "distances" / model / experiment / f"{metric.name}-{key[:16]}.npy"
    )


def _measure(metric: AbstractDistance, model: str, images: xr.DataArray) -> NDArray[Any]:
    """Distances and squared norms of one prompt, `(condition, sample, sample + 1)`."""
    distance, squared_norm = metric.measure(images.values)
    distance = np.where(identical(images.values), 0.0, distance)
    if not np.isfinite(distance).all():
        bad = images["condition"].values[~np.isfinite(distance).all(axis=(1, 2))][0]
        where = f"{model}, prompt {images['prompt'].item()} is NaN in condition '{bad}'"
        raise IbstatsError(f"{metric.name} of {where}; is an image black or empty?")
    return np.concatenate([distance, squared_norm[..., None]], axis=-1)
