"""The table as a value: what stands in it, not how it looks.

Topics make tables, renderers show them. A cell says what it is (an interval, a p value, a count,
text, something missing), so that a terminal, LaTeX, HTML and CSV each show it in their own way, and
none needs to know what the table is about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Literal

from ibstats.results import words

if TYPE_CHECKING:
    from schemas.results import ResultRow


@dataclass(frozen=True)
class Text:
    """Words, taken literally by every renderer.

    `strong` ones are set apart, for instance in bold.
    """

    words: str
    strong: bool = False


@dataclass(frozen=True)
class Count:
    """A whole number."""

    value: int | None


@dataclass(frozen=True)
class Number:
    """A number without an interval; None where it is undefined.

    `digits` are the decimals shown; CSV has all of them.
    """

    value: float | None
    digits: int = 4


@dataclass(frozen=True)
class P:
    """A p value, never shown as zero.

    None where no test was possible.
    """

    value: float | None


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, and what must be seen beside it.

    `digits` are the decimals shown, of the bounds too. A bound that is None is a dash in the
    brackets; without both there are no brackets.
    """

    estimate: float | None
    low: float | None = None
    high: float | None = None
    digits: int = 4
    degenerate: bool = False
    """No variation over prompts: an interval of width 0 and no test."""
    p: float | None = None
    """Adjusted p value whose marks stand behind the number; None: no marks."""
    sign: str = ""
    """`≤` or `≥` where the number is a bound."""
    weak: bool = False
    """Shown, but greyed out: a note says why it cannot be leaned on."""
    word: str = ""
    """What the number was judged to be, shown beside it."""


@dataclass(frozen=True)
class Missing:
    """Nothing to show, as a dash.

    The reason is for a renderer with room for it; tables state it in a note, once.
    """

    reason: str = ""


Cell = Text | Count | Number | P | Interval | Missing


@dataclass(frozen=True)
class Column:
    """One column: its head and what its cells are.

    The kind says how a renderer aligns it, and that an interval takes several columns of a CSV; a
    cell of another kind, such as a dash, may stand in it.
    """

    head: str
    kind: type[Cell] = Text


