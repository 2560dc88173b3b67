"""Figures of a factorial: cells, probes, waterfalls, effects, interactions, codes by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ibstats.report.figures.canvas import (
    COLOURS,
    HATCHES,
    SMALL,
    Point,
    beside,
    beside_height,
    canvas,
    dots,
    dots_height,
    estimates,
    legend_of,
    lines,
    look,
    note,
    panel_height,
    placed,
    point,
    save,
    stack,
    style,
    whiskers,
)
from ibstats.report.figures.source import Series, Source, across, axis, with_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from schemas.results import ResultRow

WHOLE = {"baseline": "all low", "predicted": "additive", "actual": "all high"}
"""Steps of a waterfall that are values, not changes, and what a figure calls them."""
STEPS = {**WHOLE, "gap": "synergy\ngap"}
"""Steps of a waterfall that are no factor, and what a figure calls them."""

FACETINGS = {2: ((0, 1, 0), (1, 0, 1)), 3: ((0, 1, 2), (1, 2, 0), (2, 1, 0))}
"""By number of factors, those that make facets, the horizontal axis and the lines, row by row."""

MAPS = {
    "positions": {"collision_conditional": "H2(Z|X), bit", "collision_information": "I2, bit"},
    "positions-shannon": {"codebook_entropy": "H(Z), bit", "conditional_entropy": "H(Z|X), bit"},
}
"""By figure, what is shown of each position of the grid, where there is anything to see."""

LETTERS_UP = 20
"""Letters that stand on an inch of a vertical axis."""

UNSEEN = "0.8"
"""Grey of positions whose number rests on codes that were not seen."""

PROMPTS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Numbers of prompts that an axis of power may name."""


def figures(source: Source) -> Iterator[tuple[str, Figure]]:
    """Name and figure of everything that there are rows for, one by one.

    Of each distance `cells`, `probes`, `waterfall` (also with levels held, where the rows have
    such), `forest` and an `interaction` of each model; then `positions` and
    `positions-shannon`.
    """
    experiment = source.experiment
    for quantity in source.measured("diversity"):
        of = {"experiment": experiment, "quantity": quantity}
        yield f"cells-{quantity}", _cells(source, quantity)
        if source.numbers.all("probe", **of):
            yield f"probes-{quantity}", _probe_bars(source, quantity)
        for name, at in _held(source, quantity).items():
            yield f"waterfall-{name}{quantity}", _waterfalls(source, quantity, at)
        if source.numbers.all("effect", **of):
            yield f"forest-{quantity}", _forest(source, quantity)
        if len(source.design.factors) in FACETINGS:
            for model in source.numbers.models("diversity", **of):
                yield f"interaction-{model}-{quantity}", _interaction(source, model, quantity)
    maps = _maps(source)
    for figure, wanted in MAPS.items():
        shown = {name: label for name, label in wanted.items() if _is_seen(maps, name)}
        if shown:
            yield figure, _positions(source, maps, shown)


def probes_and_baseline(source: Source, section: str, quantity: str) -> dict[str, str | None]:
    """Conditions of the baseline and of each probe, by what a legend calls them, baseline first.

    The probes are those of the rows of a section, `probe` or `quality_probe`, of that quantity. The
    condition is None where the design has no baseline or a row names none.
    """
    rows = source.numbers.all(section, experiment=source.experiment, quantity=quantity)
    arms: dict[str, str | None] = {"baseline": source.numbers.baseline(source.experiment)}
    for row in rows:
        arms.setdefault(row.effect or row.term, row.condition)
    return arms


def grid(
    axes: Axes, values: np.ndarray, low: float | None = None, high: float | None = None
) -> Any:
    """Draw values of a grid `(row, col)` as coloured cells, the first row on top.

    `low` and `high` are the ends of the colours, by default those of the values. Returns what a
    colour bar is made of. Every cell is a shape, so that no file blurs them; NaN is grey.
    """
    axes.set_facecolor(UNSEEN)
    drawn = axes.pcolormesh(
        np.ma.masked_invalid(values),
        cmap="cividis",
        vmin=low,
        vmax=high,
        edgecolors="face",
        linewidth=0.1,
    )
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    return drawn


