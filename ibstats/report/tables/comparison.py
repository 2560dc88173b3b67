"""The table of what moved between two analyses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibstats.report.table import Column, Number, Paragraph, Part, Table, Text

if TYPE_CHECKING:
    from ibstats.results.compare import Comparison

UNEXPLAINED = "no cause is recorded: same data, settings and version; was a file edited?"


def comparison(found: Comparison, limit: int) -> list[Part]:
    """Causes, then the largest `limit` changes; a sentence where no number differs.

    `limit` may be 0: then the title alone says how many rows differ.
    """
    parts: list[Part] = [Paragraph(f"cause: {cause}") for cause in found.causes]
    if not found.changes:
        return [*parts, Paragraph(f"{found.n_rows} rows, no number differs")]
    parts.append(_changes(found, limit))
    if not found.causes:
        parts.append(Paragraph(UNEXPLAINED))
    return parts


def _changes(found: Comparison, limit: int) -> Table:
    shown = found.changes[:limit]
    title = f"{len(found.changes)} of {found.n_rows} rows differ"
    if len(shown) < len(found.changes):
        title += f", largest {limit}"
    rows = []
    for change in shown:
        name = " ".join(str(part) for part in change.key if part)
        numbers = (Number(change.before), Number(change.after), Number(change.by))
        rows.append((Text(name), Text(change.kind), *numbers))
    columns = (
        Column("number"),
        Column("kind"),
        Column("before", Number),
        Column("after", Number),
        Column("by", Number),
    )
    return Table("changes", title, columns, tuple(rows))
