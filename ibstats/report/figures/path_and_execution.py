"""Figures of path and execution: sources of diversity, entropy by step, order, surprisal."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ibstats.analysis.measured import metrics_of
from ibstats.errors import IbstatsError, MissingImages, Unmeasurable
from ibstats.measure import Distance, Machine, distances
from ibstats.quantities import quantity
from ibstats.report.figures.canvas import (
    Point,
    canvas,
    check_formats,
    dots,
    dots_height,
    legend_of,
    lines,
    look,
    note,
    panel_height,
    point,
    save,
    style,
)
from ibstats.report.figures.factorial import grid
from ibstats.report.figures.source import axis
from ibstats.results import words
from ibstats.selection import crossed
from ibstats.statistics.diversity import mean_pairwise
from ibstats.statistics.path_and_execution import (
    RENDERING,
    crossed_components,
    ledger,
    paraphrase_budget,
)
from ibstats.statistics.profiles import commit_map, rank_correlation, step_profile
from ibstats.statistics.uncertainty import Resampling, mean_interval
from schemas.analysis import Config

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ibstats.selection import Selection

BUDGET = ("path", "execution", "interaction", RENDERING, "paraphrase")
"""Variance components of diversity without intervention, in the order of a figure."""

SURPRISAL = ("token_surprisal", "token_entropy", "text_index")
"""Variables that bits of an image are made of."""


def draw_path_and_execution(
    selections: Sequence[Selection],
    settings: Config,
    machine: Machine,
    folder: Path,
    formats: Sequence[str] = ("png",),
    columns: int = 1,
) -> list[Path]:
    """Draw everything on path and execution that there is data for, as `ledger-NAME`; the files.

    Parameters: one selection a model; settings, of which the metrics asked for (else each model's
    preferred one that can be had) and the resampling of intervals count; where distances are
    measured; the folder, made if it is not there; kinds of files; columns of a page that a figure
    spans, 1 or 2. Everything is of the baseline: a
    selection without one is left out, and so is a figure without its variables. Raises Unmeasurable
    if a metric asked for cannot be had, unless for want of images.
    """
    check_formats(formats)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with style(columns):
        for name, figure in figures(selections, settings, machine):
            files += save(figure, folder / f"ledger-{name}", formats)
    return files


def figures(
    selections: Sequence[Selection], settings: Config, machine: Machine
) -> Iterator[tuple[str, Figure]]:
    """Name and figure, one by one: `budget`, `steps`, `order`, `surprisal`.

    What is of a distance names it where there are several. Parameters and errors are those of
    `draw_path_and_execution`.
    """
    there = [selection for selection in selections if selection.design.baseline is not None]
    colours: dict[str, int] = {}
    for selection in there:
        colours[selection.model] = len(colours)
    found = _budgets(there, settings, machine)
    for name, parts in found.items():
        figure = _diversity_budget(parts, name)
        level = f"{settings.resampling.level:.0%} intervals over prompts"
        said = f"{_size(_crossings(there, parts))}; {level}"
        yield _of_distance("budget", name, found), note(figure, said)
    profiles, maps = {}, {}
    for selection in there:
        if selection.has("token_surprisal") and selection.has("token_entropy"):
            profiles[selection.model] = step_profile(selection.dataset, _baseline(selection))
        if selection.has("token_step"):
            maps[selection.model] = commit_map(selection.dataset, _baseline(selection))
    if profiles:
        yield "steps", note(_entropy_by_step(profiles, colours), _size(there, profiles))
    if maps:
        yield "order", note(_order_maps(maps), _size(there, maps))
    clouds = _surprisals(there, settings, machine)
    for name, cloud in clouds.items():
        figure = _surprisal_against_diversity(cloud, name, colours, settings.resampling)
        said = f"a point is a prompt; {_size(there, cloud)}"
        yield _of_distance("surprisal", name, clouds), note(figure, said)


def _size(selections: Iterable[Selection], models: Container[str] = ()) -> str:
    """Prompts, images and condition of the selections of some models, of all if none is named."""
    prompts, images, conditions = [], [], []
    for selection in selections:
        if not models or selection.model in models:
            prompts.append(selection.n_prompts)
            images.append(selection.n_samples)
            conditions.append(selection.design.condition(_baseline(selection)).short)
    counts = f"{words.counts(prompts)} prompts × {words.counts(images)} images"
    return f"{counts} in {', '.join(dict.fromkeys(conditions))}"


def _crossings(selections: Iterable[Selection], models: Container[str]) -> Iterator[Selection]:
    """The crossed-noise selections behind the variance components of some models."""
    for selection in selections:
        if selection.model in models:
            partial = selection.allow_partial
            yield from crossed(selection.store, selection.model, allow_partial=partial)


def _of_distance(name: str, distance: str, known: Mapping[str, object]) -> str:
    if len(known) == 1:
        return name
    return f"{name}-{distance}"


def _baseline(selection: Selection) -> str:
    """Name of the condition without intervention; IbstatsError if the design has none."""
    name = selection.design.baseline
    if name is None:
        raise IbstatsError(f"'{selection.experiment}' has no baseline to draw")
    return name


def _measured(
    selection: Selection, settings: Config, machine: Machine, *, embedded: bool = False
) -> Iterator[tuple[str, xr.DataArray]]:
    """Distances `(condition, prompt, sample, sample_other)`, by name.

    They are those asked for, else the preferred one that can be had.

    `embedded`: only distances of an embedding, which have variance components. Raises Unmeasurable
    if one asked for cannot be had, unless for want of images.
    """
    for metric in sorted(metrics_of(selection, settings, machine), key=_rank):
        if embedded and not metric.embedded:
            continue
        try:
            found = distances(selection, metric, each=machine.each)
        except MissingImages:
            continue
        except Unmeasurable:
            if settings.metrics:
                raise
            continue
        yield metric.name, found["distance"]
        if not settings.metrics:
            return


def _rank(metric: Distance) -> float:
    """Preferred distances first, those that nobody ranked last."""
    rank = quantity(metric.name).rank
    if rank is None:
        return inf
    return rank


Parts = Mapping[str, Point | None]


def _budgets(
    selections: Sequence[Selection], settings: Config, machine: Machine
) -> dict[str, dict[str, Parts]]:
    """By distance and model, the variance components of diversity in the baseline, with intervals.

    Path, execution and their interaction are of the crossed-noise experiment, which a model must
    have; the component of the wording is of the condition that changes nothing else.
    """
    how = settings.resampling
    found: dict[str, dict[str, Parts]] = {}
    for selection in selections:
        model, partial = selection.model, selection.allow_partial
        for noise in crossed(selection.store, model, allow_partial=partial):
            if not noise.is_complete or noise.design.baseline is None:
                continue
            for name, distance in _measured(noise, settings, machine, embedded=True):
                parts = _crossed_parts(noise, distance, how)
                found.setdefault(name, {})[model] = parts
        for name, distance in _measured(selection, settings, machine, embedded=True):
            if model in found.get(name, {}):
                wording = _wording(selection, distance, how)
                found[name][model] = {**found[name][model], "paraphrase": wording}
    return found


def _crossed_parts(noise: Selection, distance: xr.DataArray, how: Resampling) -> Parts:
    variance = crossed_components(distance, *noise.crossing, noise.renderings)
    here = mean_interval(variance.sel(condition=[_baseline(noise)]), how).isel(condition=0)
    parts = {}
    for part in map(str, here["component"].values):
        parts[part] = point(here.sel(component=part))
    return parts


def _wording(selection: Selection, distance: xr.DataArray, how: Resampling) -> Point | None:
    """Variance component of the wording; None where no one condition or too few images tell it."""
    if not selection.has("text_index"):
        return None
    try:
        parts = paraphrase_budget(distance, selection.dataset["text_index"], how)
    except IbstatsError:
        return None
    base = selection.design.condition(_baseline(selection)).levels
    alone = []
    for name in map(str, parts["condition"].values):
        levels = selection.design.condition(name).levels
        changed = [factor for factor in levels if levels[factor] != base.get(factor)]
        if len(changed) == 1:
            alone.append(name)
    if len(alone) != 1:
        return None
    return point(parts.sel(part="component", condition=alone[0]))


def _diversity_budget(models: Mapping[str, Parts], distance: str) -> Figure:
    """Variance components of each model with their intervals; an estimate may be negative."""
    series: dict[str, list[Point | None]] = {}
    held = [
        part for part in BUDGET if part != RENDERING or any(part in one for one in models.values())
    ]
    for part in held:
        series[part] = [parts.get(part) for parts in models.values()]
    figure, panels = canvas(0.6 + 1.2 * dots_height(len(models), len(held)))
    panel = panels[0, 0]
    dots(panel, series, [lines(model, 18) for model in models])
    panel.axvline(0, color="0.4", lw=0.6, zorder=0)
    figure.supxlabel(lines(f"variance component, {quantity(distance).long}", 60))
    legend_of(figure, panel)
    return figure


def _entropy_by_step(profiles: Mapping[str, xr.Dataset], colours: Mapping[str, int]) -> Figure:
    """Entropy per token over the share of steps done; path surprisal, where recorded, dotted."""
    figure, panels = canvas(2.4)
    panel = panels[0, 0]
    dotted = False
    for model, profile in profiles.items():
        colour, marker = look(colours[model])
        done = (np.arange(profile.sizes["step"]) + 0.5) / profile.sizes["step"]
        shown: dict[str, Any] = {"color": colour, "marker": marker, "ms": 3, "markevery": 0.12}
        panel.plot(done, profile["token_entropy"].values, label=f"{model}, bits per token", **shown)
        if "path_surprisal" in profile:
            dotted = True
            panel.plot(done, profile["path_surprisal"].values, ls=":", **shown)
    if dotted:
        panel.plot([], [], color="0.4", ls=":", label="dotted: path, bits per step")
    panel.set_xlabel("share of steps")
    panel.set_ylabel("bits")
    legend_of(figure, panel)
    return figure


MOST_COLUMNS = 3


def _order_maps(maps: Mapping[str, xr.DataArray]) -> Figure:
    """Mean step at which each position of the grid was last changed, a panel a model."""
    columns = min(len(maps), MOST_COLUMNS)
    rows = -(-len(maps) // columns)
    height = panel_height(3.2 / max(columns, 2) + 0.35, rows)
    figure, panels = canvas(height * rows + 0.1, rows=rows, columns=columns)
    for panel in panels.ravel()[len(maps) :]:
        panel.set_visible(False)
    for panel, (model, steps) in zip(panels.ravel(), maps.items(), strict=False):
        drawn = grid(panel, steps.transpose("row", "col").values)
        panel.set_title(lines(model, 16))
        figure.colorbar(drawn, ax=panel, shrink=0.8, label="mean step", location="bottom")
    return figure


Cloud = Mapping[str, tuple[xr.DataArray, xr.DataArray]]


def _surprisals(
    selections: Sequence[Selection], settings: Config, machine: Machine
) -> dict[str, dict[str, tuple[xr.DataArray, xr.DataArray]]]:
    """By distance and model, bits of an image and mean distance `(prompt)` in the baseline."""
    found: dict[str, dict[str, tuple[xr.DataArray, xr.DataArray]]] = {}
    for selection in selections:
        if not all(map(selection.has, SURPRISAL)):
            continue
        bits = ledger(selection.every_sample, selection.identity)
        bits = bits.sel(condition=_baseline(selection))
        measured = bits["quantity"].values.tolist()
        name = "joint" if "joint" in measured else "execution_marginal"
        if name not in measured:
            continue
        of_image = bits.sel(quantity=name)
        for name, distance in _measured(selection, settings, machine):
            spread = mean_pairwise(distance.sel(condition=_baseline(selection)))
            found.setdefault(name, {})[selection.model] = (of_image, spread)
    return found


def _surprisal_against_diversity(
    cloud: Cloud, distance: str, colours: Mapping[str, int], how: Resampling
) -> Figure:
    """One point a prompt: bits of its images against their mean distance; the rank correlation."""
    figure, panels = canvas(2.5 + 0.1 * len(cloud))
    panel = panels[0, 0]
    for model, (bits, spread) in cloud.items():
        found = rank_correlation(bits, spread, how)
        label = f"{model}: no rank correlation"
        rho = point(found)
        if rho is not None:
            label = f"{model}: rank correlation {rho.estimate:.2f} [{rho.low:.2f}, {rho.high:.2f}]"
        colour, marker = look(colours[model])
        panel.scatter(bits.values, spread.values, s=8, marker=marker, color=colour, label=label)
    panel.set_xlabel("bits per image")
    panel.set_ylabel(lines(axis(distance), 30))
    legend_of(figure, panel)
    return figure
