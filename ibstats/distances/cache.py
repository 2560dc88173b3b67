"""Distances of a store, computed once: streamed prompt by prompt, kept beside the store, keyed by content.

A file holds `(prompt, condition, sample, sample)`; its name carries a digest of the metric, its settings and the
committed blocks it was measured on, so a result can never be read for other data. An interrupted measurement
leaves a partial file and goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.lib.format import open_memmap

from ibstats.distances.base import AbstractDistance, identical
from ibstats.errors import IbstatsError
from ibstats.store import Store, check_sample_count
from ibstats.variables import DISTANCES

Progress = Callable[[Iterable[int], str, int], Iterable[int]]


def silent(items: Iterable[int], label: str, total: int) -> Iterable[int]:
    """No progress bar."""
    return items


def distances(
    store: Store,
    model: str,
    metric: AbstractDistance,
    experiment: str = "factorial",
    *,
    allow_partial: bool = False,
    progress: Progress = silent,
) -> xr.Dataset:
    """Distances of all pairs of a prompt's images per condition, from the cache or measured now.

    Returns `distance (condition, prompt, sample, sample_other)` and `squared_norm (condition, prompt, sample)`; memory
    while measuring is bounded by one prompt's images.
    """
    dataset = store.dataset(model, experiment, allow_partial=allow_partial)
    if "image" not in dataset:
        raise IbstatsError(f"'{model}/{experiment}' holds no images (`images: false` in its study); decode them first")
    images = dataset["image"]
    n_conditions, n_prompts, n_samples = (images.sizes[dim] for dim in ("condition", "prompt", "sample"))
    check_sample_count(n_samples)
    prompts = [str(prompt) for prompt in dataset["prompt"].values]
    key = _digest([store.snapshot(model, experiment), metric.name, metric.settings(), prompts])
    file = store.path / "results" / "distances" / model / experiment / f"{metric.name}-{key[:16]}.npy"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial.npy")
        shape = (n_prompts, n_conditions, n_samples, n_samples + 1)
        table = _resume(partial, shape)
        todo = np.flatnonzero(np.isnan(table[:, 0, 0, 0]))
        for prompt in progress(map(int, todo), f"{model}: {metric.name}", len(todo)):
            table[prompt] = _measure(metric, images.isel(prompt=prompt), f"{model}, prompt {prompts[prompt]}")
        table.flush()
        partial.replace(file)
    table = np.load(file, mmap_mode="r").transpose(1, 0, 2, 3)
    coords = {name: c for name, c in dataset.coords.items() if set(c.dims) <= {"condition", "prompt"}}
    meaning = DISTANCES[metric.name]
    attrs = {"units": meaning.units, "long_name": meaning.long_name, "settings": json.dumps(metric.settings())}
    return xr.Dataset(
        {
            "distance": (("condition", "prompt", "sample", "sample_other"), table[..., :-1], attrs),
            "squared_norm": (("condition", "prompt", "sample"), table[..., -1]),
        },
        coords=coords,
    )


def _resume(partial: Path, shape: tuple[int, ...]) -> Any:
    """The partial file, with NaN where a prompt is still to be measured."""
    if partial.is_file():
        table = open_memmap(partial, mode="r+")
        if table.shape == shape:
            return table
    fresh = partial.with_suffix(".new.npy")  # its name appears only once it is all NaN
    open_memmap(fresh, mode="w+", dtype=np.float64, shape=shape)[:] = np.nan
    fresh.replace(partial)
    return open_memmap(partial, mode="r+")


def _measure(metric: AbstractDistance, images: xr.DataArray, where: str) -> Any:
    """Distances and squared norms of one prompt, `(condition, sample, sample + 1)`."""
    pixels = images.transpose("condition", "sample", "y", "x", "channel").values
    distance, squared_norm = metric.measure(pixels)
    distance = np.where(identical(pixels), 0.0, distance)
    if not np.isfinite(distance).all():
        bad = images["condition"].values[~np.isfinite(distance).all(axis=(1, 2))][0]
        raise IbstatsError(f"{metric.name} of {where} is NaN in condition '{bad}'; is an image black or empty?")
    return np.concatenate([distance, squared_norm[..., None]], axis=-1)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
