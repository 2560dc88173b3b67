"""Figures of an analysis: one or two columns wide, colour-blind safe, every estimate with its interval.

They are drawn from rows of results, and from the labelled tree what is no row. What a model lacks
is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from ibstats.report.figures import ablations, factorial, information_plane, overview, quality
from ibstats.report.figures.canvas import FORMATS, check_formats, save, style
from ibstats.report.figures.contact import contact_sheets, sheets, strategy_sheets
from ibstats.report.figures.factorial import draw_power
from ibstats.report.figures.path_and_execution import draw_path_and_execution
from ibstats.report.figures.source import Source, drawn_experiment
from ibstats.results.lookup import Numbers
from schemas.study import ABLATIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "FORMATS",
    "check_formats",
    "contact_sheets",
    "draw",
    "draw_path_and_execution",
    "draw_power",
    "figures",
    "sheets",
    "strategy_sheets",
]


def draw(
    numbers: Numbers,
    tree: xr.DataTree | None,
    folder: Path,
    formats: Sequence[str] = FORMATS,
    columns: int = 1,
) -> list[Path]:
    """Draw every figure of an analysis that it has rows for; the files.

    Parameters: the rows; the labelled tree behind them, which knows the maps of positions, the
    shares of the codebook kept and what quality they lose (without it these are left out); the
    folder, made if it is not there; kinds of files; columns of a page that a figure spans, 1 or 2.
    Raises IbstatsError for an unknown kind of file, and for more columns.
    """
    check_formats(formats)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with style(columns):
        for name, figure in figures(numbers, tree):
            files += save(figure, folder / name, formats)
    return files


def figures(numbers: Numbers, tree: xr.DataTree | None = None) -> Iterator[tuple[str, Figure]]:
    """Name and figure of everything that an analysis has rows for, one by one.

    What is drawn follows from the design: of a factorial its effects, of any other experiment its
    conditions. A document that states no design has no figures. Parameters are those of `draw`.
    """
    source = Source(numbers, drawn_experiment(numbers), tree)
    if source.experiment not in numbers.designs:
        return
    design = source.design
    if design.factors and design.kind not in ABLATIONS:
        yield from overview.figures(source)
        yield from factorial.figures(source)
        yield from quality.figures(source)
    else:
        yield from ablations.figures(source)
    yield from information_plane.figures(source)
