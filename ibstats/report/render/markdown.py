"""Parts as Markdown, for an issue, a README or a notebook; foreign text stays text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ibstats.report.render import plain
from ibstats.report.table import Heading, Paragraph, Part, Table, Text

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")
"""Characters that could be markup."""


def render(parts: Sequence[Part]) -> str:
    """The parts in order, tables as pipe tables with their notes below; ends with a line break.

    >>> from ibstats.report.table import Column, Table, Text
    >>> table = Table("t", "Sizes", (Column("model"),), ((Text("a|b"),),))
    >>> print(render([Heading("All"), table]), end="")
    ## All
    <BLANKLINE>
    **Sizes**
    <BLANKLINE>
    | model |
    |---|
    | a\\|b |
    """
    blocks = []
    for part in parts:
        match part:
            case Heading(title):
                blocks.append(f"## {escape(title)}")
            case Paragraph(sentence, whole):
                blocks.append(f"    {sentence}" if whole else escape(sentence))
            case Table():
                blocks.append(_table(part))
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """The text, with every character that could be markup taken literally."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _table(table: Table) -> str:
    lines = [f"**{escape(table.title)}**", ""] if table.title else []
    lines.append(_line([escape(column.head) for column in table.columns]))
    rule = []
    for column in table.columns:
        rule.append("---" if column.kind is Text else "---:")
    lines.append(f"|{'|'.join(rule)}|")
    for row in table.rows:
        lines.append(_line([escape(plain.text(cell)) for cell in row]))
    for note in (*table.notes, table.caption):
        if note:
            lines += ["", escape(note)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
