"""Tables of diversity in a factorial: values, effective numbers, effects and probes, waterfalls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ibstats.quantities import Family, Quantity
from ibstats.report.table import (
    Cell,
    Column,
    Interval,
    Number,
    P,
    Table,
    Text,
    interval,
    stacked,
)
from ibstats.report.tables import grid
from ibstats.results import words
from ibstats.results.lookup import distinct, keyed

if TYPE_CHECKING:
    from ibstats.results.lookup import Numbers
    from schemas.results import ResultRow

TESTS = (
    Column("estimate", Interval),
    Column("t", Number),
    Column("p Holm", P),
    Column("p max-T", P),
    Column("partial η²", Number),
    Column("d_z", Number),
)

FAMILIES: tuple[Family, ...] = ("distance", "effective", "score", "entropy", "usage")
"""What effects are tested on, in the order of tables."""

FILES = {
    "effect": "effects",
    "simple_effect": "simple-effects",
    "probe": "probes",
    "quality_effect": "quality-effects",
    "quality_probe": "quality-probes",
}
"""What the names of tables begin with, by section."""

PAPER = ("estimate", "p Holm", "partial η²", "d_z")
"""Heads of the tests that a paper has room for."""

BY_DEFINITION = "0 by definition"
"""Shapley values add up, so their gap is no finding."""


def diversity(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """Mean distance over pairs of images of a prompt, a line a condition, a column a distance.

    Estimates are means over prompts with their intervals. Empty where no distance was measured.
    """
    measured = grid.measured(numbers, "diversity", experiment, models, "distance")
    title = "Diversity: mean distance over pairs of images of one prompt"
    of = grid.Grid("diversity", experiment)
    return grid.make(numbers, of, "diversity", title, models, measured)


def effective_numbers(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """Effective numbers of distinct images of a prompt, a line a condition, a column each.

    Between 1 (all alike) and the number of images. Empty where none was computed.
    """
    measured = grid.measured(numbers, "effective_number", experiment, models, "effective")
    title = "Effective number of distinct images of one prompt"
    of = grid.Grid("effective_number", experiment, digits=2)
    return grid.make(numbers, of, "effective-numbers", title, models, measured)


def probes(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """What each probe alone changes of the diversity, a line a probe, with marks (paper, Fig. 2).

    Changes from the baseline by each distance, paired within prompts. Empty where nothing was tested.
    """
    measured = grid.measured(numbers, "probe", experiment, models, "distance")
    of = grid.Grid("probe", experiment, line="effect", head="probe", marks=True)
    title = "What each probe does to diversity: change from the baseline"
    made = grid.make(numbers, of, "probes", title, models, measured)
    return grid.with_notes(made, words.MARKS)


def effects(
    numbers: Numbers,
    section: str,
    experiment: str,
    models: Sequence[str],
    quantity: Quantity,
    *,
    paper: bool = False,
) -> list[Table]:
    """Tested effects, or changes by probes, of one quantity: estimate, tests and effect sizes.

    `section` is one whose rows have an `effect`. Models that were not tested have no lines. `paper`
    leaves the columns for which a page has no room to the CSV.
    """
    columns = [column for column in TESTS if not paper or column.head in PAPER]
    blocks, used = [], []
    for model in models:
        rows = numbers.all(section, model=model, experiment=experiment, quantity=quantity.name)
        block = []
        for row in rows:
            cells = _tests(row, columns)
            block.append((*grid.named(models, model), Text(effect_label(row)), *cells))
        blocks.append(block)
        used += rows
    if not used:
        return []
    name = f"{FILES.get(section, section)}-{quantity.name}"
    made = stacked(name, _title(used, quantity), grid.heads(models, "effect"), blocks, columns)
    notes = (words.MARKS, *grid.notes(used))
    return [replace(made, caption=words.made(used), notes=notes)]


def effect_label(row: ResultRow) -> str:
    """An effect with its factors, and the levels held fixed where it is of a part of the design.

    Made of the fields `effect` and `at` of a row, never of its `term`.
    """
    said = words.times(row.effect or "")
    return f"{said} ({_held(row)})" if row.at else said


def _held(row: ResultRow) -> str:
    return ", ".join(f"{factor}={level}" for factor, level in row.at.items())


def _tests(row: ResultRow, columns: Sequence[Column]) -> list[Cell]:
    """Cells of a row in these of the columns of `TESTS`."""
    by_head = {
        "estimate": interval(row, marks=True),
        "t": Number(row.statistic, 2),
        "p Holm": P(row.p_holm),
        "p max-T": P(row.p_max_t),
        "partial η²": Number(row.partial_eta_squared, 3),
        "d_z": Number(row.d_z, 2),
    }
    return [by_head[column.head] for column in columns]


def _title(rows: Sequence[ResultRow], quantity: Quantity) -> str:
    of, what = "high minus low", "Effects on"
    if rows[0].section == "simple_effect":
        what = "Simple effects, with other factors held, on"
    if rows[0].against is not None:
        of, what = "changes from the baseline", "Probes of"
    df, tests = words.extent(rows, "df"), words.extent(rows, "n_tests")
    return f"{what} {quantity.long} ({of}; F(1, {df}) = t²; p over {tests} tests)"


def all_effects(
    numbers: Numbers,
    section: str,
    experiment: str,
    models: Sequence[str],
    *,
    paper: bool = False,
) -> list[Table]:
    """A table of effects for each quantity of a section; parts of a score are left out.

    See `effects` for the parameters. Quantities come in the order of the registry.
    """
    tables = []
    for quantity in grid.measured(numbers, section, experiment, models, *FAMILIES):
        if not quantity.part_of:
            tables += effects(numbers, section, experiment, models, quantity, paper=paper)
    return tables


def waterfalls(
    numbers: Numbers, experiment: str, model: str, *, within: bool = False
) -> list[Table]:
    """From the cell with all levels low to that with all high, a column an attribution of effects.

    A table for each distance of one model. `within`: with some levels held fixed (paper, Fig. 10),
    a table for each set of levels.
    """
    tables = []
    here = {"model": model, "experiment": experiment}
    for quantity in grid.measured(numbers, "waterfall", experiment, [model], "distance"):
        parts: dict[tuple[tuple[str, str], ...], list[ResultRow]] = {}
        for row in numbers.all("waterfall", quantity=quantity.name, **here):
            if bool(row.at) == within:
                parts.setdefault(tuple(row.at.items()), []).append(row)
        for rows in parts.values():
            tables.append(_waterfall(rows, quantity))
    return tables


def _waterfall(rows: Sequence[ResultRow], quantity: Quantity) -> Table:
    by_step = keyed(rows, "step", "attribution")
    attributions = distinct(rows, "attribution")
    block: list[tuple[Cell, ...]] = []
    for step in distinct(rows, "step"):
        keys = [(step, attribution) for attribution in attributions]
        if step != "gap":
            block.append((Text(step), *grid.intervals(by_step, keys)))
            continue
        gaps = list(map(by_step.get, keys))
        block.append((Text("synergy gap"), *map(_gap, gaps)))
        block.append((Text("p of the gap, unadjusted"), *map(_gap_p, gaps)))
    title, name = f"Waterfall of {quantity.long}", f"waterfall-{quantity.name}"
    if rows[0].at:
        title += f" ({_held(rows[0])})"
        name += "-within"
    made = stacked(name, title, ["step"], [block], grid.columns(attributions))
    return replace(made, caption=words.made(rows), notes=grid.notes(rows))


def _gap(row: ResultRow | None) -> Cell:
    if row is not None and row.attribution == "shapley":
        return Text(BY_DEFINITION)
    return interval(row)


def _gap_p(row: ResultRow | None) -> Cell:
    return P(None if row is None else row.p)
