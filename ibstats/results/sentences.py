"""What the numbers of a model say, in sentences: of path and execution, and of a subset ratio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from ibstats.quantities import preferred, quantity
from ibstats.results import words
from ibstats.results.lookup import distinct
from ibstats.statistics.subset_ratio import (
    AT_EDGE,
    FALLS,
    FALLS_AT_LARGEST,
    INCONCLUSIVE,
    NO_POINT,
    NOT_MEASURED,
    OFFER_NOTE,
)

if TYPE_CHECKING:
    from ibstats.results.lookup import Numbers
    from schemas.results import ResultRow

Found = Mapping[str, "ResultRow"]
"""Rows of one model and condition: bits by quantity, or shares by part."""

HALF = 0.5
"""Redundancy on either side of which the two noises are said to do the same, or each its own part."""

NOT_SPLIT = "its path was not recorded in a way that splits path and execution (see the note)."


def path_and_execution(bits: Found, left: Found, argmax: Found) -> str:
    """What a model's bits and pair distances say without intervention and, in the end, under argmax.

    `bits` are of the baseline, `argmax` those of the condition that differs from it by argmax
    alone; `left` are pair distances by part. Clauses whose numbers are missing are left out.
    """
    path, joint = _known(bits, "path_causal"), _known(bits, "joint")
    part = bits.get("share_path_causal")
    if path is None or part is None or joint is None:
        return NOT_SPLIT
    if _is_zero(path):
        said = f"the order is fixed: the path takes 0 of {joint.estimate:.1f} bits"
    else:
        said = f"the path takes {words.percent(part)} of {joint.estimate:.1f} bits"
        residual = _known(bits, "residual_upper")
        if residual is not None:
            said += (
                f", and at most {residual.estimate:.1f} bits of it cannot be read off the tokens"
            )
    found = [said, pair_distances(left), _under_argmax(argmax)]
    return f"{'; '.join(filter(None, found))}."


def pair_distances(left: Found) -> str:
    """What is left of the diversity where images share one noise; empty where it is not known.

    How the two noises go together is said only where the interval of R lies on one side of a half.
    """
    path, execution = _known(left, "path_shared"), _known(left, "execution_shared")
    if path is None or execution is None:
        return ""
    if _is_zero(execution):
        return "all of the diversity comes from execution"
    if _is_zero(path):
        return "all of the diversity comes from the path"
    said = (
        f"images that share the path noise keep {words.interval(path, 2)} of the diversity, those "
        f"that share the execution noise {words.interval(execution, 2)}"
    )
    return _with_redundancy(said, left)


def order(left: Found) -> str:
    """What sharing the path noise leaves of the diversity of an order; empty where it is not known.

    Empty too for a fixed order, which has no path noise.
    """
    path, argmax = _known(left, "path_shared"), _known(left, "argmax")
    if path is None or argmax is None or (path.degenerate and _is_zero(argmax)):
        return ""
    said = (
        f"images that share the path noise keep {words.interval(path, 2)} of the diversity, those "
        f"whose tokens are modes {words.interval(argmax, 2)}"
    )
    return _with_redundancy(said, left)


def whole_image(found: Found) -> str:
    """What whole images tell of their wording, and how far they keep to their prompt; else empty.

    `found` are rows by quantity. Of a number that is only bounded both bounds are said.
    """
    said = []
    most = _known(found, "wording_information_cap")
    wording = _known_or_bounded(found, "wording_information")
    if wording and most is not None:
        said.append(f"wording {wording} of at most {words.number(most.estimate, 2)} bits")
    alignment = _known_or_bounded(found, "alignment")
    if alignment:
        said.append(f"alignment with the prompt {alignment} bits")
    return ", ".join(said)


def _known_or_bounded(found: Found, name: str) -> str:
    row = _known(found, name)
    if row is not None:
        return words.interval(row, 2)
    low, high = _known(found, f"{name}_lower"), _known(found, f"{name}_upper")
    if low is None or high is None:
        return ""
    return f"between {words.number(low.estimate, 2)} and {words.number(high.estimate, 2)}"


def _with_redundancy(said: str, left: Found) -> str:
    """A sentence, and how the two noises go together where that is known."""
    redundancy = _known(left, "redundancy")
    if redundancy is None:
        return said
    return f"{said} (R {words.interval(redundancy, 2)}: {_reading(redundancy)})"


def _reading(redundancy: ResultRow) -> str:
    if redundancy.low is not None and redundancy.low > HALF:
        return "either noise alone gives most of it"
    if redundancy.high is not None and redundancy.high < HALF:
        return "each noise adds a part of its own"
    return "how they go together is not told apart"


def _known(found: Found, name: str) -> ResultRow | None:
    """The row of that name, if it is there and defined."""
    row = found.get(name)
    return None if row is None or row.estimate is None else row


def _under_argmax(bits: Found) -> str:
    joint, path = _known(bits, "joint"), _known(bits, "path_causal")
    if joint is None or path is None:
        return "argmax was not measured"
    if _is_zero(joint):
        return "under argmax nothing is left to chance"
    return f"under argmax {path.estimate:.1f} bits of path are left"


def _is_zero(row: ResultRow) -> bool:
    return row.estimate == 0 and row.degenerate


@dataclass(frozen=True)
class Offer:
    """The subset ratio that one model offers the main study, with the rows it rests on.

    What was not found or not measured is None.
    """

    row: ResultRow
    """The ratio offered, with its verdict; of the preferred distance."""
    knee: ResultRow | None
    """The inflection point."""
    evidence: ResultRow | None
    """The change of quality that decided."""
    at: str
    """The condition of that change, as a table names it; empty where there is none."""
    stable_from: float | None
    """Smallest ratio from which on quality is shown to be stable."""


def offers(numbers: Numbers, experiment: str) -> dict[str, Offer]:
    """What each model of an ablation offers, by model; empty for other kinds of experiment.

    Of the preferred distance among those that have an inflection point in some model.
    """
    here = {"experiment": experiment}
    keep = numbers.all("offer", part="keep_ratio", **here)
    bent = [row for row in keep if row.verdict != NO_POINT]
    distance = preferred("distance", distinct(bent or keep, "quantity"))
    found = {}
    for row in keep:
        if row.quantity != distance:
            continue
        of = {"model": row.model, "experiment": experiment}
        knee = numbers.one("inflection", quantity=distance, part="ratio", **of)
        stable = numbers.one("offer", part="stable_from", quantity=row.score, **of)
        evidence = None
        for change in numbers.all("offer", quantity=row.score, distance=distance, **of):
            if evidence is None and change.effect is not None:
                evidence = change
        at = ""
        if evidence is not None:
            at = numbers.short(experiment, str(evidence.condition or evidence.effect))
        stable_from = None
        if stable is not None:
            stable_from = stable.estimate
        found[row.model] = Offer(row, knee, evidence, at, stable_from)
    return found


def offered(found: Mapping[str, Offer]) -> Iterator[str]:
    """A sentence for each model, one for the study, which has one ratio for all, and the rule.

    Nothing if no model offers anything. The study takes the median inflection point, or the ratio
    from which on the quality of each model is stable, whichever is larger.
    """
    if not found:
        return
    for model, one in found.items():
        yield f"{model}: {_of_model(one)}."
    yield f"For the main study (factorial): {_of_study(found)}."
    yield f"Offered: {OFFER_NOTE}."


def _of_model(one: Offer) -> str:
    distance, verdict = quantity(one.row.quantity).short, one.row.verdict
    score = _score(one)
    if verdict == NO_POINT or one.knee is None:
        said = f"no inflection point of {distance}"
        if one.knee is not None and one.knee.verdict:
            said += f" ({one.knee.verdict})"
        if one.stable_from:
            said += f"; {score} is stable from {one.stable_from:.2f} on"
        return said
    knee = f"inflection of {distance} at {words.interval(one.knee, 2)}"
    if one.knee.verdict == AT_EDGE:
        knee += " (it may lie beyond the sweep)"
    if verdict == NOT_MEASURED or one.evidence is None:
        return f"{knee}; quality was not measured, so it is not known whether it is stable there"
    change = f"{score} changes by {words.interval(one.evidence, 3)}"
    change += f" at {one.at}, margin ±{words.number(one.evidence.margin, 3)}"
    stable = f"stable from {words.number(one.row.estimate, 2)} on"
    if one.row.estimate is None:
        stable = "no swept ratio is shown to be stable"
    if verdict == FALLS_AT_LARGEST:
        return f"{knee}, but quality falls even at the largest swept ratio: {change}"
    if verdict == FALLS:
        return f"{knee}, but quality falls: {change}; {stable}"
    if verdict == INCONCLUSIVE:
        return f"{knee}, but few prompts leave open whether quality is stable: {change}; {stable}"
    return f"{knee}; quality is stable there: {change}"


def _score(one: Offer) -> str:
    return quantity(one.row.score).short if one.row.score else ""


def _of_study(found: Mapping[str, Offer]) -> str:
    points = []
    for one in found.values():
        if one.row.verdict != NO_POINT and one.knee and one.knee.estimate is not None:
            points.append(one.knee.estimate)
    if not points:
        return "no inflection point was found, so no ratio is offered; try smaller ratios"
    scored, unknown, hopeless, floor = [], [], [], 0.0
    for model, one in found.items():
        if not one.row.score:
            unknown.append(model)
            continue
        scored.append(_score(one))
        if one.stable_from is None:
            hopeless.append(model)
        else:
            floor = max(floor, one.stable_from)
    if hopeless:
        who = ", ".join(hopeless)
        return (
            f"no ratio is offered, since the quality of {who} is not shown to be stable even at the "
            "largest; try larger ones, or more prompts"
        )
    middle = median(points)
    scores = ", ".join(dict.fromkeys(scored))
    if middle < floor:
        return (
            f"keep_ratio {floor:.2f}, the smallest swept ratio from which on {scores} of each model "
            f"is stable; the median inflection point, {middle:.2f}, is below it"
        )
    said = f"keep_ratio {middle:.2f}, the median inflection point; "
    clauses = []
    if scores:
        clauses.append(f"{scores} is stable there, within the margin of each model")
    if unknown:
        clauses.append(f"quality was not measured ({', '.join(unknown)})")
    return said + "; ".join(clauses)
