"""Tables as HTML: one plain table with a caption; classes say what a cell is, no style is fixed."""

from __future__ import annotations

from html import escape

from ibstats.report.table import (
    Cell,
    Count,
    Interval,
    Missing,
    Number,
    P,
    Table,
    Text,
    stars,
)
from ibstats.results import words


def render(table: Table) -> str:
    """The table as HTML text; `id` is its name, notes stand below the title in the caption.

    Classes: `number` of cells with numbers, `missing` (its reason is the tooltip), `weak`,
    `degenerate`, `marks` and `interval` of parts of a number. A block of lines is a `tbody`.
    """
    lines = [f'<table id="{escape(table.label or table.name)}">']
    lines.append(f"<caption>{_caption(table)}</caption>")
    heads = []
    for column in table.columns:
        attributes = ' scope="col"'
        if column.kind is not Text:
            attributes += ' class="number"'
        heads.append(f"<th{attributes}>{escape(column.head)}</th>")
    lines.append(f"<thead><tr>{''.join(heads)}</tr></thead>")
    starts = [0, *table.groups]
    for start, stop in zip(starts, [*table.groups, len(table.rows)], strict=True):
        lines.append("<tbody>")
        for row in table.rows[start:stop]:
            lines.append(_row(row, table))
        lines.append("</tbody>")
    return "\n".join([*lines, "</table>"]) + "\n"


def _caption(table: Table) -> str:
    said = [f"<strong>{escape(table.title)}</strong>"]
    for line in (*table.notes, table.caption):
        if line:
            said.append(f"<small>{escape(line)}</small>")
    return "<br>".join(said)


def _row(row: tuple[Cell, ...], table: Table) -> str:
    cells = []
    for number, (cell, column) in enumerate(zip(row, table.columns, strict=True)):
        inside, attributes = inner(cell)
        if number < table.labels:
            cells.append(f'<th scope="row">{inside}</th>')
            continue
        if isinstance(cell, Missing) and column.kind is not Text:  # it stands below its numbers
            attributes = attributes.replace('"missing', '"number missing')
        cells.append(f"<td{attributes}>{inside}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def inner(cell: Cell) -> tuple[str, str]:
    """What stands in a cell, and its attributes, both as HTML; a class says what it is."""
    match cell:
        case Text(said, strong):
            inside = escape(said)
            if strong:
                inside = f"<strong>{inside}</strong>"
            return inside, ""
        case Count(value):
            return words.number(value, 0), ' class="number"'
        case Number(value, digits):
            return words.number(value, digits), ' class="number"'
        case P(value):
            return escape(words.p_value(value)), ' class="number"'
        case Missing(reason):
            attributes = ' class="missing"'
            if reason:
                attributes += f' title="{escape(reason)}"'
            return words.DASH, attributes
        case Interval():
            return _interval(cell)


def _interval(cell: Interval) -> tuple[str, str]:
    inside = escape(f"{cell.sign} {words.number(cell.estimate, cell.digits)}".strip())
    classes = ["number"]
    if cell.degenerate:
        classes.append("degenerate")
        inside += ' <span class="interval">degenerate</span>'
    else:
        bounds = words.bracket(cell.low, cell.high, cell.digits)
        if bounds:
            inside += f' <span class="interval">{bounds}</span>'
    if stars(cell.p):
        inside += f' <span class="marks">{stars(cell.p)}</span>'
    if cell.word:
        inside += f" {escape(cell.word)}"
    if cell.weak:
        classes.append("weak")
        inside += f' <span class="marks">{words.WEAK}</span>'
    return inside, f' class="{" ".join(classes)}"'
