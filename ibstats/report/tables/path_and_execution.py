"""Tables of path and execution: bits of each, shares of the diversity, bounds by rescored paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from ibstats.quantities import Quantity, of_family, quantity
from ibstats.report.table import (
    Cell,
    Column,
    Count,
    Interval,
    Missing,
    Number,
    Paragraph,
    Part,
    Table,
    Text,
    interval,
    stacked,
)
from ibstats.report.tables import grid, pair_distances
from ibstats.results import sentences, words
from ibstats.results.lookup import distinct, keyed
from schemas.design import ARGMAX, SAMPLING

if TYPE_CHECKING:
    from ibstats.results.lookup import Numbers
    from schemas.results import ResultRow

SHOWN = ("path_causal", "execution_causal", "residual_upper")
"""Bits that stand side by side for all models."""

LOOSER = {
    "path_causal": ("path_given_candidates", "≥"),
    "execution_causal": ("execution_marginal", "≤"),
}
"""What stands in for bits that were not recorded, and on which side of them."""

LOWER, UPPER = ("tokens_lower", "residual_lower"), ("tokens_upper", "residual_upper")
"""Bounds that rescored paths tighten, each from its side."""
BRACKETS = (LOWER[0], UPPER[0], LOWER[1], UPPER[1])
"""The same, in the order of a table."""

ALL_PARTS = ("path", "execution", "interaction", "path_total", "execution_total", "rendering")
"""Shares of crossed noise: alone, their interaction, totals (with the interaction), and rendering."""

BRIEF = ("path_shared", "execution_shared", "redundancy")
"""Those that there is room for on one screen."""

WIDE = 1000
"""Bits from which decimals say nothing."""

REVISED = "tokens are revised: the residual is of the whole trajectory, an upper bound alone"
WHERE_NOTHING_VARIES = f"{words.DASH} in a share: nothing varies"


def side_by_side(numbers: Numbers, experiment: str) -> list[Part]:
    """Every model: bits with and without argmax, and what is left where a noise is shared.

    Then a sentence for each model, and why numbers are missing; nothing where no bits are known.
    """
    models = numbers.models("ledger", experiment=experiment)
    if not models:
        return []
    distance = pair_distances.shown_distance(numbers)
    blocks, said, remarks = [], [], dict[str, None]()
    for model in models:
        block, sentence, notes = _model(numbers, experiment, model, distance)
        blocks.append(block)
        said += sentence
        remarks |= notes
    columns = grid.columns(quantity(name).short for name in SHOWN)
    title = "Path and execution: bits per image"
    made = stacked("path-and-execution", title, ["model", "condition"], blocks, columns)
    rows = numbers.all("ledger", experiment=experiment, paths=None)
    tables = [
        replace(made, caption=words.made(rows)),
        *pair_distances.pairs(numbers, models, distance),
    ]
    return [*tables, *map(Paragraph, (*said, *remarks))]


def _model(
    numbers: Numbers, experiment: str, model: str, distance: str | None
) -> tuple[list[tuple[Cell, ...]], list[str], dict[str, None]]:
    """Lines, sentence and remarks of one model."""
    block: list[tuple[Cell, ...]] = []
    remarks: dict[str, None] = {}
    found = []
    for condition in compared(numbers, experiment, model):
        bits = bits_of(numbers, experiment, model, condition)
        found.append(bits)
        cells = [_bits_cell(bits, name) for name in SHOWN]
        block.append((Text(model), Text(_name(numbers, experiment, condition)), *cells))
        for name in SHOWN:
            if name in bits and words.remark(bits[name]):
                remarks[f"{model}: {words.remark(bits[name])}"] = None
    if numbers.baseline(experiment) is None or not found:
        return block, [], remarks
    argmax: sentences.Found = {}
    if len(found) > 1:
        argmax = found[1]
    family = numbers.families.get(model, "family unknown")
    left = pair_distances.of_model(numbers, model, distance)
    said = sentences.path_and_execution(found[0], left, argmax)
    return block, [f"{model} ({family}): {said}"], remarks


def brief(
    numbers: Numbers, experiment: str, models: Sequence[str], distance: str | None
) -> list[Table]:
    """Path and execution of each model in a line: bits, and what is left where a noise is shared.

    Of the condition without intervention. `distance` is that of the pairs where they were measured
    by it, else another one stands in. Empty where neither bits nor pairs are known.
    """
    by = pair_distances.shown_distance(numbers, distance)
    baseline = numbers.baseline(experiment)
    lines: list[tuple[Cell, ...]] = []
    used: list[ResultRow] = []
    for model in models:
        left = pair_distances.of_model(numbers, model, by)
        bits: Mapping[str, ResultRow] = {}
        if baseline is not None:
            bits = bits_of(numbers, experiment, model, baseline)
        if left or bits:
            cells = [_pair_cell(left.get(part)) for part in BRIEF]
            lines.append((Text(model), _both_bits(bits), *cells))
            used += left.values()
    if not lines:
        return []
    columns, title, notes = [Column("bits")], "Path + execution: bits of an image", []
    if used:
        columns += grid.columns(pair_distances.HEADS[part] for part in BRIEF)
        title += ", diversity left where one is shared"
        notes.append(pair_distances.REDUNDANT)
        if by != distance:
            notes.append(f"diversity left: by {quantity(str(by)).long}")
    else:
        lines = [line[:2] for line in lines]
    made = stacked("path-and-execution", title, ["model"], [lines], columns)
    return [replace(made, caption=words.made_briefly(used), notes=tuple(notes))]


def _both_bits(bits: Mapping[str, ResultRow]) -> Cell:
    """Bits of the path and of the execution, or the bounds that stand in for them."""
    said = []
    for name in SHOWN[:2]:
        cell = _bits_cell(bits, name)
        if not isinstance(cell, Interval):
            return Missing("not recorded")
        said.append(f"{cell.sign}{words.number(cell.estimate, 0)}")
    return Text(" + ".join(said))


def _pair_cell(row: ResultRow | None) -> Cell:
    if row is None or row.estimate is None:
        return interval(row)
    return Interval(row.estimate, row.low, row.high, 2, row.degenerate)


def _name(numbers: Numbers, experiment: str, condition: str) -> str:
    """A condition by its sampling alone, in which those compared differ; else as the design has it."""
    level = _levels(numbers, experiment).get(condition, {}).get(SAMPLING)
    if level is None or numbers.baseline(experiment) is None:
        return numbers.short(experiment, condition)
    return level


def compared(numbers: Numbers, experiment: str, model: str) -> list[str]:
    """The baseline, then the condition that differs from it by argmax alone.

    Where there is no baseline, every condition that bits are known of.
    """
    rows = numbers.all("ledger", experiment=experiment, model=model)
    baseline = numbers.baseline(experiment)
    if baseline is None:
        return grid.in_order(numbers, experiment, distinct(rows, "condition"))
    levels = _levels(numbers, experiment)
    found = [baseline]
    wanted = {**levels.get(baseline, {}), SAMPLING: ARGMAX}
    for name, one in levels.items():
        if one == wanted and len(found) == 1 and name != baseline:
            found.append(name)
    return found


def _levels(numbers: Numbers, experiment: str) -> dict[str, Mapping[str, str]]:
    """Levels of each condition of an experiment."""
    design = numbers.designs.get(experiment)
    if design is None:
        return {}
    found: dict[str, Mapping[str, str]] = {}
    for condition in design.conditions:
        found[condition.name] = condition.levels
    return found


def bits_of(numbers: Numbers, experiment: str, model: str, condition: str) -> dict[str, ResultRow]:
    """Bits and their shares of one condition by quantity, the tightest where there are several.

    Bounds by rescored paths replace those by the schedule where they are tighter; a row with an
    estimate replaces one without.
    """
    found: dict[str, ResultRow] = {}
    for row in numbers.all("ledger", experiment=experiment, model=model, condition=condition):
        there = found.get(row.quantity)
        if there is None or _is_tighter(row, there):
            found[row.quantity] = row
    return found


def _is_tighter(row: ResultRow, there: ResultRow) -> bool:
    """Whether a bound is the better one of two of the same quantity."""
    if row.estimate is None:
        return False
    if there.estimate is None:
        return True
    if row.quantity in UPPER:
        return row.estimate < there.estimate
    return row.quantity in LOWER and row.estimate > there.estimate


def _bits_cell(bits: Mapping[str, ResultRow], name: str) -> Cell:
    """A quantity, or the bound that stands in for it where it was not recorded."""
    row, sign = bits.get(name), ""
    if (row is None or row.estimate is None) and name in LOOSER:
        substitute, sign = LOOSER[name]
        row = bits.get(substitute)
    if row is None or row.estimate is None:
        return interval(row)
    digits = 1 if row.estimate < WIDE else 0
    return Interval(row.estimate, row.low, row.high, digits, row.degenerate, sign=sign)


def bits(numbers: Numbers, experiment: str, model: str, n_tokens: int | None = None) -> list[Part]:
    """All bits of one model, a block for each condition compared, in bits per image.

    `n_tokens` is the number of tokens of an image: with it there is a column of bits per token.
    """
    blocks, used = [], []
    for condition in compared(numbers, experiment, model):
        here = {"experiment": experiment, "model": model, "condition": condition}
        found = keyed(numbers.all("ledger", paths=None, **here), "quantity")
        block = []
        for record in of_family("bits"):
            row = found.get((record.name,))
            if row is None or row.estimate is None:
                continue
            name = Text(numbers.short(experiment, condition))
            cells: list[Cell] = [name, Text(record.long), interval(row, 2)]
            if n_tokens is not None:
                cells.append(Number(row.estimate / n_tokens, 3))
            block.append(tuple(cells))
            used.append(row)
        blocks.append(block)
    if not used:
        return []
    columns = [Column("bits per image", Interval)]
    if n_tokens is not None:
        columns.append(Column("bits per token", Number))
    title = f"{model}: bits of path and execution"
    made = stacked(f"bits-{model}", title, ["condition", "quantity"], blocks, columns)
    return [replace(made, caption=words.made(used), notes=grid.notes(used))]


def brackets(numbers: Numbers, experiment: str, model: str) -> list[Table]:
    """Bounds on H(Z|X) and on the residual by the number of rescored paths of an image.

    Bits per image; lower bounds grow and upper bounds shrink with more paths. Empty where nothing
    was rescored.
    """
    rows = []
    for row in numbers.all("ledger", experiment=experiment, model=model):
        if row.paths is not None:
            rows.append(row)
    if not rows:
        return []
    by = keyed(rows, "condition", "paths", "quantity")
    measured = distinct(rows, "quantity")
    names = [name for name in BRACKETS if name in measured]
    blocks = []
    for condition in grid.in_order(numbers, experiment, distinct(rows, "condition")):
        label = Text(numbers.short(experiment, condition))
        block = []
        for paths in distinct(rows, "paths"):
            cells = grid.intervals(by, product([condition], [paths], names), 1)
            block.append((label, Count(paths), *cells))
        blocks.append(block)
    title = f"{model}: bounds by rescored paths, bits"
    columns = grid.columns(quantity(name).short for name in names)
    made = stacked(f"brackets-{model}", title, ["condition", "paths"], blocks, columns)
    notes = list(grid.notes(rows))
    if "residual_lower" not in names:
        notes.append(REVISED)
    return [replace(made, caption=words.made(rows), notes=tuple(notes))]


def shares(numbers: Numbers, model: str) -> list[Table]:
    """Shares of the diversity that crossed noise gives to path, execution and both.

    A table for each distance and crossed-noise experiment, a line a share, a column a condition.
    """
    tables = []
    for distance in numbers.quantities("sobol", model=model):
        here = {"model": model, "quantity": distance.name}
        for experiment in numbers.experiments("sobol", **here):
            rows = numbers.all("sobol", experiment=experiment, **here)
            made = _shares(numbers, experiment, rows)
            title = f"{model}: shares of {distance.long}, {experiment}"
            tables.append(replace(made, name=f"shares-{model}-{distance.name}", title=title))
    return tables


def _shares(numbers: Numbers, experiment: str, rows: Sequence[ResultRow]) -> Table:
    by = keyed(rows, "condition", "part")
    shown = grid.in_order(numbers, experiment, distinct(rows, "condition"))
    block = []
    held = {part for _, part in by}
    for part in ALL_PARTS:
        if part == "rendering" and part not in held:
            continue
        cells = grid.intervals(by, product(shown, [part]), 3)
        block.append((Text(part.replace("_", " ")), *cells))
    columns = grid.columns(numbers.short(experiment, name) for name in shown)
    made = stacked("shares", "Shares", ["share"], [block], columns)
    return replace(made, caption=words.made(rows), notes=(WHERE_NOTHING_VARIES,))


def all_bits(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """Bits of every condition, a column a quantity; what the columns are stands in the notes.

    Bits per image, the tables of a paper. Quantities that no model has are left out, so are bounds
    by rescored paths.
    """
    of = grid.Grid("ledger", experiment, digits=2)
    known = []
    for record in grid.measured(numbers, "ledger", experiment, models, "bits"):
        rows = []
        for model in models:
            rows += grid.of_quantities(numbers, of, model, [record])
        if distinct(rows, "estimate"):
            known.append(record)
    meanings = "; ".join(map(_meaning, known))
    title = "Bits of path and execution per image"
    made = grid.make(numbers, of, "ledger", title, models, known)
    return grid.with_notes(made, meanings)


def _meaning(record: Quantity) -> str:
    return f"{record.short}: {record.long}"
