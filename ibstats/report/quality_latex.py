"""LaTeX tables of quality: each score in every condition, what effects and probes change, and the frontier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibstats.report.latex import (
    aligned,
    by_model,
    changes,
    escape,
    how,
    level_columns,
    levels,
    number,
    table,
)
from ibstats.report.quality import better, is_part
from ibstats.results.open_intervals import remark
from ibstats.variables import DISTANCES, QUALITY, preferred_distance

if TYPE_CHECKING:
    from schemas.results import ResultRow, Results

TESTED = {
    "quality_effect": ("effects", "Effect", "Effects, high minus low level, on"),
    "quality_probe": (
        "probes",
        "Probe",
        "Changes by each probe from the cell without intervention:",
    ),
}
"""Sections of a factorial's tested differences: their files, headers and captions."""


def scores(document: Results) -> list[str]:
    """Scores in the results, without the parts of one."""
    found = {row.quantity for row in document.rows if row.section == "quality"}
    return [name for name in QUALITY if name in found and not is_part(name)]


def score_name(name: str) -> str:
    """A score in a caption, and which end is good."""
    return f"{escape(QUALITY[name].long_name)} ({'larger' if better(name) == '↑' else 'smaller'} is better)"


def tables(document: Results) -> dict[str, str]:
    """The tables of a factorial's quality by name; none where no quality was measured."""
    made: dict[str, str] = {}
    for name in scores(document):
        rows = [row for row in document.rows if (row.section, row.quantity) == ("quality", name)]
        columns = [
            ("Model", "l"),
            *level_columns(rows[0]),
            ("Score", aligned(row.estimate for row in rows)),
        ]
        columns += [
            ("Low", aligned(row.low for row in rows)),
            ("High", aligned(row.high for row in rows)),
        ]
        body = by_model(
            rows, lambda row: (*levels(row), *map(number, (row.estimate, row.low, row.high)))
        )
        made[f"quality-{name}"] = table(
            columns, body, caption(name, rows, document), f"tab:quality-{name}"
        )
        for section, (file, head, title) in TESTED.items():
            tested = [
                row for row in document.rows if (row.section, row.quantity) == (section, name)
            ]
            made[f"quality-{file}-{name}"] = changes(
                tested, document, head, f"{title} {score_name(name)}.", f"tab:quality-{file}-{name}"
            )
    return made | {"frontier": frontier(document, "tab:frontier")}


def caption(name: str, rows: list[ResultRow], document: Results) -> str:
    """What a score is, how its intervals were made, and what must be known to read it."""
    note = remark(rows[0])
    return f"Quality: {score_name(name)}. {how(rows, document)}" + (
        f" Note: {escape(note)}." if note else ""
    )


def frontier(document: Results, key: str) -> str:
    """Verdict of each condition on each score, against the preferred distance that was measured."""
    rows = [row for row in document.rows if row.section == "frontier"]
    distance = preferred_distance({row.attribution for row in rows})
    verdicts = {
        (row.model, row.term, row.quantity): row.verdict or ""
        for row in rows
        if row.attribution == distance
    }
    names = [
        name for name in scores(document) if any(quantity == name for _, _, quantity in verdicts)
    ]
    if distance is None or not names:
        return ""
    firsts = [row for row in rows if (row.attribution, row.quantity) == (distance, names[0])]
    columns = [
        ("Model", "l"),
        *level_columns(firsts[0]),
        *((escape(name.replace("_", " ")), "l") for name in names),
    ]
    body = by_model(
        firsts,
        lambda row: (
            *levels(row),
            *(verdicts.get((row.model, row.term, n), "{--}") for n in names),
        ),
    )
    text = (
        f"Diversity-fidelity frontier: {escape(DISTANCES[distance].long_name)} against each score. Dominated: another "
        "condition is at least as good in both and better in one; clearly dominated: the paired intervals of "
        "both differences exclude zero, at a level adjusted (Bonferroni) for the number of other conditions. "
        f"Data snapshot \\texttt{{{document.snapshot[:12]}}}."
    )
    return table(columns, body, text, key)
