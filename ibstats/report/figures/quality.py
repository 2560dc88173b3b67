"""Figures of quality: what each probe does to every score (Fig. 3), diversity against quality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ibstats.quantities import quantity
from ibstats.report.figures.canvas import (
    COLOURS,
    MARKERS,
    SMALL,
    Point,
    beside,
    beside_height,
    estimates,
    legend,
    legend_of,
    lines,
    look,
    lowest,
    note,
    placed,
    stack,
    whiskers,
)
from ibstats.report.figures.factorial import probes_and_baseline
from ibstats.report.figures.source import Source, across, axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Look = tuple[str, str]
"""Colour and marker."""


class Place(NamedTuple):
    """A condition between diversity and quality.

    Each with its interval, in its own unit.
    """

    condition: str
    diversity: Point
    score: Point
    dominated: bool


def figures(source: Source) -> Iterator[tuple[str, Figure]]:
    """Name and figure: one of the probes, and one of each score against the preferred distance.

    None where no quality was measured.
    """
    scores = source.measured("quality")
    probed = source.numbers.quantities("quality_probe", experiment=source.experiment)
    names = [one.name for one in probed if one.name in scores]
    if names:
        yield "quality-probes", _probes(source, names)
    distance = source.chosen("diversity", "distance")
    for score in scores:
        found = places(source, score, distance)
        if distance is not None and found:
            yield f"frontier-{score}", frontier(source, score, distance, found)


def places(source: Source, score: str, distance: str | None) -> dict[str, list[Place]]:
    """By model, the conditions with a place between a distance and a score.

    A condition has one if there are rows of its diversity, its quality and its verdict. A model
    without such conditions is left out.
    """
    found: dict[str, list[Place]] = {}
    for model in source.models:
        for condition in source.design.conditions:
            of = {"model": model, "condition": condition.name}
            fields = {"quantity": score, "distance": distance, "experiment": source.experiment}
            row = source.numbers.one("frontier", **of, **fields)
            x = source.point("diversity", quantity=distance, **of)
            y = source.point("quality", quantity=score, **of)
            if row is not None and x is not None and y is not None:
                place = Place(condition.name, x, y, row.verdict != "frontier")
                found.setdefault(model, []).append(place)
    return found


def frontier(
    source: Source, score: str, distance: str, found: Mapping[str, Sequence[Place]]
) -> Figure:
    """Diversity against one score, one panel a model; `found` are the `places` of these two.

    Better is up and right, dominated conditions are hollow, and a line joins the conditions that no
    other one dominates.
    """
    looks = _looks(source)
    there = set()
    for of_model in found.values():
        for place in of_model:
            there.add(place.condition)
    shown = [condition for condition in source.design.conditions if condition.name in there]
    figure, panels = stack(len(found), 1.55, 0.75 + 0.06 * len(shown))
    for panel, (model, one) in zip(panels, found.items(), strict=True):
        _frontier(panel, one, looks)
        if quantity(score).better == "smaller":
            panel.invert_yaxis()
        panel.set_title(model, loc="left")
        panel.set_ylabel(_score_name(score))
    for panel in lowest(panels):
        panel.set_xlabel(lines(axis(distance), 48))
    shown_looks = [looks[condition.name] for condition in shown]
    _frontier_legend(figure, source.named(shown), shown_looks)
    return note(figure, source.size("quality", quantities=[score]))


def _probes(source: Source, scores: Sequence[str]) -> Figure:
    """Scores of the baseline and of each probe alone, one panel a score."""
    models = source.numbers.models("quality", experiment=source.experiment)
    from matplotlib.ticker import MaxNLocator

    figure, panels = stack(len(scores), 1.05, 0.5 + beside_height(models), sharex=True)
    for panel, score in zip(panels, scores, strict=True):
        arms = probes_and_baseline(source, "quality_probe", score)
        found = source.points("quality", score, arms.values(), models)
        for number, (arm, points) in enumerate(across(found, arms).items()):
            there = placed(points, (number - (len(arms) - 1) / 2) * 0.8 / len(arms))
            if not there:
                continue
            colour, marker = look(number)
            panel.errorbar(
                list(there),
                estimates(there.values()),
                whiskers(there.values()),
                fmt=marker,
                color=colour,
                ms=3,
                lw=0.9,
                label=arm,
            )
        panel.set_ylabel(_score_name(score))
        panel.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        panel.set_xlim(-0.5, len(models) - 0.5)
        beside(panel, models)
    figure.align_ylabels()
    legend_of(figure, *panels)
    return note(figure, source.size("quality_probe", quantities=scores))


def _frontier(axes: Axes, found: Sequence[Place], looks: Mapping[str, Look]) -> None:
    best = sorted(one[1:3] for one in found if not one.dominated)
    if best:
        x, y = map(estimates, zip(*best, strict=True))
        axes.plot(x, y, color="0.75", lw=0.8, zorder=0)
    for place in found:
        colour, marker = looks[place.condition]
        axes.errorbar(
            place.diversity.estimate,
            place.score.estimate,
            xerr=whiskers([place.diversity]),
            yerr=whiskers([place.score]),
            fmt=marker,
            color=colour,
            mfc="white" if place.dominated else colour,
            ms=3.6,
            lw=0.7,
        )


def _frontier_legend(figure: Figure, names: Sequence[str], looks: Sequence[Look]) -> None:
    """What conditions look like, by their names, and what hollow markers and the line mean."""
    from matplotlib.lines import Line2D

    handles, labels = [], []
    for name, (colour, marker) in zip(names, looks, strict=True):
        handles.append(Line2D([], [], ls="", ms=3.6, marker=marker, color=colour))
        labels.append(name.replace("\n", " "))
    handles.append(Line2D([], [], ls="", ms=3.6, marker="o", mfc="white", color="0.4"))
    handles.append(Line2D([], [], color="0.75", lw=0.8))
    labels += ["hollow: dominated", "frontier"]
    legend(figure, handles, labels, place="lower center", size=SMALL)


def _looks(source: Source) -> dict[str, Look]:
    """What each condition looks like: colours in order, another marker when they begin again.

    Of cells that share a colour the levels of all factors but the first are the same.
    """
    paired: dict[str, Look] = {}
    cycled: dict[str, Look] = {}
    colours: dict[tuple[str, ...], int] = {}
    high = source.design.factors[0].high if source.design.factors else ""
    for number, condition in enumerate(source.design.conditions):
        marker = MARKERS[number // len(COLOURS) % len(MARKERS)]
        cycled[condition.name] = COLOURS[number % len(COLOURS)], marker
        first, *rest = [*condition.levels.values(), ""]
        place = colours.setdefault(tuple(rest), len(colours))
        paired[condition.name] = COLOURS[place % len(COLOURS)], MARKERS[first == high]
    apart = len(set(paired.values())) == len(paired)
    if apart:
        return paired
    return cycled


def _score_name(score: str) -> str:
    record = quantity(score)
    return lines(f"{record.short} {record.arrow}", 15)
