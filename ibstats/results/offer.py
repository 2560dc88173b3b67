"""What a subset-ratio ablation offers the main study, in words: from the rows of its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from ibstats.report.old_tables import interval
from ibstats.statistics.subset_ratio import (
    AT_EDGE,
    FALLS,
    FALLS_AT_LARGEST,
    NO_POINT,
    NOT_MEASURED,
    OFFER_NOTE,
)
from ibstats.variables import preferred_distance

if TYPE_CHECKING:
    from schemas.results import ResultRow


@dataclass(frozen=True)
class Offer:
    """What one model offers."""

    row: ResultRow
    """The ratio offered, with its verdict; of the preferred distance (LPIPS where it was measured)."""
    knee: ResultRow
    """The inflection point."""
    evidence: ResultRow | None
    """The change of quality that decided."""
    stable_from: float | None
    """Smallest ratio from which on quality does not fall."""


def offers(rows: Sequence[ResultRow]) -> dict[str, Offer]:
    """What each model of an ablation offers; empty for other kinds of experiment."""
    chosen = [row for row in rows if row.section == "offer"]
    keep = [row for row in chosen if row.term == "keep_ratio"]
    measured = {row.quantity for row in keep if row.verdict != NO_POINT} or {
        row.quantity for row in keep
    }
    quantity = preferred_distance(measured)
    knees = {
        (r.model, r.quantity): r for r in rows if (r.section, r.term) == ("inflection", "ratio")
    }
    stable = {
        (row.model, row.quantity): row.estimate for row in chosen if row.term == "stable_from"
    }
    changes = {
        (r.model, r.quantity, r.attribution): r
        for r in chosen
        if r.term not in ("keep_ratio", "stable_from")
    }
    return {
        row.model: Offer(
            row,
            knees[row.model, quantity],
            changes.get((row.model, str(row.attribution), quantity)),
            stable.get((row.model, str(row.attribution))),
        )
        for row in keep
        if row.quantity == quantity
    }


def sentences(rows: Sequence[ResultRow]) -> Iterator[str]:
    """A line for each model, one for the study, whose factorial has one ratio for all models, and the rule."""
    found = offers(rows)
    if not found:
        return
    for model, one in found.items():
        yield f"{model}: {_of_model(one)}."
    yield f"For the main study (factorial): {_of_study(found)}."
    yield f"Offered: {OFFER_NOTE}."


def _of_model(one: Offer) -> str:
    distance, score, verdict = (
        one.row.quantity.removesuffix("_distance"),
        one.row.attribution,
        one.row.verdict,
    )
    if verdict == NO_POINT:
        beyond = (
            f"; {score} does not fall significantly from {one.stable_from:.2f} on"
            if one.stable_from
            else ""
        )
        return f"no inflection point of {distance}{beyond}"
    knee = f"inflection of {distance} at {interval(one.knee, 2)}"
    if one.knee.verdict == AT_EDGE:
        knee += " (it may lie beyond the sweep)"
    if verdict == NOT_MEASURED or one.evidence is None:
        return f"{knee}; quality was not measured, so it is not known whether it is stable there"
    change = (
        f"{score} changes by {interval(one.evidence, 3)} at {one.evidence.term.partition(' - ')[0]}"
    )
    if verdict == FALLS_AT_LARGEST:
        return f"{knee}, but quality falls even at the largest swept ratio: {change}"
    if verdict == FALLS:
        return f"{knee}, but quality falls: {change}; no significant loss from {one.row.estimate:.2f} on"
    return f"{knee}; quality is stable there: {change}, no significant loss"


def _of_study(found: Mapping[str, Offer]) -> str:
    knees = [one.knee.estimate for one in found.values() if one.row.verdict != NO_POINT]
    points = [knee for knee in knees if knee is not None]
    if not points:
        return "no inflection point was found, so no ratio is offered; try smaller ratios"
    scored = {model: one for model, one in found.items() if one.row.attribution}
    hopeless = [model for model, one in scored.items() if one.stable_from is None]
    if hopeless:
        return f"no ratio is offered, since {', '.join(hopeless)} loses quality even at the largest; try larger ones"
    middle = median(points)
    floor = max(
        (one.stable_from for one in scored.values() if one.stable_from is not None), default=0.0
    )
    scores = ", ".join(dict.fromkeys(str(one.row.attribution) for one in scored.values()))
    if middle < floor:
        return (
            f"keep_ratio {floor:.2f}, the smallest swept ratio from which on no model loses {scores}; the median "
            f"inflection point, {middle:.2f}, is below it"
        )
    unknown = [model for model in found if model not in scored]
    holds = f"no model loses {scores} there" if scores else ""
    missing = f"quality was not measured ({', '.join(unknown)})" if unknown else ""
    return f"keep_ratio {middle:.2f}, the median inflection point; {'; '.join(filter(None, (holds, missing)))}"
