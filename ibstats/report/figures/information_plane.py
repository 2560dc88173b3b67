"""The information plane of whole images: what is left open given the text, and what is told of it.

Paper, eq. 1-2: H(Z|X) is the diversity of a prompt's images, I(X;Z) what they keep of their prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ibstats.quantities import quantity
from ibstats.report.figures.canvas import (
    SMALL,
    Point,
    legend,
    look,
    lowest,
    note,
    point,
    stack,
)
from ibstats.report.figures.source import Source
from ibstats.report.tables.whole_image import among
from ibstats.results.lookup import distinct
from schemas.rescored import STUDY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from schemas.results import ResultRow

ACROSS, UP = "grid_conditional", "prompt_information"
"""Quantities of the axes; where they are only bounded, `_lower` and `_upper` stand for them."""

CAP = f"{UP}_cap"

CARET_UP, CARET_RIGHT = "^", ">"
"""Markers of a number that nothing bounds from above."""

BOXES = "boxes: between bounds, lines their intervals, arrows join middles"
CARETS = "carets: no finite upper bound"
"""What must be known of cells that are not points."""


class Span(NamedTuple):
    """Where a number of bits lies: between two bounds, which are one where it is known.

    Without an upper bound `high` is None.
    """

    low: Point
    high: Point | None

    @property
    def ends(self) -> tuple[float, float]:
        """Both bounds; twice the lower one where there is no upper one."""
        if self.high is None:
            return self.low.estimate, self.low.estimate
        return self.low.estimate, self.high.estimate

    @property
    def middle(self) -> float:
        """The number itself where it is known."""
        return sum(self.ends) / 2

    @property
    def lengths(self) -> tuple[float, float]:
        """How far the intervals of the bounds reach out of them."""
        if self.high is None:
            return self.low.estimate - self.low.low, 0.0
        below, above = self.low.estimate - self.low.low, self.high.high - self.high.estimate
        return max(below, 0.0), max(above, 0.0)

    def within(self, least: float, most: float) -> Span:
        """The part of it that can be; `most` bounds it where nothing else does."""
        high = self.high
        if high is None:
            high = Point(most, most, most)
        return Span(_limited(self.low, least, most), _limited(high, least, most))


def _limited(one: Point, least: float, most: float) -> Point:
    return Point(*np.clip(one, least, most).tolist())


class Cell(NamedTuple):
    """A condition on the plane."""

    condition: str
    across: Span
    up: Span

    @property
    def is_known(self) -> bool:
        """Whether both numbers are known, not only bounded."""
        return self.across.low == self.across.high and self.up.low == self.up.high


class Plane(NamedTuple):
    """One model: its cells, the baseline first; the most that so many texts can show.

    `rows` are those that it is drawn from.
    """

    texts: str
    cells: Sequence[Cell]
    cap: float
    rows: Sequence[ResultRow]


def figures(source: Source) -> Iterator[tuple[str, Figure]]:
    """Name and figure: `information-plane`, of models whose images were scored under other texts.

    None where no model has a place for its condition without intervention.
    """
    found = planes(source)
    if found:
        yield "information-plane", _drawn(source, found)


def planes(source: Source) -> dict[str, Plane]:
    """By model, its cells among the texts that can show the most; models without are left out."""
    found = {}
    for model in source.models:
        of = {"experiment": source.experiment, "model": model}
        caps = {}
        for row in source.numbers.all("whole_image", quantity=CAP, **of):
            caps[row.part] = row.estimate or 0.0
        for part in sorted(caps, key=caps.__getitem__, reverse=True):
            cells = _cells(source, model, part, caps[part])
            if cells:
                rows = source.numbers.all("whole_image", part=part, **of)
                found[model] = Plane(among(part), cells, caps[part], rows)
                break
    return found


def _cells(source: Source, model: str, part: str | None, cap: float) -> list[Cell]:
    """The baseline, then each condition that an arrow goes to; empty without the baseline.

    Of prompts that are equally likely the cap holds for I(X;Z) itself, whatever its bounds are.
    """
    baseline = source.numbers.baseline(source.experiment)
    of = {"experiment": source.experiment, "model": model, "part": part}
    found = []
    for condition in _arms(source):
        rows = source.numbers.all("whole_image", condition=condition, **of)
        across, up = _span(rows, ACROSS), _span(rows, UP)
        if up is not None and part == STUDY:
            up = up.within(0.0, cap)
        if across is not None and up is not None:
            found.append(Cell(condition, across, up))
        elif condition == baseline:
            return []
    return found


def _arms(source: Source) -> list[str]:
    """The baseline, then each probe alone; every other condition where there are no probes."""
    baseline = source.numbers.baseline(source.experiment)
    if baseline is None:
        return []
    probed = distinct(source.numbers.all("probe", experiment=source.experiment), "condition")
    found = [baseline]
    for condition in source.design.conditions:
        if condition.name != baseline and (not probed or condition.name in probed):
            found.append(condition.name)
    return found


def _span(rows: Sequence[ResultRow], name: str) -> Span | None:
    """A quantity of one condition, of the most paths; None where nothing is known of it."""
    by = {}
    for row in sorted(rows, key=lambda row: row.paths or 0):
        by[row.quantity] = row
    exact = point(by.get(name))
    if exact is not None:
        return Span(exact, exact)
    low = point(by.get(f"{name}_lower"))
    if low is None:
        return None
    return Span(low, point(by.get(f"{name}_upper")))


def _drawn(source: Source, found: Mapping[str, Plane]) -> Figure:
    """A panel a model; conditions look alike in all of them."""
    looks: dict[str, tuple[str, str]] = {}
    for plane in found.values():
        for cell in plane.cells:
            looks.setdefault(cell.condition, look(len(looks)))
    figure, panels = stack(len(found), 1.75, 0.55 + 0.08 * len(looks))
    rows: list[ResultRow] = []
    for panel, (model, plane) in zip(panels, found.items(), strict=True):
        _plane(panel, plane, looks)
        panel.set_title(f"{model}, among {plane.texts}", loc="left")
        panel.set_ylabel(_named(UP))
        rows += plane.rows
    for panel in lowest(panels):
        panel.set_xlabel(_named(ACROSS))
    _legend(figure, source, looks)
    return note(figure, "; ".join([source.extent(rows), *_explained(found)]))


def _explained(found: Mapping[str, Plane]) -> list[str]:
    """What cells mean that are not points, where there are such."""
    said: dict[str, None] = {}
    for plane in found.values():
        for cell in plane.cells:
            if not cell.is_known:
                said[BOXES] = None
            if None in (cell.across.high, cell.up.high):
                said[CARETS] = None
    return sorted(said)


def _named(name: str) -> str:
    return f"{quantity(name).short}, bits per image"


def _plane(axes: Axes, plane: Plane, looks: Mapping[str, tuple[str, str]]) -> None:
    """Zero and the cap, the cells, and an arrow from the first to each of the others."""
    axes.axhline(0, color="0.85", lw=0.6, zorder=0)
    axes.axhline(plane.cap, color="0.5", ls="--", lw=0.8, zorder=0)
    for cell in plane.cells:
        _cell(axes, cell, *looks[cell.condition])
    axes.autoscale_view()
    start = plane.cells[0]
    for cell in plane.cells[1:]:
        there = (cell.across.middle, cell.up.middle)
        origin = (start.across.middle, start.up.middle)
        if there != origin:
            colour, _ = looks[cell.condition]
            arrow: dict[str, Any] = {"arrowstyle": "->", "color": colour, "lw": 0.7}
            axes.annotate(
                "", xy=there, xytext=origin, arrowprops=arrow | {"shrinkA": 2, "shrinkB": 2}
            )


def _cell(axes: Axes, cell: Cell, colour: str, marker: str) -> None:
    """A point where both numbers are known, else a box between the bounds; with the intervals."""
    from matplotlib.patches import Rectangle

    left, right = cell.across.ends
    bottom, top = cell.up.ends
    x, y = cell.across.middle, cell.up.middle
    shown: dict[str, Any] = {"color": colour, "lw": 0.8}
    for start, end in _whiskers(cell.across):
        axes.plot([start, end], [y, y], **shown)
    for start, end in _whiskers(cell.up):
        axes.plot([x, x], [start, end], **shown)
    if cell.is_known:
        axes.plot([x], [y], marker, color=colour, ms=3.6)
    else:
        corner, width, height = (left, bottom), right - left, top - bottom
        axes.add_patch(Rectangle(corner, width, height, fc=(colour, 0.25), ec=colour, lw=0.8))
    if cell.up.high is None:
        axes.plot([x], [bottom], CARET_UP, color=colour)
    if cell.across.high is None:
        axes.plot([left], [y], CARET_RIGHT, color=colour)


def _whiskers(span: Span) -> Iterator[tuple[float, float]]:
    """From each bound out to the end of its interval."""
    low, high = span.ends
    below, above = span.lengths
    yield low - below, low
    yield high, high + above


def _legend(figure: Figure, source: Source, looks: Mapping[str, tuple[str, str]]) -> None:
    """What conditions look like, and the line."""
    from matplotlib.lines import Line2D

    handles, labels = [], []
    for name, (colour, marker) in looks.items():
        handles.append(Line2D([], [], marker=marker, color=colour, lw=0.8, ms=3.6))
        labels.append(source.numbers.short(source.experiment, name))
    handles.append(Line2D([], [], color="0.5", ls="--", lw=0.8))
    labels.append("cap: most that so many texts can show")
    legend(figure, handles, labels, size=SMALL)
