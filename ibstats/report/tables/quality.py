"""Tables of quality: scores of each condition, parts of a score, probes, the frontier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ibstats.quantities import Quantity, preferred, quantity
from ibstats.report.table import (
    Cell,
    Column,
    Missing,
    Number,
    Table,
    Text,
    stacked,
)
from ibstats.report.tables import grid
from ibstats.results import words
from ibstats.results.lookup import distinct, keyed

if TYPE_CHECKING:
    from ibstats.results.lookup import Numbers
    from schemas.results import ResultRow

DOMINATED = (
    "dominated: another condition is better in both, since the paired intervals of both differences "
    "exclude zero, at a level adjusted (Bonferroni) for the number of other conditions; frontier: "
    "none was shown to be"
)
"""What the verdicts of the frontier mean."""


def scores(
    numbers: Numbers, experiment: str, models: Sequence[str], section: str = "quality"
) -> list[Quantity]:
    """Scores that some model has in a section, without those that are a part of another one.

    In the order of the registry; `section` is one whose rows are of scores.
    """
    measured = grid.measured(numbers, section, experiment, models, "score")
    return [score for score in measured if not score.part_of]


def values(
    numbers: Numbers,
    of: grid.Grid,
    models: Sequence[str],
    shown: Sequence[Quantity],
    name: str = "quality",
    title: str = "Quality",
) -> list[Table]:
    """Scores, a line a condition, with what must be known to read each.

    `of` says which section and lines, `shown` which scores are columns. Notes are by score, and by
    model where models differ.
    """
    made = []
    for table in grid.make(numbers, of, name, title, models, shown):
        made.append(replace(table, notes=_notes(numbers, of, models, shown)))
    return made


def _notes(
    numbers: Numbers, of: grid.Grid, models: Sequence[str], shown: Sequence[Quantity]
) -> tuple[str, ...]:
    """Notes by score, and by model where they differ."""
    found, rows = [], []
    for score in shown:
        by_note: dict[str, list[str]] = {}
        for model in models:
            mine = grid.of_quantities(numbers, of, model, [score])
            rows += mine
            for note in words.remarks(mine):
                by_note.setdefault(note, []).append(model)
        for note, who in by_note.items():
            said_of = score.short
            if len(by_note) > 1:
                said_of += f" ({', '.join(who)})"
            found.append(f"{said_of}: {note}")
    return tuple(filter(None, (*found, words.open_intervals(rows))))


def parts(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """The parts of each score, such as the attributes of an accuracy, without intervals.

    Names count the prompts that name the attribute: fewer prompts, wider intervals, which stand in
    the CSV alone. A table for each score that has parts.
    """
    by_whole: dict[str, list[Quantity]] = {}
    for score in grid.measured(numbers, "quality", experiment, models, "score"):
        if score.part_of:
            by_whole.setdefault(score.part_of, []).append(score)
    tables = []
    for whole, some in by_whole.items():
        tables.append(_parts(numbers, experiment, models, quantity(whole), some))
    return tables


def _parts(
    numbers: Numbers,
    experiment: str,
    models: Sequence[str],
    whole: Quantity,
    some: Sequence[Quantity],
) -> Table:
    of = grid.Grid("quality", experiment, digits=3)
    counted = []
    for score in some:
        rows = []
        for model in models:
            rows += grid.of_quantities(numbers, of, model, [score])
        counted.append(replace(score, short=f"{score.short} ({words.extent(rows, 'n_prompts')})"))
    title = f"{whole.short} by attribute (prompts that name it); intervals in the CSV"
    (table,) = grid.make(numbers, of, f"quality-parts-{whole.name}", title, models, counted)
    columns = [*table.columns[: table.labels]]
    for column in table.columns[table.labels :]:
        columns.append(Column(column.head, Number))
    lines = []
    for row in table.rows:
        lines.append(tuple(map(_without_interval, row)))
    return replace(table, columns=tuple(columns), rows=tuple(lines), caption="", notes=())


def _without_interval(cell: Cell) -> Cell:
    estimate = getattr(cell, "estimate", None)
    return cell if estimate is None else Number(estimate, 3)


def probes(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """What each probe changes of each score, marked where it is significant.

    Changes from the baseline, paired within prompts; p values are Holm-adjusted over the probes.
    Empty where no score was tested.
    """
    shown = scores(numbers, experiment, models, "quality_probe")
    of = grid.Grid("quality_probe", experiment, line="effect", head="probe", marks=True)
    rows = []
    for model in models:
        rows += grid.of_quantities(numbers, of, model, shown)
    title = "What each probe does to quality (change from the baseline"
    title += f"; marks: Holm over {words.extent(rows, 'n_tests')} tests)"
    made = values(numbers, of, models, shown, "quality-probes", title)
    return grid.with_notes(made, words.MARKS)


def frontier(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """Verdict of each condition by each score, against the preferred distance that was measured.

    A condition without a verdict by some score has a dash there. Empty where no verdict was made.
    """
    rows = []
    for model in models:
        rows += numbers.all("frontier", experiment=experiment, model=model)
    distance = preferred("distance", distinct(rows, "distance"))
    if distance is None:
        return []
    shown = scores(numbers, experiment, models, "frontier")
    blocks = []
    for model in models:
        here = {"experiment": experiment, "model": model, "distance": distance}
        mine = numbers.all("frontier", **here)
        by = keyed(mine, "condition", "quantity")
        block = []
        for condition in grid.in_order(numbers, experiment, distinct(mine, "condition")):
            verdicts = [_verdict(by.get((condition, score.name))) for score in shown]
            name = Text(numbers.short(experiment, condition))
            block.append((*grid.named(models, model), name, *verdicts))
        blocks.append(block)
    title = f"Diversity-fidelity frontier: {quantity(distance).long} against each score"
    columns = grid.columns((score.short for score in shown), Text)
    heads = grid.heads(models, "condition")
    made = stacked("frontier", title, heads, blocks, columns)
    return [replace(made, notes=(DOMINATED,))]


def _verdict(row: ResultRow | None) -> Cell:
    if row is None or not row.verdict:
        return Missing("not measured")
    return Text(row.verdict)
