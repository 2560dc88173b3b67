"""Runs compared with each other, for a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibstats.errors import unknown
from ibstats.extras import need
from ibstats.measure import Machine, here
from ibstats.options import with_progress
from ibstats.quantities import by_user
from ibstats.report.figures.runs import draw_differences
from ibstats.report.render import html
from ibstats.report.table import Table
from ibstats.report.tables.runs import runs as tables
from ibstats.results import runs
from ibstats.run.plots import axes_of, with_legend
from ibstats.store import Store
from schemas.analysis import Config

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False)
class ComparedRuns:
    """Runs compared with the first of them, made by `ibstats.compare`."""

    found: runs.Compared
    """Every difference, and what must be known to read it."""

    def frame(self) -> pd.DataFrame:
        """Give the differences as a tidy frame, a row each.

        Columns are the fields of `ibstats.results.runs.Difference`.
        """
        return self.found.frame()

    def plot(self, quantity: str | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw the differences of a quantity with their intervals and the margin; the axes.

        `quantity` is named as commands or as results do, by default the first one; `ax` are axes to
        draw on, by default new ones. Raises IbstatsError for a quantity that was not compared.
        """
        need("drawing", "matplotlib")
        known = self.found.quantities
        name = quantity or known[0]
        if name in by_user("distance"):
            name = by_user("distance")[name].name
        if name not in known:
            raise unknown("quantity", name, known)
        axes = axes_of(ax)
        draw_differences(axes, self.found, name)
        return with_legend(axes)

    def __repr__(self) -> str:
        return f"<ComparedRuns {', '.join(self.found.runs)}: {len(self.found.differences)} rows>"

    def _repr_html_(self) -> str:
        """The tables, for a notebook."""
        shown = []
        for part in tables(self.found):
            if isinstance(part, Table):
                shown.append(html.render(part))
            else:
                shown.append(f"<p>{escape(part.words)}</p>")
        return "\n".join(shown)


def compare(
    *paths: Store | str | Path,
    settings: Config | None = None,
    machine: Machine | None = None,
    **changes: Any,
) -> ComparedRuns:
    """Compare runs with the first of them, paired by prompt; public as `ibstats.compare`.

    Parameters and errors are those of `ibstats.results.runs.compare`; images are measured with a
    progress bar, once, and kept beside each run.

    >>> found = compare("runs/a", "runs/b", margins={"ssim": 0.02})    # doctest: +SKIP
    >>> found.frame()[["condition", "estimate", "verdict"]]            # doctest: +SKIP
    """
    used = machine or Machine(each=with_progress(here))
    return ComparedRuns(runs.compare(*paths, settings=settings, machine=used, **changes))
