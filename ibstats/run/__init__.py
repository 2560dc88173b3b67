"""A run in a notebook: numbers as tidy frames, distances, figures, each by one call.

    run = ibstats.open("runs/mine")
    run.summary(metrics=("pixel_cosine",))
    run.plot.cells("pixel_cosine")

What a call needs is measured once and kept beside the run, as the commands do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import xarray as xr

from ibstats.errors import IbstatsError, unknown
from ibstats.measure import Machine, here
from ibstats.measure import distances as measured_distances
from ibstats.options import with_progress
from ibstats.report.render import html
from ibstats.report.table import Table
from ibstats.report.tables.description import description
from ibstats.results.frame import frame
from ibstats.results.kept import obtain, obtain_tree
from ibstats.run.plots import Plots
from ibstats.selection import Selection, select
from ibstats.store import Store, open_store
from schemas.analysis import Config
from schemas.results import Section

if TYPE_CHECKING:
    import pandas as pd

    from schemas.results import Results

__all__ = ["Run", "open_run"]


def open_run(
    path: str | Path, *, results: str | Path | None = None, machine: Machine | None = None
) -> Run:
    """Open a run by its folder or URL, for a notebook or a script; public as `ibstats.open`.

    Parameters: `results`, a folder that keeps what is computed, by default that of the run (for a
    URL `ibstats-results/BUCKET/NAME` here); `machine`, how images are measured, by default on the
    CPU with a progress bar. Raises as `ibstats.open_store` does.

    >>> run = open_run("runs/demo")                                 # doctest: +SKIP
    >>> run.summary("probe", metrics=("ssim",))                     # doctest: +SKIP
    """
    store = open_store(path, None if results is None else Path(results))
    return Run(store, machine or Machine(each=with_progress(here)))


@dataclass(frozen=True, repr=False)
class Run:
    """A run that is there, made by `ibstats.open`.

    Methods that analyse take the fields of `ibstats.Config` by name (`metrics=("ssim",)`,
    `models=("trio-ar",)`, `experiment="ratio"`), or a whole `settings`; names that the run does not
    know raise IbstatsError. An analysis that was made before is read, not made again.
    """

    store: Store
    machine: Machine = field(default_factory=Machine)

    @property
    def models(self) -> list[str]:
        """Names of the models, as results name them."""
        return self.store.models()

    @property
    def experiments(self) -> list[str]:
        """Names of the experiments; every model has them all."""
        return self.store.experiments()

    @property
    def plot(self) -> Plots:
        """Figures on axes of one's own or new ones, see `ibstats.run.plots.Plots`."""
        return Plots(self._drawn)

    def select(
        self,
        model: str | None = None,
        experiment: str | None = None,
        *,
        allow_partial: bool = False,
    ) -> Selection:
        """Give one model and experiment: its dataset, design, and what it lacks.

        Either name may be left out where there is only one; of several experiments the factorial is
        meant. Raises IbstatsError for a name that is not there, and where a model must be named.

        >>> run = open_run("runs/demo")                             # doctest: +SKIP
        >>> run.select("trio-ar").dataset["tokens"].dims            # doctest: +SKIP
        ('condition', 'prompt', 'sample', 'row', 'col')
        """
        chosen = self._only("model", model, self.models, "")
        usual = str(Config.model_fields["experiment"].default)
        return select(
            self.store,
            chosen,
            self._only("experiment", experiment, self.experiments, usual),
            allow_partial=allow_partial,
        )

    def _only(self, kind: str, asked: str | None, known: list[str], usual: str) -> str:
        """The name asked for, else the only one, else the usual one."""
        if asked is not None:
            if asked not in known:
                raise unknown(kind, asked, known)
            return asked
        if len(known) == 1:
            return known[0]
        if usual in known:
            return usual
        raise IbstatsError(f"the run holds several {kind}s, name one: {', '.join(known)}")

    def distances(
        self,
        metric: str = "pixel_cosine",
        model: str | None = None,
        experiment: str | None = None,
        *,
        allow_partial: bool = False,
    ) -> xr.Dataset:
        """Give the distances of all pairs of a prompt's images in each condition.

        `metric` is a distance by the name that commands take, or `file.py:Class` of one's own.
        Returns `distance (condition, prompt, sample, sample_other)`, in the unit of the metric, and
        `squared_norm (condition, prompt, sample)`, NaN without an embedding. Measured once, then
        read. Raises IbstatsError for an unknown metric, and where it cannot be had.
        """
        chosen = self.select(model, experiment, allow_partial=allow_partial)
        return measured_distances(chosen, self.machine.metric(metric), each=self.machine.each)

    def results(self, settings: Config | None = None, **changes: Any) -> Results:
        """Give every number of an analysis with all that is stated of it, a row each.

        Parameters: `settings`, by default `ibstats.Config()`, with `changes` of its fields.
        """
        return obtain(self.store, (settings or Config()).but(**changes), self.machine)

    def tree(self, settings: Config | None = None, **changes: Any) -> xr.DataTree:
        """Give the labelled arrays of an analysis, values by prompt among them.

        Parameters: `settings`, by default `ibstats.Config()`, with `changes` of its fields. The
        tree is that of `ibstats.analyse`.
        """
        return obtain_tree(self.store, (settings or Config()).but(**changes), self.machine)

    def summary(
        self, *sections: str, settings: Config | None = None, **changes: Any
    ) -> pd.DataFrame:
        """Give the numbers of an analysis as a tidy frame, a row each.

        `sections` are kinds of numbers (`diversity`, `effect`, `contrast`, `probe`, `information`,
        ...), all by default. The columns are those of `ibstats.results.frame.COLUMNS` and one a
        factor: model, experiment, condition, quantity, estimate, low, high, p, n, unit, method,
        note among them. Raises IbstatsError for a section that no results have.
        """
        for section in sections:
            if section not in get_args(Section):
                raise unknown("section", section, get_args(Section))
        return frame(self.results(settings, **changes), sections)

    def _drawn(self, settings: Config | None, changes: dict[str, Any]) -> Results:
        return self.results(settings, **changes)

    def __repr__(self) -> str:
        return f"<Run {self.store.folder}: {', '.join(self.models)}>"

    def _repr_html_(self) -> str:
        """What the run holds, for a notebook."""
        shown = []
        for part in description(self.store):
            if isinstance(part, Table):
                shown.append(html.render(part))
            else:
                shown.append(f"<p>{escape(part.words)}</p>")
        return "\n".join(shown)
