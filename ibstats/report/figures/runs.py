"""The figure of runs compared with each other: every difference with its interval and the margin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ibstats.quantities import quantity as record_of
from ibstats.report.figures.canvas import (
    FORMATS,
    Point,
    dots,
    dots_height,
    legend_of,
    lines,
    save,
    stack,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ibstats.results.runs import Compared, Difference


def draw_compared(found: Compared, stem: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Draw a forest of all differences, a panel a quantity; the files.

    `stem` is the path of the files without their ending.
    """
    names = found.quantities
    n_lines = len(_lines(found, names[0]))
    n_series = len(found.runs) - 1
    height = 0.62 + dots_height(n_lines, n_series)
    with style():
        figure, panels = stack(len(names), height, 0.3)
        for panel, name in zip(panels, names, strict=True):
            draw_differences(panel, found, name)
        if n_series > 1:
            legend_of(figure, *panels)
        return save(figure, stem, formats)


def draw_differences(axes: Axes, found: Compared, quantity: str) -> None:
    """Draw the differences of one quantity, a series a run, with the margin as a band.

    `quantity` is its name in results; the first run stands at 0.
    """
    labels, of = _lines(found, quantity), found.of(quantity)
    series: dict[str, list[Point | None]] = {}
    for run in found.runs[1:]:
        points: list[Point | None] = [None] * len(labels)
        for one in of:
            if one.run == run:
                points[labels.index(_line(found, one))] = _point(one)
        series[run] = points
    margin = of[0].margin
    if margin is not None:
        axes.axvspan(-margin, margin, color="0.92", zorder=0)
    dots(axes, series, list(map(lines, labels)))
    axes.axvline(0, color="0.4", lw=0.6, zorder=0)
    record = record_of(quantity)
    axes.set_xlabel(lines(f"{record.long}, less that of {found.runs[0]}", 52))


def _lines(found: Compared, quantity: str) -> list[str]:
    """Conditions compared, with their models where there are several."""
    return list(dict.fromkeys(_line(found, one) for one in found.of(quantity)))


def _line(found: Compared, one: Difference) -> str:
    models = {other.model for other in found.differences if other.run == one.run}
    if len(models) > 1:
        return f"{one.model} {one.condition}"
    return one.condition


def _point(one: Difference) -> Point | None:
    if one.estimate is None:
        return None
    ends = np.array([one.low, one.high], dtype=np.float64)
    low, high = np.where(np.isnan(ends), one.estimate, ends).tolist()
    return Point(one.estimate, low, high)
