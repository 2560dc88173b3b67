"""Parts as JSON: the same words, and the numbers of each cell beside them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from ibstats.report.render import plain
from ibstats.report.table import Cell, Heading, Paragraph, Part, Table


def render(parts: Sequence[Part]) -> str:
    """A list of `{"heading"}`, `{"paragraph"}` and `{"table"}`, as text that ends with a line break.

    A cell has its `text`, as every renderer writes it, its `kind` and its fields (`value`, or
    `estimate`, `low`, `high` and the rest); undefined numbers are null.

    >>> render([Paragraph("all is well")]).split()
    ['[', '{', '"paragraph":', '"all', 'is', 'well"', '}', ']']
    """
    return json.dumps([_plain(part) for part in parts], indent=1, ensure_ascii=False) + "\n"


def _plain(part: Part) -> dict[str, Any]:
    match part:
        case Heading(title):
            return {"heading": title}
        case Paragraph(sentence):
            return {"paragraph": sentence}
        case Table():
            return {"table": _table(part)}


def _table(table: Table) -> dict[str, Any]:
    rows = []
    for row in table.rows:
        rows.append([_cell(cell) for cell in row])
    return {
        "name": table.label or table.name,
        "title": table.title,
        "columns": [column.head for column in table.columns],
        "rows": rows,
        "notes": list(table.notes),
        "caption": table.caption,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    kind = type(cell).__name__.lower()
    return {"text": plain.text(cell), "kind": kind, **dataclasses.asdict(cell)}
