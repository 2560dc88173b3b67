"""The table of strategies: models side by side, each verdict with the probes it rests on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ibstats.report.table import Cell, Column, Interval, Missing, Table, Text, stacked
from ibstats.report.tables import grid, pair_distances
from ibstats.results import sentences, words
from ibstats.results.lookup import distinct, keyed

if TYPE_CHECKING:
    from ibstats.quantities import Quantity
    from ibstats.results.lookup import Numbers
    from schemas.results import ResultRow

NAMED = (
    "A strategy is named where every probe shows its answer; mixed: intervals for all probes "
    "together rule out each strategy; undecided: neither"
)
"""When which word stands in the last column."""


def strategies(numbers: Numbers, experiment: str) -> list[Table]:
    """A table for each distance, a line a model.

    A cell is the change of diversity by a probe and what it was judged to be by equivalence within
    the margin; the columns after them say whether the path varies and which strategy follows. The
    notes say when a strategy is named, what is left of each model's diversity where a noise is
    shared, and where the margin comes from if none was declared.
    """
    models = numbers.models("strategy", experiment=experiment)
    tables = []
    for distance in grid.measured(numbers, "strategy", experiment, models, "distance"):
        tables.append(_of(numbers, experiment, distance))
    return tables


def _of(numbers: Numbers, experiment: str, distance: Quantity) -> Table:
    here = {"experiment": experiment, "quantity": distance.name}
    outcomes = numbers.all("equivalence", **here)
    by = keyed(outcomes, "model", "effect")
    probes = distinct(outcomes, "effect")
    lines, shared = [], []
    for row in numbers.all("strategy", **here):
        left = sentences.pair_distances(pair_distances.of_model(numbers, row.model, distance.name))
        if left:
            shared.append(f"{row.model}: {left}")
        cells = [_outcome(by.get((row.model, probe))) for probe in probes]
        path = Text(row.note) if row.note else Missing()
        lines.append((Text(row.model), *cells, path, Text(row.verdict or "")))
    title = f"Strategy by {distance.long} (change from the baseline"
    margins = distinct(outcomes, "margin")
    if margins:
        title += f"; equivalence margin {words.margins(margins)}"
    columns = [*grid.columns(probes), Column("path"), Column("strategy")]
    made = stacked(f"strategy-{distance.name}", f"{title})", ["model"], [lines], columns)
    remarks = [*words.remarks(outcomes), words.open_intervals(outcomes)]
    notes = filter(None, [NAMED, *shared, *remarks])
    return replace(made, caption=words.made(outcomes), notes=tuple(notes))


def _outcome(row: ResultRow | None) -> Cell:
    """The change by a probe, and what it was judged to be."""
    if row is None or row.estimate is None:
        return Missing("not measured")
    bounds = (row.low, row.high)
    return Interval(row.estimate, *bounds, 3, row.degenerate, word=row.verdict or "")
