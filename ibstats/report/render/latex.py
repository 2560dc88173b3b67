"""Tables as LaTeX: booktabs rules, `estimate [low, high]`, none wider or taller than a page.

The preamble needs booktabs, and xcolor where a number is greyed out. What is wider than a column is
`table*`, so the same file serves documents of one and of two columns; what is taller than a page is
several tables, for a `longtable` refuses two columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

from ibstats.report.render.letters import n_lines, points
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
    rounded,
    split,
    stars,
)
from ibstats.results import words

PAGE, COLUMN = 480.0, 234.0
"""Points between the margins of A4, which are 2 cm, and of one of two columns there."""
HEIGHT = 690.0
"""Points of a page that a table takes at the most."""
GAP = 8.0
"""Points between two columns."""
LINE, RULE = 9.5, 5.0
"""Points that a line and a rule add to the height."""
SIZES = r"\fontsize{8}{9.5}\selectfont", r"\fontsize{7}{8}\selectfont"
"""Letters of the table, and of the notes below."""
LONGEST = 150.0
"""Points of a text, beyond which it is set in lines, and of a word, beyond which it is broken."""
MARKS = 13.0
"""Points that are kept for marks in a column that has some."""

MISSING = "--"
NONE = r"\mbox{--}"
"""A bound that is missing, in an interval."""

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
    '"': r"\char34{}",
    "[": "{[}",
    "]": "{]}",
    "–": "--",
    "…": r"\dots{}",
    "·": r"$\cdot$",
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


def flowing(text: str) -> str:
    """Text to be set in lines, escaped; a word that no line holds may break after any letter.

    >>> flowing("a & b")
    'a \\\\& b'
    """
    made = []
    for word in text.split(" "):
        if points(word) > LONGEST:
            made.append(r"\allowbreak{}".join(map(escape, word)))
        else:
            made.append(escape(word))
    return " ".join(made)


def render(table: Table) -> str:
    """The table as LaTeX text, to be used with `\\input`; as several where a page is too small.

    Intervals are `estimate [low, high]`, with the decimals that show the narrowest of a column to
    two digits; p values have three. A name stands once in a block of lines. The title is the
    caption; notes, and how intervals were made, stand below. Labels are `tab:` and the table's
    label or name; those of further parts end in a number.
    """
    shown = rounded(table)
    parts = split(shown, lambda part: _width(part) <= PAGE, _room(shown))
    needs = ["booktabs"]
    if any(map(_is_weak, chain.from_iterable(table.rows))):
        needs.append("xcolor")
    head = rf"% needs \usepackage{{{','.join(needs)}}}"
    return "\n".join([head, *map(_environment, parts)]) + "\n"


def _is_weak(cell: Cell) -> bool:
    return isinstance(cell, Interval) and cell.weak


def _room(table: Table) -> int:
    """Lines of a table that leave room for its caption, rules and notes on a page."""
    around = 12.0 * n_lines(table.title, PAGE, 10.0) + 8.0 * n_lines(_notes(table), PAGE, 7.0)
    around += RULE * (len(table.groups) + 3) + 2 * LINE + 20.0
    tallest = 1
    for cell in chain.from_iterable(table.rows):
        tallest = max(tallest, n_lines(_plain(cell), LONGEST))
    return max(1, math.floor((HEIGHT - around) / (LINE * tallest)))


def _environment(table: Table) -> str:
    name = "table" if _width(table) <= COLUMN else "table*"
    marked = []
    for number in range(len(table.columns)):
        marked.append(_is_marked(table.column(number)))
    body = []
    for number in range(len(table.rows)):
        if number in table.groups:
            body.append(r"\midrule")
        fields = []
        for cell, column, has_marks in zip(
            _line(table, number), table.columns, marked, strict=True
        ):
            fields.append(_field(cell, column, has_marks=has_marks))
        body.append(" & ".join(fields) + r" \\")
    lines = [
        rf"\begin{{{name}}}",
        r"\centering",
        rf"\caption{{{flowing(_sentence(table.title))}}}",
        rf"\label{{tab:{table.label or table.name}}}",
        r"\smallskip",
        SIZES[0],
        r"\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{{''.join(map(_kind, table.columns))}}}",
        r"\toprule",
        " & ".join(map(_head, table.columns)) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *_below(_notes(table)),
        rf"\end{{{name}}}",
    ]
    return "\n".join(lines)


def _line(table: Table, number: int) -> tuple[Cell, ...]:
    """A row, without the name of its block where the row above says it."""
    row = table.rows[number]
    begins = number == 0 or number in table.groups
    if table.labels < 2 or begins or row[0] != table.rows[number - 1][0]:
        return row
    return (Text(""), *row[1:])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _notes(table: Table) -> str:
    """What must be known to read it and how intervals were made, each with a full stop."""
    return " ".join(map(_sentence, filter(None, (*table.notes, table.caption))))


def _below(notes: str) -> list[str]:
    if not notes:
        return []
    return [
        r"\par\smallskip",
        rf"\begin{{minipage}}{{\linewidth}}{SIZES[1]}\raggedright",
        flowing(notes),
        r"\end{minipage}",
    ]


def _kind(column: Column) -> str:
    return "l" if column.kind is Text else "r"


def _head(column: Column) -> str:
    """The head of a column, of several lines where it is wider than a text may be."""
    return _boxed(column.head)


def _is_marked(cells: Sequence[Cell]) -> bool:
    return any(isinstance(cell, Interval) and stars(cell.p) for cell in cells)


def _field(cell: Cell, column: Column, *, has_marks: bool) -> str:
    """A cell; one of a column with marks keeps room for them."""
    field = _shown(cell)
    if has_marks:
        marks = stars(cell.p) if isinstance(cell, Interval) else ""
        field += rf"\makebox[{MARKS:g}pt][l]{{{marks}}}"
    return field


def _shown(cell: Cell) -> str:
    match cell:
        case Text(said, strong):
            shown = _boxed(said)
            return rf"\textbf{{{shown}}}" if strong else shown
        case Count(value):
            return _number(value, 0)
        case Number(value, digits):
            return _number(value, digits)
        case P(value):
            return _p_value(value)
        case Missing():
            return MISSING
        case Interval():
            return _interval(cell)


def _boxed(text: str) -> str:
    if points(text) <= LONGEST:
        return escape(text)
    return rf"\parbox[t]{{{LONGEST:g}pt}}{{\raggedright {flowing(text)}\strut}}"


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"${words.number(value, digits)}$"


def _p_value(value: float | None) -> str:
    """Two digits, never 0 or 1."""
    if value is None:
        return MISSING
    if value < 0.001:
        return "$<$.001"
    if value > 0.99:
        return "$>$.99"
    return f"{value:.{1 - math.floor(math.log10(value))}f}".lstrip("0")


def _interval(cell: Interval) -> str:
    """Estimate, interval in brackets, words."""
    said = [escape(cell.sign), _number(cell.estimate, cell.digits)]
    bounds = words.bracket(cell.low, cell.high, cell.digits)
    if cell.degenerate:
        said.append("(degenerate)")
    elif bounds:
        said.append(f"${bounds.replace(words.DASH, NONE)}$")
    said += [escape(words.WEAK if cell.weak else ""), escape(cell.word)]
    shown = " ".join(filter(None, said))
    return rf"\textcolor{{gray}}{{{shown}}}" if cell.weak else shown


def _width(table: Table) -> float:
    """About how wide the table is, in points."""
    width = 0.0
    for number, column in enumerate(table.columns):
        cells = table.column(number)
        widths = [min(points(text), LONGEST) for text in (column.head, *map(_plain, cells))]
        width += GAP + max(widths)
        if _is_marked(cells):
            width += MARKS
    return width


def _plain(cell: Cell) -> str:
    """A cell as it reads, without its marks."""
    match cell:
        case Interval():
            bounds = words.bracket(cell.low, cell.high, cell.digits)
            if cell.degenerate:
                bounds = "(degenerate)"
            weak = words.WEAK if cell.weak else ""
            parts = (cell.sign, words.number(cell.estimate, cell.digits), bounds, weak, cell.word)
            return " ".join(filter(None, parts)).replace("-", "−")
        case Text(said):
            return said
        case Count(value):
            return words.number(value, 0)
        case Number(value, digits):
            return words.number(value, digits).replace("-", "−")
        case P():
            return "<.001"
        case Missing():
            return MISSING
