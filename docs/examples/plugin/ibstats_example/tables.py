"""Tables for a paper as Typst, which `#include` or a copy puts into a document."""

from __future__ import annotations

import re

from ibstats.report.render import Renderer, plain
from ibstats.report.table import Table, Text

SPECIAL = re.compile(r"([\\#$*_`<>@\[\]~=/+-])")
"""Characters that could be markup."""


class Typst(Renderer):
    """A figure with a table: words to the left, numbers to the right, rules between blocks."""

    ending = "typ"

    def render(self, table: Table) -> str:
        """Give one table as a figure, with its notes below."""
        sides = ["left" if column.kind is Text else "right" for column in table.columns]
        lines = ["#figure(", "  table(", f"    columns: {len(sides)},"]
        lines.append(f"    align: ({', '.join(sides)},),")
        lines.append(f"    table.header({cells([column.head for column in table.columns])}),")
        for number, row in enumerate(table.rows):
            if number in table.groups:
                lines.append("    table.hline(),")
            lines.append(f"    {cells([plain.text(cell) for cell in row])},")
        said = filter(None, (table.title, table.caption, *table.notes))
        below = " ".join(f"{sentence.rstrip('.')}." for sentence in said)
        lines += ["  ),", f"  caption: {content(below)},", ")"]
        return "\n".join(lines) + "\n"


def cells(texts: list[str]) -> str:
    """Texts as contents, one after another."""
    return ", ".join(map(content, texts))


def content(text: str) -> str:
    """A text as content in which no character is markup."""
    escaped = SPECIAL.sub(r"\\\1", " ".join(text.split()))
    return f"[{escaped}]"