def draw_power(
    power: xr.Dataset, target: float, stem: Path, formats: Sequence[str] = ("png",)
) -> list[Path]:
    """Draw power against prompts, a line per number of images; the files.

    Parameters: `power (n_prompts, n_images)`, whose attributes `goal` and `size` say of what; the
    power wanted, a dashed line; the path of the files without its ending; kinds of files.
    """
    with style():
        figure, panels = canvas(2.4)
        panel = panels[0, 0]
        for number, n_images in enumerate(power["n_images"].values):
            colour, marker = look(number)
            panel.plot(
                power["n_prompts"].values,
                power["power"].sel(n_images=n_images).values,
                marker=marker,
                ms=2.5,
                color=colour,
                label=f"{n_images} images",
            )
        panel.axhline(target, color="0.5", lw=0.6, ls="--")
        panel.set_xscale("log")
        most = power["n_prompts"].values.max()
        ticks = [n for n in PROMPTS if n <= most]
        panel.set_xticks(ticks, ticks)
        panel.minorticks_off()
        panel.set_ylim(0, 1.03)
        panel.set_xlabel("prompts")
        panel.set_ylabel(f"power, {power.attrs['goal']} {power.attrs['size']:g}")
        legend_of(figure, panel)
        return save(figure, stem, formats)


def _cells(source: Source, quantity: str) -> Figure:
    """Diversity of every condition, all models."""
    n_conditions = len(source.conditions("diversity", quantity=quantity))
    figure, panels = canvas(0.55 + dots_height(n_conditions, len(source.models)))
    draw_cells(panels[0, 0], source, quantity)
    figure.supxlabel(lines(axis(quantity), 60))
    legend_of(figure, panels[0, 0])
    return note(figure, source.size("diversity", quantities=[quantity]))


def draw_cells(axes: Axes, source: Source, quantity: str) -> None:
    """Draw the diversity of every condition, a series a model; labels stand at the conditions.

    `quantity` is a distance by its name in results.
    """
    conditions = source.conditions("diversity", quantity=quantity)
    names = [condition.name for condition in conditions]
    dots(axes, source.points("diversity", quantity, names), source.named(conditions))
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))


def _forest(source: Source, quantity: str) -> Figure:
    """Main effects and interactions, all models; those of a part of the design name its levels."""
    rows = source.numbers.all("effect", experiment=source.experiment, quantity=quantity)
    n_effects = len(dict.fromkeys(map(_effect_name, rows)))
    figure, panels = canvas(0.55 + 1.15 * dots_height(n_effects, len(source.models)))
    draw_changes(panels[0, 0], source, quantity, "effect")
    figure.supxlabel(lines(axis(quantity, "effect on "), 60))
    legend_of(figure, panels[0, 0])
    return note(figure, source.size("effect", quantities=[quantity]))


def draw_changes(axes: Axes, source: Source, quantity: str, section: str) -> None:
    """Draw tested differences of a section (`effect`, `contrast`, `probe`), a series a model.

    A line stands at no difference. `quantity` is a distance by its name in results.
    """
    rows = source.numbers.all(section, experiment=source.experiment, quantity=quantity)
    known: dict[str, dict[str, Any]] = {}
    for row in rows:
        known.setdefault(_effect_name(row), {"effect": row.effect, "at": row.at})
    series: Series = {}
    for model in source.models:
        series[model] = []
        for fields in known.values():
            series[model].append(source.point(section, model=model, quantity=quantity, **fields))
    dots(axes, series, list(known))
    axes.axvline(0, color="0.4", lw=0.6, zorder=0)


def _effect_name(row: ResultRow) -> str:
    """An effect in lines, a factor each, then the levels held."""
    factors = (row.effect or row.term).replace("_", " ").split(":")
    name = " ×\n".join(map(lines, factors))
    for factor, level in row.at.items():
        name += f"\n({lines(f'{factor} = {level}')})"
    return name


def _probe_bars(source: Source, quantity: str) -> Figure:
    """Diversity of the baseline and of each probe alone (paper, Fig. 2)."""
    arms = probes_and_baseline(source, "probe", quantity)
    models = list(with_points(source.points("diversity", quantity, arms.values())))
    figure, panels = canvas(2.2 + beside_height(models))
    draw_probes(panels[0, 0], source, quantity)
    panels[0, 0].set_ylabel(lines(axis(quantity), 26))
    legend_of(figure, panels[0, 0])
    return note(figure, source.size("diversity", quantities=[quantity]))


