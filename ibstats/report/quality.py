"""Tables of quality for the terminal: scores of each condition, what the probes do to them, the frontier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from ibstats.report.old_tables import interval, new_table, number, stars
from ibstats.results.open_intervals import remark
from ibstats.results.rows import extent
from ibstats.variables import QUALITY, preferred_distance

if TYPE_CHECKING:
    from schemas.results import ResultRow

COLUMNS = 3
"""Scores with intervals that fit beside each other."""


def quality(rows: list[ResultRow]) -> list[Table]:
    """Scores, the parts of a score, probes and frontier of one model."""
    scores = [row for row in rows if row.section == "quality"]
    probes = [row for row in rows if row.section == "quality_probe"]
    verdicts = [row for row in rows if row.section == "frontier"]
    if not scores:
        return []
    names = [name for name in QUALITY if any(row.quantity == name for row in scores)]
    parts = [name for name in names if is_part(name)]
    main = [name for name in names if name not in parts]
    tables = [_grid(scores, "Quality", some) for some in _batches(main)]
    if parts:
        tables.append(_parts(scores, parts))
    if probes:
        over = extent(row.n_tests for row in probes if not is_part(row.quantity))
        title = f"What each probe does to quality (change from the reference cell; marks: Holm over {over} tests)"
        tables += [_grid(probes, title, some) for some in _batches(main)]
    if verdicts:
        tables.append(_frontier(verdicts, main))
    return tables


def is_part(name: str) -> bool:
    """Whether a score is one attribute of another."""
    return name.startswith("reference_accuracy_")


def better(name: str) -> str:
    """Which end is good, as an arrow."""
    return "↑" if QUALITY[name].larger_is_better else "↓"


def notes(rows: list[ResultRow]) -> list[str]:
    """What must be known to read each score."""
    found = {row.quantity: remark(row) for row in rows if row.section == "quality" and remark(row)}
    return [f"{name}: {note}" for name, note in found.items()]


def _batches(names: list[str]) -> list[list[str]]:
    return [names[start : start + COLUMNS] for start in range(0, len(names), COLUMNS)]


def _grid(rows: list[ResultRow], title: str, names: list[str]) -> Table:
    """One line per term, one column per score."""
    table = new_table(title, "", *(f"{name} {better(name)}" for name in names))
    by_key = {(row.quantity, row.term): row for row in rows}
    for term in dict.fromkeys(row.term for row in rows):
        found = [by_key.get((name, term)) for name in names]
        table.add_row(
            term, *("–" if row is None else f"{interval(row)}{stars(row.p_holm)}" for row in found)
        )
    return table


def _parts(rows: list[ResultRow], names: list[str]) -> Table:
    short = [name.removeprefix("reference_accuracy_") for name in names]
    counts = {row.quantity: row.n_prompts for row in rows}
    titles = [f"{label} ({counts[name]})" for label, name in zip(short, names, strict=True)]
    table = new_table(
        "reference_accuracy by attribute (prompts that name it); intervals in the CSV", "", *titles
    )
    by_key = {(row.quantity, row.term): row for row in rows}
    for term in dict.fromkeys(row.term for row in rows):
        table.add_row(term, *(number(by_key[name, term].estimate, 3) for name in names))
    return table


def _frontier(rows: list[ResultRow], names: list[str]) -> Table:
    """Verdicts against the preferred distance: LPIPS where it was measured."""
    distance = preferred_distance({row.attribution for row in rows})
    shown = [name for name in names if any(row.quantity == name for row in rows)]
    table = new_table(f"Diversity-fidelity frontier: {distance} against", "", *shown)
    by_key = {(row.quantity, row.term): row for row in rows if row.attribution == distance}
    for term in dict.fromkeys(row.term for row in rows):
        table.add_row(term, *(str(by_key[name, term].verdict) for name in shown))
    return table
