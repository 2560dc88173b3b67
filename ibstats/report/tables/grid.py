"""Grids of rows of results: a line a condition or an effect, a column a quantity, or a model.

One model has its quantities side by side. Several models stand side by side themselves, which is how
a question is asked of them: a block a quantity.
"""

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
    """One table of some quantities; none where there are no rows.

    Of one model a column a quantity; of several a column a model and a block of lines a quantity,
    which the title names where there is only one. What a model lacks is a dash where another one has
    it; a model, a quantity or a line without any number is left out.
    """
    rows = []
    for model in models:
        rows += of_quantities(numbers, of, model, quantities)
    if not rows:
        return []
    if len(models) > 1:
        made = _side_by_side(numbers, of, name, title, rows, quantities)
    else:
        made = _alone(numbers, of, name, title, rows, quantities)
    return [replace(made, caption=words.made(rows), notes=notes(rows))]


def _alone(
    numbers: Numbers,
    of: Grid,
    name: str,
    title: str,
    rows: Sequence[ResultRow],
    quantities: Sequence[Quantity],
) -> Table:
    by = keyed(rows, of.line, "quantity")
    names = list(map(attrgetter("name"), quantities))
    block = []
    for line in _lines(numbers, of, rows):
        cells = intervals(by, product([line], names), of.digits, marks=of.marks)
        block.append((Text(label(numbers, of, line)), *cells))
    return stacked(name, title, [of.head], [block], columns(map(head, quantities)))


def _side_by_side(
    numbers: Numbers,
    of: Grid,
    name: str,
    title: str,
    rows: Sequence[ResultRow],
    quantities: Sequence[Quantity],
) -> Table:
    """A column a model, in the order of the rows; numbers of one quantity have as many decimals."""
    by = keyed(rows, of.line, "quantity", "model")
    models = distinct(rows, "model")
    there = [one for one in quantities if one.name in distinct(rows, "quantity")]
    blocks = []
    for quantity in there:
        called = () if len(there) == 1 else (Text(head(quantity)),)
        mine = [row for row in rows if row.quantity == quantity.name]
        block = []
        for line in _lines(numbers, of, mine):
            keys = product([line], [quantity.name], models)
            cells = intervals(by, keys, of.digits, marks=of.marks)
            block.append((*called, Text(label(numbers, of, line)), *cells))
        blocks.append(block)
    heads = ["quantity", of.head]
    if len(there) == 1:
        heads = heads[1:]
        title = f"{title}, {_described(there[0])}"
    return replace(stacked(name, title, heads, blocks, columns(models)), alike="block")


def _described(quantity: Quantity) -> str:
    """A quantity by its long name, with the end of it that is good."""
    better = words.better(quantity.name)
    return f"{quantity.long} ({better})" if better else quantity.long


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
    """The tables, with more notes before their own, each once."""
    found = []
    for table in tables:
        found.append(replace(table, notes=tuple(dict.fromkeys((*more, *table.notes)))))
    return found
