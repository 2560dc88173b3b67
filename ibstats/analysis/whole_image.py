"""What whole images tell of their text: I(X;Z) of the grid, of the wording, alignment, H(Z)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ibstats.analysis.changes import Groups
from ibstats.measure import Machine
from ibstats.quantities import quantity
from ibstats.selection import Selection
from ibstats.statistics import contrasts
from ibstats.statistics.rescored import Rescored
from ibstats.statistics.stacking import FEWEST_UNITS
from ibstats.store import Store
from schemas.analysis import Config

NO_PATH = (
    "an image's own path is no draw of the paths under the empty caption, so that its probability "
    "without a prompt has a bound on one side only: alignment is left out"
)
AT_CAP = "at its cap: so many prompts cannot show more, and there may be much more"


def contrast_digests(store: Store, settings: Config) -> dict[str, list[str]]:
    """Digests of the contrasts that numbers rest on, by model; models without any are left out.

    Raises IbstatsError where they belong to other data.
    """
    digests: dict[str, list[str]] = {}
    for model in settings.models or store.models():
        found = [one.digest() for one in contrasts.find(store, model, settings.experiment)]
        if found:
            digests[model] = found
    return digests


def whole_image_groups(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[Groups, list[str]]:
    """A group `contrast_NAME` for each contrast that was scored, and why there is none."""
    groups: Groups = {}
    notes: list[str] = []
    for found in contrasts.find(selection.store, selection.model, selection.experiment):
        contrast = found.record.contrast
        if found.data.sizes["prompt"] < FEWEST_UNITS:
            notes.append(
                f"{selection.model}: contrast '{contrast}' has fewer than two prompts; left out"
            )
            continue
        bits = contrasts.information(found)
        if not bits.sizes["quantity"]:
            notes.append(f"{selection.model}: {NO_PATH}")
            continue
        groups[f"contrast_{contrast}"] = _group(found, bits, settings)
    return groups, notes


def _group(found: Rescored, bits: xr.DataArray, settings: Config) -> xr.Dataset:
    """Means over prompts with intervals, units and what is to be known of each."""
    group = contrasts.intervals(bits, settings.resampling)
    names = [str(name) for name in group["quantity"].values]
    units = np.array([quantity(name).unit for name in names], dtype=object)
    group = group.assign(units=("quantity", units), note=_notes(group))
    if not contrasts.has_path(found):
        group = group.isel(paths=0, drop=True)
    attrs = {
        "section": "whole_image",
        "part": found.record.contrast,
        "n_images": found.record.n_samples,
    }
    return group.assign_attrs(attrs)


def _notes(group: xr.Dataset) -> xr.DataArray:
    """Which numbers are at the most that their contrasts can show."""
    estimate = group["estimate"]
    texts = xr.full_like(estimate, "", dtype=object)
    for name, cap in contrasts.capped(group).items():
        room = estimate.sel(quantity=cap, drop=True) - estimate.sel(quantity=name)
        texts.loc[{"quantity": name}] = np.where(room.values < contrasts.NEAR_CAP, AT_CAP, "")
    return texts
