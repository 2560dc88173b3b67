"""What runs are compared by: every quantity of a selection, by condition and prompt."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from ibstats.analysis.information import CHANGING, shared_by_images, usable_codes
from ibstats.analysis.measured import measured
from ibstats.measure import Machine
from ibstats.selection import Selection
from ibstats.statistics import information, scores
from ibstats.statistics.diversity import mean_pairwise
from ibstats.statistics.path_and_execution import ledger
from schemas.analysis import Config

SURPRISAL = ("token_surprisal", "argmax_window")
"""Variables that bits of an image are made of."""

BITS = ("path_causal", "execution_causal", "joint", "tokens")
"""Bits of an image that are compared."""


def values_of(
    selection: Selection, prompts: list[str], settings: Config, machine: Machine
) -> tuple[xr.Dataset, list[str]]:
    """Every quantity of a selection, `(condition, prompt)`, and why some cannot be had.

    Distances and scores as the settings ask for them, or all that can be had; collision entropies
    of the tokens; bits of an image where surprisals are recorded. `prompts` are ids of the
    selection, in the order in which they are paired with those of other runs; in the values they
    are numbers from 0. Raises what measuring raises for a metric or score that was asked for.
    """
    found: dict[str, xr.DataArray] = {}
    tables, notes = measured(selection, settings, machine)
    for name, table in tables.items():
        found[name] = mean_pairwise(table["distance"])
    asked = list(settings.scores)
    if not asked:
        asked, said = scores.available(selection, settings, machine)
        notes += said
    fetching = machine if settings.scores else machine.offline()
    if asked:
        for score, value in scores.scores(selection, asked, settings, fetching).data_vars.items():
            if "prompt" in value.dims:
                found[str(score)] = value
    chosen = dict(xr.Dataset(found).sel(prompt=prompts).data_vars) if found else {}
    if selection.has("tokens"):
        chosen |= _of_tokens(selection, prompts, settings)
    chosen |= _of_bits(selection, prompts)
    bare = {}
    for variable, value in chosen.items():
        ordered = value.transpose("condition", "prompt")
        coords = {"condition": ordered["condition"].values, "prompt": np.arange(len(prompts))}
        bare[str(variable)] = xr.DataArray(ordered.values, coords, ("condition", "prompt"))
        if "units" in value.attrs:
            bare[str(variable)].attrs["units"] = value.attrs["units"]
    return xr.Dataset(bare), notes


def _of_tokens(
    selection: Selection, prompts: list[str], settings: Config
) -> dict[Hashable, xr.DataArray]:
    """Collision entropies, pseudo-values of the shared prompts alone."""
    dataset = selection.every_sample.sel(prompt=prompts)
    places = selection.dataset.indexes["prompt"].get_indexer(prompts)
    made = information.measure(
        dataset["tokens"],
        selection.identity.codebook_size,
        ["collision"],
        estimator=settings.estimator,
        usable=usable_codes(selection).values.tolist(),
        share=shared_by_images(dataset),
        counts=selection.sample_counts[:, places],
        seed=settings.resampling.seed,
    )["collision"]
    return dict(made[list(CHANGING)].data_vars)


def _of_bits(selection: Selection, prompts: list[str]) -> dict[Hashable, xr.DataArray]:
    """Bits of an image that a run records; none without surprisals."""
    if not all(map(selection.has, SURPRISAL)):
        return {}
    known = ledger(selection.every_sample.sel(prompt=prompts), selection.identity)
    found: dict[Hashable, xr.DataArray] = {}
    for name in BITS:
        if name in known["quantity"]:
            found[name] = known.sel(quantity=name, drop=True)
    return found
