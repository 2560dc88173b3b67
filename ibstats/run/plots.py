"""Figures of a run by one call each, on axes of the caller's or on new ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ibstats.errors import IbstatsError, unknown
from ibstats.extras import need
from ibstats.quantities import by_user, preferred
from ibstats.report.figures.canvas import STYLE, WIDTH, lines
from ibstats.report.figures.factorial import (
    draw_cells,
    draw_changes,
    draw_probes,
    draw_waterfall,
    waterfall_steps,
)
from ibstats.report.figures.source import Source, axis, drawn_experiment
from ibstats.results.lookup import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from schemas.analysis import Config
    from schemas.results import Results

HEIGHT = 2.4
"""Inches of new axes."""


@dataclass(frozen=True)
class Plots:
    """The figures of a run; each draws on `ax`, or on new axes, and returns them.

    `quantity` is a distance by the name that commands take or by that of results, by default the
    preferred one of those that there are. Further names are fields of `ibstats.Config`, as
    `Run.results` takes them. Raises IbstatsError for a quantity that was not measured, and where
    the run has no such numbers.

    >>> run = open_run("runs/demo")                                 # doctest: +SKIP
    >>> run.plot.cells("ssim", ax=axes)                             # doctest: +SKIP
    """

    results: Callable[[Config | None, dict[str, Any]], Results]
    """Gives the results of settings with changes."""

    def cells(
        self,
        quantity: str | None = None,
        *,
        ax: Axes | None = None,
        settings: Config | None = None,
        **changes: Any,
    ) -> Axes:
        """Draw the diversity of every condition with its interval, a series a model.

        See the class for the parameters and what is raised.
        """
        source, name = self._source("diversity", quantity, settings, changes)
        axes = axes_of(ax)
        draw_cells(axes, source, name)
        axes.set_xlabel(lines(axis(name), 60))
        return with_legend(axes)

    def probes(
        self,
        quantity: str | None = None,
        *,
        ax: Axes | None = None,
        settings: Config | None = None,
        **changes: Any,
    ) -> Axes:
        """Draw the diversity of the baseline and of each probe alone (paper, Fig. 2).

        See the class for the parameters and what is raised.
        """
        source, name = self._source("probe", quantity, settings, changes)
        axes = axes_of(ax)
        draw_probes(axes, source, name)
        axes.set_ylabel(lines(axis(name), 40))
        return with_legend(axes)

    def changes(
        self,
        quantity: str | None = None,
        *,
        ax: Axes | None = None,
        settings: Config | None = None,
        **changes: Any,
    ) -> Axes:
        """Draw what conditions change: effects of factors, else changes against the baseline.

        Each has its interval; see the class for the parameters and what is raised.
        """
        source, _ = self._source("diversity", quantity, settings, changes)
        section = "effect"
        if not source.numbers.all(section, experiment=source.experiment):
            section = "contrast"
        name = _quantity(source, section, quantity)
        axes = axes_of(ax)
        draw_changes(axes, source, name, section)
        axes.set_xlabel(lines(axis(name, "change of "), 60))
        return with_legend(axes)

    def waterfall(
        self,
        quantity: str | None = None,
        *,
        model: str | None = None,
        ax: Axes | None = None,
        settings: Config | None = None,
        **changes: Any,
    ) -> Axes:
        """Draw how marginal effects add up from the all-low to the all-high cell, of one model.

        `model` may be left out where there is only one; see the class for the rest.
        """
        source, name = self._source("waterfall", quantity, settings, changes)
        models = source.numbers.models("waterfall", quantity=name)
        if model is None and len(models) > 1:
            raise IbstatsError(f"a waterfall is of one model, name it: {', '.join(models)}")
        chosen = model or models[0]
        if chosen not in models:
            raise unknown("model", chosen, models)
        axes = axes_of(ax)
        draw_waterfall(axes, waterfall_steps(source, chosen, name, {}))
        axes.set_ylabel(lines(axis(name), 40))
        axes.set_title(chosen, loc="left")
        return axes

    def _source(
        self, section: str, quantity: str | None, settings: Config | None, changes: dict[str, Any]
    ) -> tuple[Source, str]:
        """What a figure is drawn from, and the quantity that it shows."""
        need("drawing", "matplotlib")
        if quantity in by_user("distance"):
            changes.setdefault("metrics", (quantity,))
        numbers = Numbers(self.results(settings, changes))
        source = Source(numbers, drawn_experiment(numbers))
        return source, _quantity(source, section, quantity)


def _quantity(source: Source, section: str, asked: str | None) -> str:
    """The name in results of the quantity that is drawn."""
    known = source.measured(section)
    if not known:
        raise IbstatsError(
            f"the run has no numbers of kind '{section}': what it needs is no part of its design"
        )
    if asked is None:
        return preferred("distance", known) or known[0]
    if asked in by_user("distance"):
        asked = by_user("distance")[asked].name
    if asked not in known:
        raise unknown("quantity", asked, known)
    return asked


def axes_of(given: Axes | None) -> Axes:
    """Give the axes given, or those of a new figure of pyplot, one column wide, in our style."""
    if given is not None:
        return given
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        _, made = pyplot.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
    return made


def with_legend(axes: Axes) -> Axes:
    """Give the axes, with a legend where there are several series."""
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(fontsize="small")
    return axes
