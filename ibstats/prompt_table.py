"""Tables of one row a prompt, measured once from the prompt's images and kept: the image pass of an analysis.

Memory is bounded by the images of one prompt. An interrupted pass leaves a partial file and goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from ibstats.each import Each
from ibstats.store import Store

Measure = Callable[[xr.DataArray], NDArray[Any]]
"""Images of one prompt, `(condition, sample, y, x, channel)`, to its row: an array whose first number is not NaN."""


def fill(file: Path, images: xr.DataArray, measure: Measure, label: str, each: Each) -> None:
    """Measure the row of every prompt of `images` and keep them as `file`: an array `(prompt, ...)`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".partial.npy")
    table = open_memmap(unfinished, mode="r+") if unfinished.is_file() else None
    n_prompts = images.sizes["prompt"]
    todo = (
        range(n_prompts)
        if table is None
        else np.flatnonzero(np.isnan(table.reshape(n_prompts, -1)[:, 0])).tolist()
    )
    for prompt, row in each(partial(_row, measure, images), todo, label):
        if table is None:
            table = _empty(unfinished, (n_prompts, *row.shape), row.dtype)
        kept, made = table[prompt].reshape(-1), row.reshape(-1)
        kept[1:] = made[1:]
        kept[0] = made[0]  # last: what marks the row as whole
    assert table is not None
    table.flush()
    unfinished.replace(file)


def _row(measure: Measure, images: xr.DataArray, prompt: int) -> NDArray[Any]:
    """The row of one prompt, from its images loaded."""
    return measure(
        images.isel(prompt=prompt).transpose("condition", "sample", "y", "x", "channel").load()
    )


def _empty(file: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """A table of NaN; its name appears only once it is all NaN."""
    fresh = file.with_suffix(".new.npy")
    open_memmap(fresh, mode="w+", dtype=dtype, shape=shape)[:] = np.nan
    fresh.replace(file)
    return open_memmap(file, mode="r+")


def read(file: Path, dataset: xr.Dataset) -> tuple[NDArray[Any], dict[Any, Any]]:
    """The table `(condition, prompt, ...)` of a dataset's images, memory-mapped, and their coordinates over both."""
    coords = {
        name: c for name, c in dataset.coords.items() if set(c.dims) <= {"condition", "prompt"}
    }
    return np.load(file, mmap_mode="r").swapaxes(0, 1), coords


def content(
    store: Store, model: str, experiment: str, *, allow_partial: bool = False
) -> dict[str, Any]:
    """What a table follows from besides its measure: committed blocks, and the prompts that are complete in them."""
    complete = store.complete(model, experiment)
    used = np.flatnonzero(complete.all(axis=0)) if allow_partial else range(complete.shape[1])
    prompts = [store.run.prompts[number].id for number in used]
    return {"snapshot": store.snapshot(model, experiment), "prompts": prompts}


def digest(content: Any) -> str:
    """sha256 of anything JSON can hold, as the name of a table by its origin."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
