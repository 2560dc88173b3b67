"""Features of a store, computed once: streamed prompt by prompt, kept beside the store, keyed by content.

`RUN/results/features/<model>/<experiment>/<network>-<key>.npy` holds `(prompt, condition, sample, feature)`; the key is
a digest of network, weights and the committed blocks. The .json beside it says the same in words, so that a machine
without the weights finds what another one computed. An interrupted computation goes on where it stopped.
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

from ibstats.errors import IbstatsError, MissingWeights
from ibstats.fidelity.base import AbstractNetwork
from ibstats.store import Store

Progress = Callable[[Iterable[int], str, int], Iterable[int]]


def silent(items: Iterable[int], label: str, total: int) -> Iterable[int]:
    """No progress bar."""
    return items


def embeddings(
    store: Store,
    model: str,
    network: AbstractNetwork,
    experiment: str = "factorial",
    *,
    allow_partial: bool = False,
    progress: Progress = silent,
) -> xr.DataArray:
    """Features `(condition, prompt, sample, feature)` of every image, from the cache or computed now.

    Where the weights are missing, features of these very images under the same asked-for network are taken from the
    cache. Attributes: `network`, and its `settings` as JSON. Memory is bounded by one prompt's images.
    """
    dataset = store.dataset(model, experiment, allow_partial=allow_partial)
    file, record = located(store, model, network, experiment, allow_partial=allow_partial)
    settings = record["settings"]
    if not file.is_file():
        if "image" not in dataset:
            raise IbstatsError(
                f"'{model}/{experiment}' holds no images (`images: false` in its study); decode them first"
            )
        _compute(network, dataset["image"], file, f"{model}: {network.name} features", progress)
        file.with_suffix(".json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    table = np.load(file, mmap_mode="r").transpose(1, 0, 2, 3)
    coords = {name: c for name, c in dataset.coords.items() if set(c.dims) <= {"condition", "prompt"}}
    attrs = {"network": network.name, "settings": json.dumps(settings, sort_keys=True)}
    return xr.DataArray(table, dims=("condition", "prompt", "sample", "feature"), coords=coords, attrs=attrs)


def located(
    store: Store, model: str, network: AbstractNetwork, experiment: str, *, allow_partial: bool = False
) -> tuple[Path, dict[str, Any]]:
    """The file of these features, whether it is there yet or not, and what it says of itself.

    Raises MissingWeights when they can neither be computed nor were they.
    """
    prompts = store.complete(model, experiment)
    if allow_partial:
        prompts = prompts.isel(prompt=prompts.all("condition").values)
    content = {
        "snapshot": store.snapshot(model, experiment),
        "prompts": [str(prompt) for prompt in prompts["prompt"].values],
    }
    folder = store.path / "results" / "features" / model / experiment
    try:
        settings = network.settings()
    except MissingWeights:
        file, settings = _kept(folder, network, content)
    else:
        key = digest([network.name, settings, content])
        file = folder / f"{network.name}-{key[:16]}.npy"
    return file, {"network": network.name, "settings": settings, **content}


def _kept(folder: Path, network: AbstractNetwork, content: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Features of these images that were computed where the weights are; the error of the weights if there are none."""
    found = []
    for record in sorted(folder.glob(f"{network.name}-*.json")):
        kept = json.loads(record.read_text(encoding="utf-8"))
        same = kept["snapshot"] == content["snapshot"] and kept["prompts"] == content["prompts"]
        if same and network.asked().items() <= kept["settings"].items() and record.with_suffix(".npy").is_file():
            found.append((record.with_suffix(".npy"), kept["settings"]))
    if len(found) != 1:
        network.settings()  # raises: nothing is kept, or it is not clear which
    return found[0]


def _compute(network: AbstractNetwork, images: xr.DataArray, file: Path, label: str, progress: Progress) -> None:
    """Fill the table prompt by prompt; NaN marks what is still to do."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npy")
    n_prompts, n_conditions, n_samples = (images.sizes[dim] for dim in ("prompt", "condition", "sample"))
    table = open_memmap(partial, mode="r+") if partial.is_file() else None
    todo = range(n_prompts) if table is None else np.flatnonzero(np.isnan(table[:, 0, 0, 0])).tolist()
    for prompt in progress(todo, label, len(todo)):
        pixels = images.isel(prompt=prompt).transpose("condition", "sample", "y", "x", "channel").values
        features = network.embed(pixels.reshape(-1, *pixels.shape[2:]))
        if not np.isfinite(features).all():
            raise IbstatsError(
                f"{label} of prompt '{images['prompt'].values[prompt]}' are not finite; check the weights"
            )
        if table is None:
            shape = (n_prompts, n_conditions, n_samples, features.shape[1])
            table = _empty(partial, shape)
        table[prompt] = features.reshape(n_conditions, n_samples, -1)
    assert table is not None
    table.flush()
    partial.replace(file)


def _empty(file: Path, shape: tuple[int, ...]) -> Any:
    """A table of NaN; its name appears only once it is all NaN."""
    fresh = file.with_suffix(".new.npy")
    open_memmap(fresh, mode="w+", dtype=np.float32, shape=shape)[:] = np.nan
    fresh.replace(file)
    return open_memmap(file, mode="r+")


def digest(content: Any) -> str:
    """sha256 of anything JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
