"""The framework in one figure of a run (paper, Fig. 1): two pressures, two sources, three probes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ibstats.quantities import preferred, quantity
from ibstats.report.figures.canvas import canvas, dots, dots_height, legend_of, lines, note
from ibstats.report.figures.source import Series, Source, axis
from ibstats.results.lookup import distinct

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHANNON = ("codebook_entropy", "conditional_entropy", "mutual_information")
COLLISION = ("collision_entropy", "collision_conditional", "collision_information")
"""What a code tells in bits per token: all of it, given the prompt, of the prompt."""

SOURCES = ("path_causal", "execution_causal")
"""The bits of an image by source."""

LEAST = 2
"""Panels without which there is no overview."""


@dataclass(frozen=True)
class Panel:
    """One panel: lines of dots, a series a model."""

    title: str
    unit: str
    labels: Sequence[str]
    series: Series


def figures(source: Source) -> Iterator[tuple[str, Figure]]:
    """Name and figure: `overview`, of what a run without intervention holds and what probes change.

    None where the design has no baseline, or fewer than two of three panels have numbers.
    """
    panels = []
    for made in (_pressures(source), _sources(source), _probes(source)):
        if any(point is not None for points in made.series.values() for point in points):
            panels.append(made)
    if source.numbers.baseline(source.experiment) is not None and len(panels) >= LEAST:
        yield "overview", _drawn(source, panels)


def _pressures(source: Source) -> Panel:
    """Entropy of the codes, and what is left of it given the prompt.

    Shannon's, unless they lean on codes that nobody saw.
    """
    base = source.numbers.baseline(source.experiment)
    of = {"experiment": source.experiment, "condition": base}
    names = SHANNON
    rows = source.numbers.all("information", **of)
    if any(row.weak and row.quantity in SHANNON for row in rows):
        names = COLLISION
    title = "compression H(Z), diversity H(Z|X)"
    return _of_baseline(source, "information", names, title, "bits per token")


def _sources(source: Source) -> Panel:
    title = "diversity by source: path, execution"
    return _of_baseline(source, "ledger", SOURCES, title, "bits per image")


def _of_baseline(
    source: Source, section: str, names: Sequence[str], title: str, unit: str
) -> Panel:
    base = source.numbers.baseline(source.experiment)
    series: Series = {}
    for model in source.models:
        series[model] = []
        for name in names:
            of = {"model": model, "quantity": name, "condition": base}
            series[model].append(source.point(section, **of))
    return Panel(title, unit, [quantity(name).short for name in names], series)


def _probes(source: Source) -> Panel:
    """Changes of diversity by each probe alone, by the preferred distance."""
    known = source.numbers.quantities("probe", experiment=source.experiment)
    names = [one.name for one in known]
    name = preferred("distance", names) or "".join(names[:1])
    of = {"experiment": source.experiment, "quantity": name}
    effects = distinct(source.numbers.all("probe", **of), "effect")
    series: Series = {}
    for model in source.models:
        series[model] = []
        for effect in effects:
            one = source.point("probe", model=model, quantity=name, effect=effect)
            series[model].append(one)
    unit = lines(axis(name, "change of "), 60) if name else ""
    return Panel("probes", unit, effects, series)


def _drawn(source: Source, panels: Sequence[Panel]) -> Figure:
    heights = []
    for panel in panels:
        heights.append(0.5 + dots_height(len(panel.labels), len(source.models)))
    figure, axes = canvas(sum(heights) + 0.25, rows=len(panels), height_ratios=heights)
    for one, panel in zip(axes[:, 0], panels, strict=True):
        dots(one, panel.series, panel.labels)
        one.set_title(panel.title, loc="left")
        one.set_xlabel(panel.unit)
        if one.get_xlim()[0] < 0:
            one.axvline(0, color="0.4", lw=0.6, zorder=0)
        else:
            one.set_xlim(left=0)
    legend_of(figure, *axes[:, 0])
    return note(figure, source.size("information", "ledger", "probe"))
