"""Charts that are tables: beside each number its interval on one scale, and a dot a prompt.

Every number is text, so that it is read aloud, copied and found; places are shares of the width of
a cell, so that a chart is as wide as there is room. Colours are those of the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from math import floor, isfinite, log10
from operator import itemgetter

from ibstats.report.render.html import inner
from ibstats.report.table import interval
from schemas.results import ResultRow

HEIGHT = 34
"""Pixels of a drawn cell: dots on top, the interval below."""
LANES = 5
"""Heights at which dots lie, so that equal ones do not hide each other."""
MARGIN = 0.06
"""Share of the width left free on either side."""
COLOURS = 7
"""Colours that the page has for models, one after the other."""


@dataclass(frozen=True)
class Mark:
    """One number of a chart: its row of results, and values by prompt that it is the mean of."""

    row: ResultRow | None
    dots: Sequence[tuple[str, float]] = ()
    """Id of a prompt and its value."""
    opens: Sequence[str] = ()
    """Conditions whose images a dot opens."""


@dataclass(frozen=True)
class Chart:
    """Lines of marks, a column a model, all on one scale."""

    title: str
    head: str
    """What the lines are."""
    models: Sequence[str]
    lines: Sequence[tuple[str, Sequence[Mark]]]
    """By name, a mark a model."""
    digits: int = 3
    marks: bool = True
    """Whether the significance of Holm-adjusted p values is shown."""
    from_zero: bool = field(default=True)
    """Whether zero is on the scale, as it is for changes."""


@dataclass(frozen=True)
class Scale:
    """From values to shares of a width."""

    low: float
    high: float

    def at(self, value: float) -> str:
        """Where a value lies, in percent of the width.

        A value outside of the scale lies at its end.
        """
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * (MARGIN + (1 - 2 * MARGIN) * min(max(share, 0.0), 1.0)):.2f}%"

    def ticks(self) -> list[float]:
        """Round values on the scale, three to six.

        >>> Scale(-0.21, 0.13).ticks()
        [-0.2, -0.1, 0.0, 0.1]
        """
        rough = (self.high - self.low) / 4
        power = 10.0 ** floor(log10(rough))
        step = power
        for times in (1, 2, 5, 10):
            step = times * power
            if step >= rough:
                break
        first = -floor(-self.low / step + 1e-9)
        last = floor(self.high / step + 1e-9)
        return [round(number * step, 10) for number in range(first, last + 1)]


def chart(of: Chart) -> str:
    """A chart as HTML; empty where it has no number.

    Roles are said besides the elements, so that it stays a table where a narrow page shows the
    models below each other.
    """
    marks = [mark for _, of_line in of.lines for mark in of_line]
    scale = _scale(marks, from_zero=of.from_zero)
    if scale is None:
        return ""
    heads = f'<th scope="col" role="columnheader">{escape(of.head)}</th>'
    for number, model in enumerate(of.models):
        tone = number % COLOURS
        heads += f'<th scope="col" role="columnheader" class="m{tone}">{escape(model)}</th>'
    lines = [
        f'<table class="chart" role="table"><caption><strong>{escape(of.title)}</strong></caption>',
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead><tbody role="rowgroup">',
    ]
    for name, of_line in of.lines:
        cells = [f'<th scope="row" role="rowheader">{escape(name)}</th>']
        for number, mark in enumerate(of_line):
            label = f'<span class="column" aria-hidden="true">{escape(of.models[number])}</span>'
            tone = number % COLOURS
            cells.append(f'<td role="cell" class="m{tone}">{label}{_inside(mark, scale, of)}</td>')
        lines.append(f'<tr role="row">{"".join(cells)}</tr>')
    axis = f"<td>{_axis(scale)}</td>" * len(of.models)
    lines.append(f'</tbody><tfoot aria-hidden="true"><tr><td></td>{axis}</tr></tfoot></table>')
    return "".join(lines)


def _scale(marks: Iterable[Mark], *, from_zero: bool) -> Scale | None:
    """The scale on which everything drawn lies; None where nothing is."""
    values = [0.0] if from_zero else []
    n_numbers = 0
    for mark in marks:
        if mark.row is None or mark.row.estimate is None:
            continue
        n_numbers += 1
        for value in (mark.row.estimate, mark.row.low, mark.row.high):
            if value is not None:
                values.append(value)
        values += map(itemgetter(1), mark.dots)
    if not n_numbers:
        return None
    known = list(filter(isfinite, values))
    low, high = min(known), max(known)
    if low == high:
        low, high = low - 1, high + 1
    return Scale(low, high)


def _inside(mark: Mark, scale: Scale, of: Chart) -> str:
    """What stands in a cell: the drawing, and the number below it."""
    inside, attributes = inner(interval(mark.row, of.digits, marks=of.marks))
    said = f"<span{attributes}>{inside}</span>"
    if mark.row is None or mark.row.estimate is None:
        return said
    drawn = _drawn(mark, mark.row, scale)
    return (
        f'<svg width="100%" height="{HEIGHT}" aria-hidden="true"{_opens(mark)}>{drawn}</svg>{said}'
    )


def _opens(mark: Mark) -> str:
    """Attributes that say which images a dot of the mark opens."""
    if mark.row is None or not mark.dots:
        return ""
    model, experiment = escape(mark.row.model), escape(mark.row.experiment)
    conditions = escape(json.dumps(list(mark.opens)))
    return f' data-model="{model}" data-experiment="{experiment}" data-opens="{conditions}"'


def _drawn(mark: Mark, row: ResultRow, scale: Scale) -> str:
    """Zero, dots, interval and estimate."""
    y = HEIGHT - 7
    parts = []
    if scale.low <= 0 <= scale.high:
        at = scale.at(0)
        parts.append(f'<line class="zero" x1="{at}" x2="{at}" y1="0" y2="{HEIGHT}"/>')
    for number, (prompt, value) in enumerate(mark.dots):
        if isfinite(value):
            height = 4 + 3 * (number * 2 % LANES)
            parts.append(
                f'<circle class="dot" cx="{scale.at(value)}" cy="{height}" r="2.4" '
                f'data-prompt="{escape(prompt)}"/>'
            )
    if row.low is not None and row.high is not None:
        ends = f'x1="{scale.at(row.low)}" x2="{scale.at(row.high)}"'
        parts.append(f'<line class="whisker" {ends} y1="{y}" y2="{y}"/>')
    if row.estimate is not None:
        parts.append(f'<circle class="point" cx="{scale.at(row.estimate)}" cy="{y}" r="4"/>')
    return "".join(parts)


def _axis(scale: Scale) -> str:
    parts = []
    for tick in scale.ticks():
        at = scale.at(tick)
        parts.append(f'<line class="tick" x1="{at}" x2="{at}" y1="0" y2="4"/>')
        parts.append(f'<text x="{at}" y="15" text-anchor="middle">{tick:g}</text>')
    return f'<svg width="100%" height="18">{"".join(parts)}</svg>'
