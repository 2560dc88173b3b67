"""The table as a value: what stands in it, not how it looks. Topics make tables, renderers show them.

A cell says what it is (an interval, a p value, a count, text, something missing), so that a terminal, LaTeX, HTML and
CSV each show it in their own way, and none needs to know what the table is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.results import ResultRow


@dataclass(frozen=True)
class Text:
    """Words, taken literally by every renderer."""

    words: str
    strong: bool = False


@dataclass(frozen=True)
class Count:
    """A whole number."""

    value: int | None


@dataclass(frozen=True)
class Number:
    """A number without an interval; None where it is undefined."""

    value: float | None
    digits: int = 4


@dataclass(frozen=True)
class P:
    """A p value, never shown as zero; None where no test was possible."""

    value: float | None


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, and what must be seen beside it."""

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


@dataclass(frozen=True)
class Missing:
    """Nothing to show, as a dash; the reason stands in a note, once."""

    reason: str = ""


Cell = Text | Count | Number | P | Interval | Missing


@dataclass(frozen=True)
class Column:
    """One column: its head and what its cells are."""

    head: str
    kind: type[Cell] = Text


@dataclass(frozen=True)
class Table:
    """A titled grid of cells; `name` is that of its file."""

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

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {number} of table '{self.name}' has {len(row)} cells for {len(self.columns)} columns"
                )


@dataclass(frozen=True)
class Paragraph:
    """A sentence beside the tables."""

    words: str


Part = Table | Paragraph
"""What a report is made of, in order."""


def interval(row: ResultRow | None, digits: int = 4, *, marks: bool = False) -> Cell:
    """The estimate of a row of results with its interval, a dash where there is no row or no estimate.

    `marks` shows the significance of its Holm-adjusted p value.
    """
    if row is None or row.estimate is None:
        return Missing(_reason(row))
    p = row.p_holm if marks else None
    return Interval(row.estimate, row.low, row.high, digits, row.degenerate, p)


def _reason(row: ResultRow | None) -> str:
    if row is None:
        return "not measured"
    return row.note or "undefined"


def stars(p: float | None) -> str:
    """Significance marks: *** below .001, ** below .01, * below .05, none where there is no p value.

    >>> stars(0.004)
    '**'
    """
    marks = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
    for limit, mark in marks:
        if p is not None and p < limit:
            return mark
    return ""


def grid(
    name: str,
    title: str,
    head: str,
    lines: Sequence[tuple[str, Sequence[Cell]]],
    columns: Sequence[Column],
    caption: str = "",
    notes: Sequence[str] = (),
) -> Table:
    """A table whose first column names the lines; a renderer may turn it, so no line leans on the one above."""
    rows = []
    for label, cells in lines:
        rows.append((Text(label), *cells))
    return Table(name, title, (Column(head), *columns), tuple(rows), caption, tuple(notes))
