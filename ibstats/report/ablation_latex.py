"""LaTeX tables of an ablation: each arm with its paired change, planned comparisons, codebook, inflection and offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ibstats.report import quality_latex
from ibstats.report.latex import (
    MARKS,
    NUMBER,
    SHORT,
    aligned,
    by_model,
    changes,
    escape,
    how,
    levels,
    marked,
    number,
    p_number,
    table,
)
from ibstats.results.offer import offers
from ibstats.results.open_intervals import remark
from ibstats.statistics import ablations
from ibstats.statistics.information import POOLED_NOTE
from ibstats.statistics.subset_ratio import (
    AT_EDGE,
    EDGE_NOTE,
    KNEE_NOTE,
    NO_POINT,
    NOT_FOUND,
    OFFER_NOTE,
)
from ibstats.variables import DISTANCES

if TYPE_CHECKING:
    from schemas.results import ResultRow, Results

CODEBOOK = {"codebook_entropy": "$H(Z)$", "conditional_entropy": "$H(Z|X)$"}
PLAIN = {"capacity": "Most", "utilisation": "Utilisation", "coverage_per_prompt": "Coverage"}
"""Quantities of the codebook with intervals, and without."""


def tables(document: Results) -> dict[str, str]:
    """The tables of one ablation by name: `arms-QUANTITY` and `comparisons-QUANTITY` of every distance and score,
    `codebook`, `inflection`, `offer`, `frontier`."""
    name = document.rows[0].experiment
    made: dict[str, str] = {}
    for quantity in _quantities(document):
        made[f"arms-{quantity}"] = _arms(document, quantity, f"tab:{name}-{quantity}")
        rows = [
            row for row in document.rows if (row.section, row.quantity) == ("comparison", quantity)
        ]
        made[f"comparisons-{quantity}"] = changes(
            rows,
            document,
            "Comparison",
            f"Planned comparisons of arms: {_title(quantity)}.",
            f"tab:{name}-pairs-{quantity}",
        )
    made["codebook"] = _codebook(document, f"tab:{name}-codebook")
    made["inflection"] = _inflection(document, f"tab:{name}-inflection")
    made["offer"] = _offer(document, f"tab:{name}-offer")
    return made | {"frontier": quality_latex.frontier(document, f"tab:{name}-frontier")}


def _quantities(document: Results) -> list[str]:
    measured = {row.quantity for row in document.rows if row.section == "diversity"}
    return [name for name in DISTANCES if name in measured] + quality_latex.scores(document)


def _title(quantity: str) -> str:
    if quantity in DISTANCES:
        return (
            f"diversity, mean {escape(DISTANCES[quantity].long_name)} of pairs of a prompt's images"
        )
    return f"quality, {quality_latex.score_name(quantity)}"


def _arms(document: Results, quantity: str, key: str) -> str:
    """Every arm, and beside it its change from the arm without intervention."""
    value, change = (
        ("diversity", "contrast") if quantity in DISTANCES else ("quality", "quality_effect")
    )
    rows = [row for row in document.rows if (row.section, row.quantity) == (value, quantity)]
    tested = [row for row in document.rows if (row.section, row.quantity) == (change, quantity)]
    by_arm = {(row.model, row.term.partition(" - ")[0]): row for row in tested}

    def line(row: ResultRow) -> Sequence[str]:
        found = by_arm.get((row.model, ablations.label(row.term)))
        difference = ["{--}"] * 4
        if found is not None:
            difference = [
                marked(found.estimate, found.p_holm),
                *map(number, (found.low, found.high)),
                p_number(found.p_holm),
            ]
        return (*levels(row), *map(number, (row.estimate, row.low, row.high)), *difference)

    columns = [("Model", "l"), ("Arm", "l"), ("Value", aligned(row.estimate for row in rows))]
    columns += [
        ("Low", aligned(row.low for row in rows)),
        ("High", aligned(row.high for row in rows)),
    ]
    columns += [("Change", aligned((row.estimate for row in tested), marks=True))]
    columns += [
        ("Low", aligned(row.low for row in tested)),
        ("High", aligned(row.high for row in tested)),
    ]
    columns += [("$p$ (Holm)", NUMBER)]
    title = _title(quantity)
    note = next(filter(None, map(remark, rows)), None)
    caption = f"{title[:1].upper()}{title[1:]}, and change from the arm without intervention, paired within prompts. "
    caption += f"{MARKS} over the arms. {how(rows, document)}" + (
        f" Note: {escape(note)}." if note else ""
    )
    return table(columns, by_model(rows, line), caption, key)


def _codebook(document: Results, key: str) -> str:
    found = {(r.model, r.term, r.quantity): r for r in document.rows if r.section == "information"}
    firsts = [row for row in found.values() if row.quantity == "codebook_entropy"]
    if not firsts:
        return ""

    def line(row: ResultRow) -> Sequence[str]:
        intervals = [found[row.model, row.term, name] for name in CODEBOOK]
        numbers = [value for one in intervals for value in (one.estimate, one.low, one.high)]
        numbers += [found[row.model, row.term, name].estimate for name in PLAIN]
        return (*levels(row), *(number(value, 2) for value in numbers))

    columns = [("Model", "l"), ("Arm", "l")]
    for head in CODEBOOK.values():
        columns += [(head, SHORT), ("Low", SHORT), ("High", SHORT)]
    columns += [(head, SHORT) for head in PLAIN.values()]
    caption = (
        f"Codebook entropy per token in bits, estimator {escape(firsts[0].estimator or '')}; most: log2 of the codes "
        f"an arm may use; utilisation of the whole codebook; coverage of one prompt's codes; "
        f"{POOLED_NOTE}. {how(firsts, document)}"
    )
    return table(columns, by_model(firsts, line), caption, key)


def _inflection(document: Results, key: str) -> str:
    rows = [row for row in document.rows if row.section == "inflection"]
    slopes = {(row.model, row.quantity, row.term): row.estimate for row in rows}
    points = [row for row in rows if row.term == "ratio"]
    if not points:
        return ""

    def line(row: ResultRow) -> Sequence[str]:
        ratio = (
            (None, None, None) if row.verdict == NOT_FOUND else (row.estimate, row.low, row.high)
        )
        sides = (slopes[row.model, row.quantity, f"slope_{side}"] for side in ("below", "above"))
        name = escape(DISTANCES[row.quantity].long_name) + (
            r" $^\dagger$" if row.verdict == AT_EDGE else ""
        )
        return (name, *map(number, (*ratio, *sides)), p_number(row.p_max_t))

    columns = [
        ("Model", "l"),
        ("Distance", "l"),
        ("Ratio", NUMBER),
        ("Low", NUMBER),
        ("High", NUMBER),
    ]
    for side in ("below", "above"):
        values = (value for (_, _, term), value in slopes.items() if term == f"slope_{side}")
        columns.append((f"Slope {side}", aligned(values)))
    columns.append(("$p$", NUMBER))
    caption = f"Inflection point of diversity over the share of codes kept: {escape(KNEE_NOTE)}."
    caption += (
        f" $^\\dagger$ {escape(EDGE_NOTE)}."
        if any(row.verdict == AT_EDGE for row in points)
        else ""
    )
    caption += f" {how(points, document)}"
    return table(columns, by_model(points, line), caption, key)


def _offer(document: Results, key: str) -> str:
    """A line for each model, by the preferred distance: inflection point, quality, and the ratio offered."""
    found = offers(document.rows)
    if not found:
        return ""

    def line(row: ResultRow) -> Sequence[str]:
        one = found[row.model]
        knee = (
            (None, None, None)
            if row.verdict == NO_POINT
            else (one.knee.estimate, one.knee.low, one.knee.high)
        )
        change = one.evidence
        at = escape(change.term.partition(" - ")[0]) if change else ""
        numbers = (change.estimate, change.low, change.high) if change else (None, None, None)
        ratios = [number(value, 2) for value in (*knee, one.stable_from)]
        return (
            *ratios,
            at,
            *map(number, numbers),
            number(row.estimate, 2),
            escape(row.verdict or ""),
        )

    columns = [
        ("Model", "l"),
        ("Inflection", SHORT),
        ("Low", SHORT),
        ("High", SHORT),
        ("Stable from", SHORT),
    ]
    columns += [
        ("At", "l"),
        ("Change", NUMBER),
        ("Low", NUMBER),
        ("High", NUMBER),
        ("Offered", SHORT),
        ("Verdict", "l"),
    ]
    rows = [one.row for one in found.values()]
    evidence = [one.evidence for one in found.values() if one.evidence]
    scores = ", ".join(
        escape(score) for score in dict.fromkeys(row.attribution for row in rows) if score
    )
    caption = (
        f"Subset ratio offered for the main study: {escape(OFFER_NOTE)}. Inflection of diversity by "
        f"{escape(DISTANCES[rows[0].quantity].long_name)}"
        + (f"; change of {scores}." if scores else ".")
    )
    caption += f" {how(evidence, document)}" if evidence else ""
    return table(columns, by_model(rows, line), caption, key)