def draw_probes(axes: Axes, source: Source, quantity: str) -> None:
    """Draw the diversity of the baseline and of each probe alone as bars, a group a model.

    `quantity` is a distance by its name in results.
    """
    arms = probes_and_baseline(source, "probe", quantity)
    found = with_points(source.points("diversity", quantity, arms.values()))
    width = 0.8 / len(arms)
    for number, (arm, points) in enumerate(across(found, arms).items()):
        colour, _ = look(number)
        there = placed(points, (number - (len(arms) - 1) / 2) * width)
        if not there:
            continue
        heights = estimates(there.values())
        filled: dict[str, Any] = {"hatch": HATCHES[number % len(HATCHES)], "edgecolor": "white"}
        axes.bar(list(there), heights, width * 0.92, color=colour, label=arm, lw=0, **filled)
        error = whiskers(there.values())
        axes.errorbar(list(there), heights, yerr=error, fmt="none", color="0.15", lw=0.8)
        for place, height in zip(there, heights, strict=True):
            if height == 0:
                axes.annotate("0", (place, 0), ha="center", va="bottom", color=colour)
    beside(axes, list(found))


def _held(source: Source, quantity: str) -> dict[str, dict[str, str]]:
    """The levels held in the waterfalls of a quantity, by what they add to the name of a file."""
    rows = source.numbers.all("waterfall", experiment=source.experiment, quantity=quantity)
    known: dict[str, dict[str, str]] = {}
    for row in rows:
        name = "-".join([*row.at.values(), ""])
        known.setdefault(name, row.at)
    return known


def _waterfalls(source: Source, quantity: str, at: Mapping[str, str]) -> Figure:
    """Marginal effects added from the all-low to the all-high cell (Fig. 8 to 10), by model."""
    steps = {}
    for model in source.models:
        found = waterfall_steps(source, model, quantity, at)
        if found:
            steps[model] = found
    n_panels = max(len(steps), 1)
    figure, panels = stack(n_panels, 1.55, 0.35)
    for panel, (model, points) in zip(panels, steps.items(), strict=False):
        draw_waterfall(panel, points)
        panel.set_title(model, loc="left")
    name = axis(quantity)
    for factor, level in at.items():
        name += f", at {factor} = {level}"
    figure.supylabel(lines(name, int(LETTERS_UP * figure.get_size_inches()[1])))
    return note(figure, source.size("waterfall", quantities=[quantity]))


def waterfall_steps(
    source: Source, model: str, quantity: str, at: Mapping[str, str]
) -> dict[str, Point | None]:
    """Give the steps of a model's waterfall of marginal effects, in order, with levels held `at`.

    Empty where there is none; `quantity` is a distance by its name in results.
    """
    wanted = {"quantity": quantity, "attribution": "marginal", "at": dict(at)}
    found: dict[str, Point | None] = {}
    of = {"model": model, "experiment": source.experiment, **wanted}
    for row in source.numbers.all("waterfall", **of):
        found[row.step or row.term] = point(row)
    return found