@dataclass(frozen=True)
class Table:
    """A titled grid of cells; `name` is that of its file.

    Raises ValueError if a row has another number of cells than there are columns.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    """How the numbers were made: estimator, interval, n, seed."""
    notes: tuple[str, ...] = ()
    """What must be known to read it."""
    groups: tuple[int, ...] = field(default=())
    """Numbers of the rows before which a rule is drawn."""
    labels: int = 1
    """Columns, from the left, that name the lines: they stay where a table is split."""
    label: str = ""
    """How a text refers to it, where the name alone is not unique."""
    alike: Literal["column", "block"] = "column"
    """Whether the numbers of a column, or those of a block of lines, have as many decimals."""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {number} of table '{self.name}' has {len(row)} cells for "
                    f"{len(self.columns)} columns"
                )

    def column(self, number: int) -> list[Cell]:
        """The cells of one column, from the top."""
        return [row[number] for row in self.rows]


@dataclass(frozen=True)
class Paragraph:
    """A sentence beside the tables.

    One that is `whole` holds a path or a command, which no renderer breaks over lines.
    """

    words: str
    whole: bool = False


@dataclass(frozen=True)
class Heading:
    """What the parts after it are about."""

    words: str


Part = Heading | Table | Paragraph
"""What a report is made of, in order."""


def interval(row: ResultRow | None, digits: int = 4, *, marks: bool = False) -> Cell:
    """The estimate of a row of results with its interval, a dash where there is none.

    `marks` shows the significance of its Holm-adjusted p value.
    """
    if row is None or row.estimate is None:
        return Missing(_reason(row))
    p = None
    if marks:
        p = row.p_holm
    return Interval(row.estimate, row.low, row.high, digits, row.degenerate, p, weak=row.weak)


def _reason(row: ResultRow | None) -> str:
    if row is None:
        return "not measured"
    return row.note or "undefined"


def stars(p: float | None) -> str:
    """Significance marks: *** below .001, ** below .01, * below .05; none without a p value.

    >>> stars(0.004)
    '**'
    """
    marks = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
    for limit, mark in marks:
        if p is not None and p < limit:
            return mark
    return ""


def stacked(
    name: str,
    title: str,
    heads: Sequence[str],
    blocks: Sequence[Sequence[tuple[Cell, ...]]],
    columns: Sequence[Column],
) -> Table:
    """A table of blocks of lines, for instance one for each model, with a rule between them.

    The first cells of a line, one for each of `heads`, name it; `columns` are those of the others.
    No line leans on the one above, so a renderer may split the table. Blocks of a single line have
    no rules between them.

    >>> block = [(Text("a"), Count(1)), (Text("b"), Count(2))]
    >>> made = stacked("t", "T", ["model"], [block, block], [Column("n", Count)])
    >>> len(made.rows), made.groups
    (4, (2,))
    """
    lines: list[tuple[Cell, ...]] = []
    starts = []
    for block in blocks:
        starts.append(len(lines))
        lines.extend(block)
    rules: tuple[int, ...] = ()
    if len(lines) > len(starts):
        rules = tuple(starts[1:])
    every = (*map(Column, heads), *columns)
    return Table(name, title, every, tuple(lines), groups=rules, labels=len(heads))


def rounded(table: Table) -> Table:
    """The table with the decimals that its intervals bear, at most those that it has.

    The narrowest interval of a column, or of a block of lines, is shown to two digits; the others of
    it have as many decimals.

    >>> cells = Interval(0.51234, 0.4, 0.7), Interval(0.25678, 0.22, 0.29)
    >>> made = rounded(stacked("t", "T", ["a"], [[(Text("x"), one)] for one in cells], [Column("b")]))
    >>> [cell.digits for cell in made.column(1)]
    [3, 3]
    """
    starts = [0, *(table.groups if table.alike == "block" else ()), len(table.rows)]
    rows: list[tuple[Cell, ...]] = []
    for start, stop in pairwise(starts):
        block = table.rows[start:stop]
        if table.alike == "block":
            digits = [_decimals(list(chain.from_iterable(block)))] * len(table.columns)
        else:
            digits = [_decimals(column) for column in zip(*block, strict=True)]
        rows += [tuple(map(_with_decimals, row, digits)) for row in block]
    return replace(table, rows=tuple(rows))


def _with_decimals(cell: Cell, digits: int) -> Cell:
    return replace(cell, digits=digits) if isinstance(cell, Interval) else cell


def _decimals(cells: Sequence[Cell]) -> int:
    """Decimals that show the narrowest of some intervals to two digits."""
    least, most, wanted = 1, 1, []
    for cell in cells:
        if isinstance(cell, Interval):
            most = max(most, cell.digits)
            if cell.low != cell.high:
                wanted.append(words.decimals(cell.low, cell.high, least, cell.digits))
    return max(wanted, default=min(most, 3))


def split(
    table: Table, is_narrow: Callable[[Table], bool], n_lines: int | None = None
) -> list[Table]:
    """A table as the fewest that `is_narrow` and that have at most `n_lines` lines.

    Columns that name the lines are repeated; lines part at rules where blocks are small enough.
    A table that cannot be made narrow has one column a part.
    """
    found = []
    for part in _by_columns(table, is_narrow):
        found.extend(_by_lines(part, n_lines))
    made = found[:1]
    for number, part in enumerate(found[1:], 2):
        label = f"{part.label or part.name}-{number}"
        made.append(replace(part, title=f"{part.title}, continued", label=label))
    return made


def _by_columns(table: Table, is_narrow: Callable[[Table], bool]) -> list[Table]:
    n = len(table.columns) - table.labels
    parts = [table]
    for n_parts in range(1, n + 1):
        parts = _columns(table, n_parts)
        if all(map(is_narrow, parts)):
            break
    return parts


def _columns(table: Table, n_parts: int) -> list[Table]:
    """Parts of about equally many neighbouring columns."""
    n = len(table.columns) - table.labels
    parts = []
    for number in range(n_parts):
        start = table.labels + n * number // n_parts
        stop = table.labels + n * (number + 1) // n_parts
        named = slice(table.labels)
        shown = slice(start, stop)
        rows = []
        for row in table.rows:
            rows.append(row[named] + row[shown])
        columns = table.columns[named] + table.columns[shown]
        parts.append(replace(table, columns=columns, rows=tuple(rows)))
    return parts


def _by_lines(table: Table, n_lines: int | None) -> list[Table]:
    if n_lines is None or len(table.rows) <= n_lines:
        return [table]
    parts = []
    start = 0
    while start < len(table.rows):
        stop = min(start + n_lines, len(table.rows))
        if stop < len(table.rows):
            stop = max(_between(table.groups, start, stop), default=stop)
        groups = [at - start for at in _between(table.groups, start, stop - 1)]
        parts.append(replace(table, rows=table.rows[start:stop], groups=tuple(groups)))
        start = stop
    return parts


def _between(rules: Sequence[int], start: int, last: int) -> list[int]:
    """The rules after a line, up to another one."""
    return [rule for rule in rules if start < rule <= last]
