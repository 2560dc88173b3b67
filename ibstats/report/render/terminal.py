"""Tables on the terminal: no number is cut short, and no foreign text is read as markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text as Styled

from ibstats.report.render import plain
from ibstats.report.table import (
    Cell,
    Heading,
    Interval,
    Missing,
    Paragraph,
    Part,
    Table,
    Text,
    split,
)

WORD = 40
"""Characters from which on a single word may go over several lines."""

STYLES = {False: "", True: "dim"}
"""Styles of numbers, by whether they are weak."""

BETWEEN = 3
"""Columns that a column of a table takes besides its text."""


@dataclass(frozen=True)
class Layout:
    """How a table is made narrower."""

    intervals: bool = False
    """Intervals stand below their estimates."""
    labels: bool = False
    """Names of a line stand below each other, in one column."""
    fold: int = 24
    """Characters from which on words may go over several lines."""


LAYOUTS = (
    Layout(),
    Layout(intervals=True),
    Layout(intervals=True, labels=True),
    Layout(intervals=True, labels=True, fold=16),
)
"""From the widest to the narrowest."""


def show(parts: Sequence[Part], console: Console) -> None:
    """Print parts in order.

    What a table says of its numbers is left out where it was said under the same heading, or where
    the next table says it again. A table that is too wide has its intervals on a second line, then
    its names, and is split by columns if that is not enough.
    """
    said: set[str] = set()
    for place, part in enumerate(parts):
        match part:
            case Heading(title):
                console.rule(Styled(title, "bold"), align="left")
                said = set()
            case Paragraph(sentence, whole):
                console.print(Styled(sentence), soft_wrap=whole)
                said.add(sentence)
            case Table():
                following = _notes(parts[place + 1 : place + 2])
                notes = [note for note in part.notes if note not in following]
                if part.caption and part.caption not in said:
                    notes.append(part.caption)
                    said.add(part.caption)
                _show(part, notes, console)


def height(parts: Sequence[Part], width: int) -> int:
    """Lines that `show` takes on a terminal of that many columns.

    >>> height([Paragraph("one two")], 80), height([Paragraph("one two")], 4)
    (1, 2)
    """
    console = Console(width=width, file=StringIO())
    with console.capture() as capture:
        show(parts, console)
    return len(capture.get().splitlines())


def _notes(parts: Sequence[Part]) -> set[str]:
    """Notes of the tables among some parts."""
    found: set[str] = set()
    for part in parts:
        if isinstance(part, Table):
            found.update(part.notes)
    return found


def _show(table: Table, below: Sequence[str], console: Console) -> None:
    for piece in split(table, partial(_fits, console=console)):
        console.print(Styled(piece.title, "italic"))
        console.print(_narrowest(piece, console), width=console.width)
    for line in below:
        console.print(Styled(line, "dim italic"))


def _fits(table: Table, console: Console) -> bool:
    return _width(_grid(table, LAYOUTS[-1])) <= console.width


def _narrowest(table: Table, console: Console) -> Grid:
    """The table in the first layout in which it fits."""
    for layout in LAYOUTS:
        made = _grid(table, layout)
        if _width(made) <= console.width:
            break
    return made


def _width(table: Grid) -> int:
    """Columns that a table needs at least."""
    width = 1
    for column in table.columns:
        width += (column.min_width or 0) + BETWEEN
    return width


def _grid(table: Table, layout: Layout) -> Grid:
    heads, rows = _texts(table, layout)
    n_labels = len(heads) - len(table.columns) + table.labels
    kinds = [Text] * n_labels + [column.kind for column in table.columns[table.labels :]]
    made = Grid(box=box.SIMPLE_HEAD)
    for number, (head, kind) in enumerate(zip(heads, kinds, strict=True)):
        texts = [Styled(head), *(row[number] for row in rows)]
        if kind is Text:
            least = max(_least(text, layout.fold) for text in texts)
            made.add_column(texts[0], overflow="fold", min_width=least)
        else:
            longest = max(map(_longest, texts))
            made.add_column(texts[0], justify="right", no_wrap=True, min_width=longest)
    for number, cells in enumerate(rows, 1):
        made.add_row(*cells, end_section=number in table.groups)
    return made


def _texts(table: Table, layout: Layout) -> tuple[list[str], list[list[Styled]]]:
    """Heads and cells as text, in the columns of a layout."""
    labels = table.labels
    heads = [column.head for column in table.columns]
    if layout.labels:
        heads = [", ".join(heads[:labels]), *heads[labels:]]
    rows = []
    for row in table.rows:
        cells = [styled(cell, folded=layout.intervals) for cell in row]
        if layout.labels:
            cells = [Styled("\n").join(cells[:labels]), *cells[labels:]]
        rows.append(cells)
    return heads, rows


def _longest(text: Styled) -> int:
    return max(map(len, text.plain.split("\n")))


def _least(text: Styled, fold: int) -> int:
    """Columns that words need at least: they may be folded, but a word of usual length may not."""
    word = max(map(len, text.plain.split()), default=0)
    return min(_longest(text), max(fold, min(word, WORD)))


def styled(cell: Cell, *, folded: bool = False) -> Styled:
    """A cell as text with its style; `folded` puts an interval below its estimate.

    Names keep their brackets: they are text, never markup.
    """
    said = plain.text(cell, folded=folded)
    match cell:
        case Text(strong=True):
            return Styled(said, "bold")
        case Missing():
            return Styled(said, "dim")
        case Interval():
            return Styled(said, STYLES[cell.weak])
    return Styled(said)