def draw_waterfall(axes: Axes, steps: Mapping[str, Point | None]) -> None:
    """Draw bars of values and floating bars of the changes between them.

    `steps` are those of `waterfall_steps`; an undefined one leaves a gap.
    """
    wholes = placed(steps.get(name) for name in WHOLE)
    top = max(estimates(wholes.values()), default=0.0) or 1e-12
    digits = max(1, 2 - floor(log10(abs(top))))
    level = 0.0
    for x, (step, one) in enumerate(steps.items()):
        if one is None:
            continue
        whole = step in WHOLE
        bottom, colour = level, COLOURS[2]
        if whole:
            bottom, colour = 0.0, COLOURS[0]
        elif one.estimate < 0:
            colour = COLOURS[1]
        end = bottom + one.estimate
        axes.bar(x, one.estimate, 0.66, bottom=bottom, color=colour)
        axes.errorbar(x, end, yerr=whiskers([one]), fmt="none", color="0.15", lw=0.8)
        reach = max(bottom, end, end + one.high - one.estimate)
        axes.annotate(
            _signed(one.estimate, digits, plus=not whole),
            (x, reach),
            xytext=(0, 1.5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=SMALL,
        )
        if x + 1 < len(steps):
            axes.plot([x + 0.33, x + 0.67], [end, end], color="0.5", lw=0.5)
        level = end
        top = max(top, reach)
    axes.set_ylim(top=top * 1.16)
    names = [STEPS.get(step) or lines(step.replace("_", " "), 8) for step in steps]
    axes.set_xticks(range(len(steps)), names, fontsize=SMALL - 0.7)


def _signed(value: float, digits: int, *, plus: bool) -> str:
    """A number for a figure, with its sign if `plus`; what rounds to zero has none."""
    if round(value, digits) == 0:
        return f"{0:.{digits}f}"
    sign = "+" if plus else ""
    return f"{value:{sign}.{digits}f}"


def _interaction(source: Source, model: str, quantity: str) -> Figure:
    """Diversity of the cells as profiles, each factor the facet once (Fig. 11 to 13)."""
    facetings = FACETINGS[len(source.design.factors)]
    n_rows = len(facetings)
    figure, panels = canvas(0.4 + 1.4 * n_rows, rows=n_rows, columns=2, sharey=True)
    known: dict[frozenset[tuple[str, str]], Point | None] = {}
    for condition in source.design.conditions:
        of = {"model": model, "quantity": quantity, "condition": condition.name}
        known[frozenset(condition.levels.items())] = source.point("diversity", **of)
    for row, faceting in zip(panels, facetings, strict=True):
        facet, along, line = (source.design.factors[number] for number in faceting)
        alone = facet == line
        for panel, at in zip(row, (facet.low, facet.high), strict=True):
            for number, level in enumerate((line.low, line.high)):
                if alone and level != at:
                    continue
                cell = {facet.name: at, line.name: level}
                points = []
                for x in (along.low, along.high):
                    points.append(known.get(frozenset({**cell, along.name: x}.items())))
                _profile(panel, points, number, level)
            panel.set_xticks([0, 1], [along.low, along.high])
            panel.set_xlim(-0.35, 1.35)
            panel.set_title(at)
            panel.set_xlabel(along.name.replace("_", " "))
        row[0].set_ylabel("diversity")
        if not alone:
            _legend_of_row(row, line.name.replace("_", " "))
    figure.suptitle(lines(f"{model}, {axis(quantity)}", 60))
    return note(figure, source.size("diversity", quantities=[quantity]))


def _profile(axes: Axes, points: Sequence[Point | None], number: int, label: str) -> None:
    colour, marker = look(number)
    there = placed(points, (number - 0.5) * 0.06)
    if there:
        heights = estimates(there.values())
        error = whiskers(there.values())
        axes.errorbar(list(there), heights, error, marker=marker, color=colour, ms=3, label=label)


def _legend_of_row(row: Sequence[Axes], title: str) -> None:
    """A legend of the series in two panels, to the right of them."""
    handles, labels = row[1].get_legend_handles_labels()
    if not handles:
        handles, labels = row[0].get_legend_handles_labels()
    if handles:
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
        row[1].legend(handles, labels, title=title, fontsize=6.5, **place)


def _maps(source: Source) -> dict[str, xr.Dataset]:
    """By model, the entropies of each position `(row, col)` in the baseline or first condition."""
    found = {}
    shown = source.numbers.baseline(source.experiment)
    for model in source.models:
        group = source.group(model, "positions")
        if group is not None:
            names = group["condition"].values.tolist()
            found[model] = group.sel(condition=shown if shown in names else names[0])
    return found


def _is_seen(maps: Mapping[str, xr.Dataset], name: str) -> bool:
    """Whether every model has that map, and one of them a number in it."""
    if not maps or any(name not in data for data in maps.values()):
        return False
    return any(bool(data[name].notnull().any()) for data in maps.values())


def _positions(source: Source, found: Mapping[str, xr.Dataset], shown: Mapping[str, str]) -> Figure:
    """Some maps of each grid position in the baseline, a row of panels a model.

    Shannon's entropies are grey where they rest on codes that were not seen.
    """
    height = panel_height(1.25, len(found))
    figure, panels = canvas(height * len(found) + 0.7, rows=len(found), columns=len(shown))
    lacks = False
    for column, (name, label) in zip(panels.T, shown.items(), strict=True):
        grids = [data[name].transpose("row", "col").values for data in found.values()]
        values = np.concatenate(list(map(np.ravel, grids)))  # grids may differ in their size
        lacks = lacks or bool(np.isnan(values).any())
        for panel, one in zip(column, grids, strict=True):
            drawn = grid(panel, one, np.nanmin(values), np.nanmax(values))
        figure.colorbar(drawn, ax=list(column), label=label, shrink=0.85, location="bottom")
    for panel, model in zip(panels[:, 0], found, strict=True):
        panel.set_ylabel(lines(model, 18))
    condition = str(next(iter(found.values()))["condition"].values)
    said = source.numbers.short(source.experiment, condition)
    if lacks:
        said += "; grey: rests on codes that were not seen"
    figure.suptitle(lines(said, 60))
    return note(figure, source.size("information", intervals=False))
