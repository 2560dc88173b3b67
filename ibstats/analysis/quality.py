"""Scores of every condition, what probes and effects do to them, and the frontier with diversity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ibstats.analysis import changes
from ibstats.analysis.changes import Groups
from ibstats.analysis.margins import margins
from ibstats.analysis.measured import measured
from ibstats.measure import Machine
from ibstats.selection import Selection
from ibstats.statistics import diversity, scores, subset_ratio
from ibstats.statistics.frontier import frontier
from ibstats.statistics.stacking import means
from schemas.analysis import Config


def quality_groups(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[Groups, list[str]]:
    """Groups of quality: quality_per_prompt, quality, changes of it, quality_losses, frontier.

    Returns no groups, and a line on each score that cannot be had, where none can.
    """
    asked = list(settings.scores)
    notes: list[str] = []
    if not asked:
        asked, notes = scores.available(selection, settings, machine)
    if not asked:
        return {}, notes
    how = settings.resampling
    fetching = machine if settings.scores else machine.offline()
    values = scores.scores(selection, asked, settings, fetching)
    groups: Groups = {"quality_per_prompt": values}
    summary = means(values, how)
    if not summary.sizes:
        return groups, [*notes, "no score has two or more prompts, so there is no interval"]
    groups["quality"] = summary.assign_attrs(section="quality")
    made, said = changes.changes(values, selection.design, how, changes.QUALITY)
    for name, group in made.items():
        groups[f"quality_{name}"] = group.drop_vars("note", errors="ignore")
    if selection.kind == "subset_ratio" and "contrasts" in made:
        lost = _losses(selection, settings, summary, made["contrasts"])
        groups["quality_losses"] = lost
    found, _ = measured(selection, settings, machine)
    if found:
        distance = {}
        for name, table in found.items():
            distance[name] = diversity.mean_pairwise(table["distance"])
        if "diversity" not in settings.parts:  # the other axis of the frontier
            other = means(xr.Dataset(distance), how)
            groups["frontier_diversity"] = other.assign_attrs(section="diversity")
        placed = frontier(xr.Dataset(distance), values, how)
        labels = {condition.name: condition.label for condition in selection.design.conditions}
        groups["frontier"] = _with_scores(placed, summary, labels)
    return groups, notes + said


def _losses(
    selection: Selection, settings: Config, summary: xr.Dataset, contrasts: xr.Dataset
) -> xr.Dataset:
    """Which ratios lose quality, and at which it is stable; no rows, but what the offer rests on."""
    kept = {condition.name: condition for condition in selection.design.conditions}
    ratios = []
    for name in contrasts["condition"].values:
        ratios.append(float(kept[str(name)].settings["keep_ratio"]))
    whole = summary["estimate"].sel(condition=selection.design.baseline)
    values = dict(zip(map(str, whole["quantity"].values), map(float, whole.values), strict=True))
    margin = margins(settings, values)
    known = [margin.get(str(name), np.nan) for name in contrasts["quantity"].values]
    found = subset_ratio.losses(
        contrasts,
        xr.DataArray(ratios, dims="effect"),
        xr.DataArray(known, dims="quantity"),
    )
    found.attrs = {name: value for name, value in found.attrs.items() if name != "section"}
    return found


def _with_scores(placed: xr.Dataset, summary: xr.Dataset, labels: Mapping[str, str]) -> xr.Dataset:
    """The verdicts with the score of each condition beside them, and in words what dominates it."""
    beside = ["estimate", "low", "high", "degenerate", "n_prompts", "n_units", "units"]
    chosen = summary[beside].sel(quantity=placed["quantity"].values).reset_coords(drop=True)
    chosen = chosen.assign_coords(condition=placed["condition"].values)
    notes = np.full(placed["against"].shape, "", dtype=object)
    for place in np.ndindex(*notes.shape):
        rival = str(placed["against"].values[place])
        if rival:
            notes[place] = f"by {labels[rival]}"
    found = placed.merge(chosen, compat="override", join="left")
    found = found.assign(note=(placed["against"].dims, notes))
    return found.assign_attrs({**summary.attrs, "section": "frontier"})
