"""Tables as LaTeX: booktabs rules, numbers aligned by siunitx, none wider or taller than a page.

The preamble needs booktabs and siunitx, and xcolor where a number is greyed out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from ibstats.report.table import (
    Cell,
    Column,
    Count,
    Interval,
    Missing,
    Number,
    P,
    Table,
    Text,
    split,
    stars,
)
from ibstats.results import words

WIDTH = 480.0
"""Points between the margins: A4 with margins of 2 cm."""
GAP = 8.0
"""Points between two columns."""
LINES = 54
"""Lines of a table that leave room for its caption on a page."""

NARROW, BROAD = " .,:;'()[]|!/*filjtrI", "mwMW%–×≤≥→∞±"
"""Characters that are narrower than others, and those that are wider."""
POINTS = {"narrow": 2.7, "usual": 4.3, "capital": 5.8, "broad": 6.6}
"""Points of a character at the size of `\\footnotesize`."""

MISSING = "{--}"
ROOM = ", table-space-text-post={***}"
"""Option of a column of numbers with marks."""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
    "–": "--",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "→": r"$\to$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "†": r"$\dagger$",
    "η": r"$\eta$",
    "²": r"$^2$",
    "\n": " ",
}


def escape(text: str) -> str:
    """Text with every character that LaTeX would read as a command made literal.

    >>> escape("50 % of a_b")
    '50 \\\\% of a\\\\_b'
    """
    return "".join(_SPECIAL.get(character, character) for character in text)


def render(table: Table) -> str:
    """The table as LaTeX text, to be used with `\\input`; as several where a page is too small.

    An interval takes three columns where there is room for them, else it stands in brackets behind
    its estimate. Captions hold the title, the notes and how intervals were made. Labels are
    `tab:` and the table's label or name; those of further parts end in a number.
    """
    parts = split(table, lambda part: _width(part, spread=False) <= WIDTH, LINES)
    needs = ["booktabs", "siunitx"]
    if any(map(_is_weak, chain.from_iterable(table.rows))):
        needs.append("xcolor")
    head = rf"% needs \usepackage{{{','.join(needs)}}}"
    return "\n".join([head, *map(_environment, parts)]) + "\n"


def _is_weak(cell: Cell) -> bool:
    return isinstance(cell, Interval) and cell.weak


def _environment(table: Table) -> str:
    spread = _width(table, spread=True) <= WIDTH
    heads: list[str] = []
    kinds: list[str] = []
    columns = []
    for number, column in enumerate(table.columns):
        made = _Column.of(column, table.column(number), spread=spread)
        columns.append(made)
        heads += made.heads()
        kinds += made.kinds()
    body = []
    for number, row in enumerate(table.rows):
        if number in table.groups:
            body.append(r"\midrule")
        fields: list[str] = []
        for shown, cell in zip(columns, row, strict=True):
            fields += shown.fields(cell)
        body.append(" & ".join(fields) + r" \\")
    lines = [
        r"\begin{table}",
        r"\centering",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape(_caption(table))}}}",
        rf"\label{{tab:{table.label or table.name}}}",
        rf"\begin{{tabular}}{{{' '.join(kinds)}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _caption(table: Table) -> str:
    """Title, notes and how intervals were made, each with a full stop."""
    said = []
    for line in (table.title, *table.notes, table.caption):
        if line:
            said.append(line[:1].upper() + line[1:].rstrip(".") + ".")
    return " ".join(said)


@dataclass(frozen=True)
class _Column:
    """A column of the table as LaTeX has it: one, or three of an interval."""

    head: str
    kind: type[Cell]
    spread: bool
    format: str

    @classmethod
    def of(cls, column: Column, cells: Sequence[Cell], *, spread: bool) -> _Column:
        plain = all(map(_is_plain, cells))
        is_spread = spread and column.kind is Interval and plain
        return cls(column.head, column.kind, is_spread, _format(cells, marks=is_spread))

    def heads(self) -> list[str]:
        """Heads in braces, as siunitx wants words."""
        first = f"{{{escape(self.head)}}}"
        return [first, "{low}", "{high}"] if self.spread else [first]

    def kinds(self) -> list[str]:
        """Types of the columns."""
        if self.kind is Text:
            return ["l"]
        if self.spread:
            return [self.format, _without_marks(self.format), _without_marks(self.format)]
        return ["r"] if self.kind is Interval else [self.format]

    def fields(self, cell: Cell) -> list[str]:
        """A cell, in as many fields as there are columns."""
        if isinstance(cell, Interval) and self.spread:
            return _spread(cell)
        field = _field(cell)
        if isinstance(cell, Text) and self.kind is not Text:
            field = f"{{{field}}}"
        return [field, MISSING, MISSING] if self.spread else [field]


def _is_plain(cell: Cell) -> bool:
    """Whether an interval is nothing but numbers and marks."""
    return not isinstance(cell, Interval) or not (cell.sign or cell.word or cell.weak)


def _format(cells: Sequence[Cell], *, marks: bool) -> str:
    """The column type with room for the largest of the numbers in these cells."""
    whole, digits, marked = 1, 0, False
    for cell in cells:
        for value in _values(cell):
            whole = max(whole, len(f"{abs(value):.0f}"))
        digits = max(digits, _digits(cell))
        marked = marked or (isinstance(cell, Interval) and bool(stars(cell.p)))
    if marks and marked:
        return f"S[table-format=-{whole}.{digits}{ROOM}]"
    return f"S[table-format=-{whole}.{digits}]"


def _without_marks(kind: str) -> str:
    return kind.replace(ROOM, "")


def _digits(cell: Cell) -> int:
    match cell:
        case Interval() | Number():
            return cell.digits
        case P():
            return 4
        case _:
            return 0


def _values(cell: Cell) -> Iterator[float]:
    """Every number in a cell."""
    match cell:
        case Interval():
            found: tuple[float | None, ...] = (cell.estimate, cell.low, cell.high)
        case Number(value) | P(value) | Count(value):
            found = (value,)
        case _:
            found = ()
    for value in found:
        if value is not None:
            yield value


def _field(cell: Cell) -> str:
    match cell:
        case Text(said, strong):
            if strong:
                return rf"\textbf{{{escape(said)}}}"
            return escape(said)
        case Count(value):
            return _number(value, 0)
        case Number(value, digits):
            return _number(value, digits)
        case P(value):
            if value is not None and value < words.SMALLEST_P:
                return "{$<$.0001}"
            return _number(value, 4)
        case Missing():
            return MISSING
        case Interval():
            return _in_brackets(cell)


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def _spread(cell: Interval) -> list[str]:
    estimate = _number(cell.estimate, cell.digits)
    marks = stars(cell.p)
    if cell.estimate is not None and marks:
        estimate += f" {{{marks}}}"
    return [estimate, _number(cell.low, cell.digits), _number(cell.high, cell.digits)]


def _in_brackets(cell: Interval) -> str:
    """Estimate, interval in brackets, marks; for a column without alignment."""
    said = [escape(cell.sign)]
    said.append(f"${words.number(cell.estimate, cell.digits)}$")
    bounds = words.bracket(cell.low, cell.high, cell.digits)
    if cell.degenerate:
        said.append("(degenerate)")
    elif bounds:
        said.append(f"${bounds.replace(words.DASH, MISSING)}$".replace(MISSING, r"\text{--}"))
    said += [stars(cell.p), escape(words.WEAK if cell.weak else ""), escape(cell.word)]
    shown = " ".join(filter(None, said)).replace(rf"${words.DASH}$", "--")
    if cell.weak:
        return rf"\textcolor{{gray}}{{{shown}}}"
    return shown


def _width(table: Table, *, spread: bool) -> float:
    """About how wide the table is, in points."""
    width = 0.0
    for number, column in enumerate(table.columns):
        cells = table.column(number)
        width += GAP
        if spread and column.kind is Interval and all(map(_is_plain, cells)):
            width += max(map(_spread_width, [Text(column.head), *cells])) + 2 * GAP
        else:
            width += max(map(_points, [column.head, *map(_plain, cells)]))
    return width


def _spread_width(cell: Cell) -> float:
    """Points of a cell in three columns."""
    if not isinstance(cell, Interval):
        return _points(_plain(cell))
    numbers = [words.number(value, cell.digits) for value in _values(cell)]
    return 3 * max(map(_points, [*numbers, "high"])) + _points(stars(cell.p))


def _points(text: str) -> float:
    """About how wide text is, in points."""
    width = 0.0
    for character in text:
        kind = "usual"
        if character in NARROW:
            kind = "narrow"
        elif character in BROAD:
            kind = "broad"
        elif character.isupper():
            kind = "capital"
        width += POINTS[kind]
    return width


def _plain(cell: Cell) -> str:
    """A cell as it reads, an interval with its brackets."""
    match cell:
        case Interval():
            bounds = words.bracket(cell.low, cell.high, cell.digits)
            if cell.degenerate:
                bounds = "(degenerate)"
            parts = (cell.sign, words.number(cell.estimate, cell.digits), bounds, cell.word)
            return " ".join(filter(None, (*parts, stars(cell.p))))
        case Text(said):
            return said
        case _:
            return _field(cell)
