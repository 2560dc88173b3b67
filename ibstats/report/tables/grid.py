"""Grids of rows of results: a line a condition or an effect, a column a quantity, a block a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from ibstats.quantities import Family, Quantity, of_family
from ibstats.report.table import Cell, Column, Interval, Table, Text, interval, stacked
from ibstats.results import words
from ibstats.results.lookup import distinct, keyed

if TYPE_CHECKING:
    from ibstats.results.lookup import Numbers
    from schemas.results import ResultRow


@dataclass(frozen=True)
class Grid:
    """Which rows of results make a table, and how they are shown.

    Rows of one section and experiment; `digits` are the decimals of the numbers.
    """

    section: str
    experiment: str
    line: Literal["condition", "effect"] = "condition"
    """The field of a row that says which line it stands in."""
    head: str = "condition"
    """What the column of the lines is called."""
    digits: int = 4
    marks: bool = False
    """Whether the significance of Holm-adjusted p values is shown."""


def make(
    numbers: Numbers,
    of: Grid,
    name: str,
    title: str,
    models: Sequence[str],
    quantities: Sequence[Quantity],
) -> list[Table]:
    """One table of the lines of all `models`, a rule between them; none where there are no rows.

    A model is named where there are several. What a model lacks is a dash where another one has it,
    and has no line where it has none of the quantities.
    """
    names = list(map(attrgetter("name"), quantities))
    blocks, used = [], []
    for model in models:
        rows = of_quantities(numbers, of, model, quantities)
        by_line = keyed(rows, of.line, "quantity")
        block = []
        for line in _lines(numbers, of, rows):
            cells = intervals(by_line, product([line], names), of.digits, marks=of.marks)
            block.append((*named(models, model), Text(label(numbers, of, line)), *cells))
        blocks.append(block)
        used += rows
    if not used:
        return []
    made = stacked(name, title, heads(models, of.head), blocks, columns(map(head, quantities)))
    return [replace(made, caption=words.made(used), notes=notes(used))]


def intervals(
    rows: Mapping[Any, ResultRow], keys: Iterable[Any], digits: int = 4, *, marks: bool = False
) -> list[Cell]:
    """The rows with these keys as cells, a dash for what is missing.

    `digits` are decimals; `marks` shows the significance of Holm-adjusted p values.
    """
    return [interval(rows.get(key), digits, marks=marks) for key in keys]


def columns(names: Iterable[str], kind: type[Cell] = Interval) -> list[Column]:
    """Columns with these heads, all of one kind."""
    return [Column(name, kind) for name in names]


def of_quantities(
    numbers: Numbers, of: Grid, model: str, quantities: Sequence[Quantity]
) -> list[ResultRow]:
    """The rows of a grid that are of these quantities of one model; bounds by paths are not.

    Rows without the field that names their line are left out, as are those of other experiments.
    """
    rows: list[ResultRow] = []
    here = {"model": model, "experiment": of.experiment, "paths": None}
    for quantity in quantities:
        for row in numbers.all(of.section, quantity=quantity.name, **here):
            if getattr(row, of.line) is not None:
                rows.append(row)
    return rows


def label(numbers: Numbers, of: Grid, line: str) -> str:
    """How a line is called, in words.

    A condition as the design says it, an effect by its factors, joined by a multiplication sign.
    """
    if of.line == "condition":
        return numbers.short(of.experiment, line)
    return words.times(line)


def _lines(numbers: Numbers, of: Grid, rows: Sequence[ResultRow]) -> list[str]:
    """Conditions in the order of their design, effects in that of the results."""
    found = distinct(rows, of.line)
    if of.line == "effect":
        return found
    return in_order(numbers, of.experiment, found)


def in_order(numbers: Numbers, experiment: str, conditions: Sequence[str]) -> list[str]:
    """Conditions in the order of their design; those it does not know come last.

    Without a known design they stay as they came.
    """
    design = numbers.designs.get(experiment)
    if design is None:
        return list(conditions)
    places: dict[str, int] = {}
    for condition in design.conditions:
        places[condition.name] = len(places)
    return sorted(conditions, key=lambda name: places.get(name, len(places)))


def named(models: Sequence[str], model: str) -> tuple[Cell, ...]:
    """The cell that names a model, where there are several."""
    return (Text(model),) if len(models) > 1 else ()


def heads(models: Sequence[str], *more: str) -> list[str]:
    """Heads of the columns that name a line: of its model, where there are several, and `more`.

    As many as `named` and the label of a line give cells.
    """
    return ["model", *more] if len(models) > 1 else list(more)


def head(quantity: Quantity) -> str:
    """The head of a column of a quantity, with a unit other than 1 and an arrow to the good end.

    >>> from ibstats.quantities import quantity
    >>> head(quantity("fid")), head(quantity("codebook_entropy"))
    ('FID ↓', 'H(Z) bit')
    """
    if quantity.unit == "1":
        return f"{quantity.short} {quantity.arrow}".rstrip()
    return f"{quantity.short} {quantity.unit} {quantity.arrow}".rstrip()


def measured(
    numbers: Numbers,
    section: str,
    experiment: str,
    models: Sequence[str],
    *families: Family,
) -> list[Quantity]:
    """Quantities of some families that a model has rows of, in the order in which tables show them.

    Quantities that nobody registered come last.
    """
    found: dict[str, Quantity] = {}
    for model in models:
        for quantity in numbers.quantities(section, model=model, experiment=experiment):
            if quantity.family in families:
                found.setdefault(quantity.name, quantity)
    places: dict[str, int] = {}
    for record in of_family(*families):
        places[record.name] = len(places)
    return sorted(found.values(), key=lambda record: places.get(record.name, len(places)))


def notes(rows: Sequence[ResultRow]) -> tuple[str, ...]:
    """What must be known to read some rows: their notes, and what an open interval means.

    Each note once; the order is that of the rows, the reason of open intervals comes last.
    """
    found = words.remarks(rows)
    return tuple(filter(None, (*found, words.open_intervals(rows))))


def with_notes(tables: Iterable[Table], *more: str) -> list[Table]:
    """The tables, with more notes before their own."""
    return [replace(table, notes=(*more, *table.notes)) for table in tables]
