"""Prompts and images that a study needs, with a run as its pilot: one table and one figure a model and distance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ibstats.analysis.measured import measured
from ibstats.checks import check, check_factorial, of_run
from ibstats.errors import Unmeasurable
from ibstats.measure import Machine
from ibstats.quantities import preferred
from ibstats.report.figures import draw_power
from ibstats.report.table import Table
from ibstats.report.tables.power import power as power_table
from ibstats.selection import select
from ibstats.statistics import power
from ibstats.store import Store
from schemas.analysis import Config
from schemas.io.layout import ResultsFolder


@dataclass(frozen=True)
class Question:
    """What a study is planned for.

    `difference` and `equivalence` are in the unit of the distance.
    """

    effect: str
    """An effect of the factorial, for instance `sampling:codebook`."""
    difference: float | None
    """Smallest effect worth finding; None: that of the pilot."""
    equivalence: float | None
    """Margin within which to show equivalence."""
    target: float
    """Power wanted."""


@dataclass(frozen=True)
class Planned:
    """The answer for one model and distance, and where its figure lies."""

    table: Table
    figure: str


def plan(store: Store, settings: Config, machine: Machine, question: Question) -> Iterator[Planned]:
    """The power of designs of more prompts and images, by model and distance.

    The distances are those asked for, else the preferred one of those that can be had. Raises
    Unmeasurable for a model of which none can be had.
    """
    settings = of_run(settings, store)
    check(settings, store)
    check_factorial(store, settings.experiment)
    folder = ResultsFolder(store.path).figures
    for model in settings.models or store.models():
        selection = select(store, model, settings.experiment, allow_partial=settings.allow_partial)
        found, notes = measured(selection, settings, machine)
        if not found:
            raise Unmeasurable(f"no distance of '{model}' can be planned with: {notes[0]}")
        names = list(found) if settings.metrics else [preferred("distance", found)]
        for name in names:
            if name is None:
                continue
            cells = selection.design.by_factor(found[name]["distance"])
            pilot = power.components(cells, question.effect)
            table = power.table(
                pilot,
                effect_size=question.difference,
                margin=question.equivalence,
                seed=settings.resampling.seed,
            )
            needed = power.needed(table, question.target)
            shown = power_table(table, needed, f"{model}, {name}", question.target)
            folder.mkdir(parents=True, exist_ok=True)
            figure = draw_power(table, question.target, folder / f"power-{model}-{name}")
            yield Planned(shown, str(figure[0]))
