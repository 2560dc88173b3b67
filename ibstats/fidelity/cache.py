"""Features of a store, computed once: kept beside the store, keyed by content.

`RUN/results/features/<model>/<experiment>/<network>-<key>.npy` holds `(prompt, condition, sample, feature)`; the key is
a digest of network, weights and the committed blocks. The .json beside it says the same in words, so that a machine
without the weights finds what another one computed.
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
from ibstats.each import Each, here
from ibstats.errors import IbstatsError, Unmeasurable
from ibstats.fidelity.base import AbstractNetwork
from ibstats.store import Store


def embeddings(
    store: Store,
    model: str,
    network: AbstractNetwork,
    experiment: str = "factorial",
    *,
    allow_partial: bool = False,
    each: Each = here,
) -> xr.DataArray:
    """Features `(condition, prompt, sample, feature)` of every image, from the cache or computed now.

    Where the weights are missing, features of these very images under the same asked-for network are taken from the
    cache. Attributes: `network`, and its `settings` as JSON. Memory is bounded by one prompt's images.
    """
    file, record = located(store, model, network, experiment, allow_partial=allow_partial)
    if not file.is_file():
        network.find_weights()
        images = store.images(model, experiment, allow_partial=allow_partial)
        prompt_table.fill(
            file, images, partial(_embed, network, model), f"{model}: {network.name} features", each
        )
        file.with_suffix(".json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    table, coords = prompt_table.read(
        file, store.dataset(model, experiment, allow_partial=allow_partial)
    )
    attrs = {"network": network.name, "settings": json.dumps(record["settings"], sort_keys=True)}
    return xr.DataArray(
        table, dims=("condition", "prompt", "sample", "feature"), coords=coords, attrs=attrs
    )


def located(
    store: Store,
    model: str,
    network: AbstractNetwork,
    experiment: str,
    *,
    allow_partial: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """The file of these features, whether it is there yet or not, and what it says of itself.

    Raises MissingWeights or MissingPackages when they can neither be computed nor were they.
    """
    content = prompt_table.content(store, model, experiment, allow_partial=allow_partial)
    folder = _folder(store, model, experiment)
    try:
        settings = network.settings()
    except Unmeasurable:
        found = _kept(folder, network, content)
        if len(found) != 1:
            raise
        file, settings = found[0]
    else:
        key = prompt_table.digest([network.name, settings, content])
        file = folder / f"{network.name}-{key[:16]}.npy"
    return file, {"network": network.name, "settings": settings, **content}


def are_kept(
    store: Store,
    model: str,
    network: AbstractNetwork,
    experiment: str,
    *,
    allow_partial: bool = False,
) -> bool:
    """Whether these features were computed before, so that neither images nor weights are needed."""
    content = prompt_table.content(store, model, experiment, allow_partial=allow_partial)
    return len(_kept(_folder(store, model, experiment), network, content)) == 1


def _folder(store: Store, model: str, experiment: str) -> Path:
    return store.path / "results" / "features" / model / experiment


def _kept(
    folder: Path, network: AbstractNetwork, content: dict[str, Any]
) -> list[tuple[Path, dict[str, Any]]]:
    """Features of these images under the asked-for network, computed wherever its weights were."""
    found = []
    for record in sorted(folder.glob(f"{network.name}-*.json")):
        kept = json.loads(record.read_text(encoding="utf-8"))
        same = kept["snapshot"] == content["snapshot"] and kept["prompts"] == content["prompts"]
        if (
            same
            and network.asked().items() <= kept["settings"].items()
            and record.with_suffix(".npy").is_file()
        ):
            found.append((record.with_suffix(".npy"), kept["settings"]))
    return found


def _embed(network: AbstractNetwork, model: str, images: xr.DataArray) -> NDArray[np.float32]:
    """Features of one prompt, `(condition, sample, feature)`."""
    pixels = images.values
    features = network.embed(pixels.reshape(-1, *pixels.shape[2:]))
    if not np.isfinite(features).all():
        raise IbstatsError(
            f"{network.name} features of {model}, prompt {images['prompt'].item()} are not finite; check the weights"
        )
    return features.reshape(*pixels.shape[:2], -1)
