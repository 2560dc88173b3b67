"""The distances of a selection that can be had, and why the others cannot."""

from __future__ import annotations

import xarray as xr

from ibstats.errors import Unmeasurable
from ibstats.measure import Distance, Machine, are_kept, distances
from ibstats.measure.scene_network import sees
from ibstats.quantities import Material
from ibstats.selection import Selection
from schemas.analysis import Config

NO_COMPONENTS = "is not the distance of an embedding, so it has no variance components"


PHOTOGRAPH = 64
"""Pixels of a side from which on a network of photographs sees more than blur."""


def metrics_of(selection: Selection, settings: Config, machine: Machine) -> list[Distance]:
    """The distances asked for, else those that are measured on such images when nothing is.

    The scene network is for scenes of the trio alone, a network of photographs for other images
    that are not too small.
    """
    size = selection.identity.image_size
    on: Material = "small"
    if sees(size, selection.store.prompts):
        on = "scenes"
    elif min(size) >= PHOTOGRAPH:
        on = "pictures"
    return machine.metrics(settings.metrics, on=on)


def measured(
    selection: Selection, settings: Config, machine: Machine, *, embedded: bool = False
) -> tuple[dict[str, xr.Dataset], list[str]]:
    """Distances by result name, each as `ibstats.measure.distances` gives it; and notes.

    Of the metrics asked for, else of the default ones that can be had: a note says why one of those
    was left out; what was asked for and cannot be had raises Unmeasurable. `embedded`: only those
    that are distances of an embedding.
    """
    found: dict[str, xr.Dataset] = {}
    notes = []
    for chosen in metrics_of(selection, settings, machine):
        if embedded and not chosen.embedded:
            if settings.metrics:
                notes.append(f"{chosen.name} {NO_COMPONENTS}")
            continue
        try:
            found[chosen.name] = distances(selection, chosen, each=machine.each)
        except Unmeasurable as error:
            if settings.metrics:
                raise
            notes.append(f"{chosen.name} is left out: {error}")
    return found, notes


def to_be_had(selection: Selection, chosen: Distance) -> bool:
    """Whether a distance was measured before, or can be measured here without a download.

    For the latter its images, packages and weights must be here.
    """
    if are_kept(selection, chosen):
        return True
    if not selection.has("image"):
        return False
    try:
        chosen.find_weights()
    except Unmeasurable:
        return False
    return True
