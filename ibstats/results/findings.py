"""The paper's claims beside our results: reproduced, not reproduced, or not comparable, and why.

A claim is about one model and one measure. On another model of the family, or by another measure,
it is tested too, but the verdict stays "not comparable": the outcome there stands beside it under
its own name. What intervals say of a claim is decided in `verdicts`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

from ibstats.measure import Machine
from ibstats.quantities import quantity
from ibstats.results import words
from ibstats.results.claims import FAMILIES, Claim, Evidence, Expected, matching, of_document
from ibstats.results.kept import obtain
from ibstats.results.lookup import Numbers
from ibstats.results.verdicts import (
    ABOVE_ZERO,
    ALPHA,
    BELOW_ZERO,
    Estimate,
    Outcome,
    Region,
    around,
    crossing,
    estimate_of,
    exactly,
    judged,
    outstanding,
    peaking,
)
from ibstats.statistics.significance import MARGIN_SHARE
from ibstats.statistics.strategy import UNDECIDED
from ibstats.statistics.subset_ratio import NOT_DISTINCT, NOT_FOUND
from ibstats.store import Store
from schemas.analysis import Config
from schemas.io.files import write_whole
from schemas.results import ResultRow
from schemas.study import ABLATIONS

ROUNDING = 0.0005
"""Half of the last decimal that the paper prints."""
CHANGE_SHARE = 0.2
"""Margin of a published difference, as a share of it: ours, the paper has none."""

COMPARED = ("amused", "llamagen", "vq-diffusion")
"""The models that the paper compares with each other (section 4.2)."""

Verdict = Literal["reproduced", "not reproduced", "not comparable"]

SAID: dict[Outcome, str] = {
    "holds": "holds",
    "contradicted": "is contradicted",
    "undecided": "is undecided",
    "undecidable": "is not decidable at this n: our interval is wider than the margin",
}
NOT_SHOWN = (UNDECIDED, NOT_DISTINCT, NOT_FOUND)
"""Verdicts of an analysis that show nothing, so neither do they contradict another one."""


@dataclass(frozen=True)
class Finding:
    """A claim with our result.

    A stand-in never reproduces a claim: its outcome stands in the reason.
    """

    where: str
    model: str
    claim: str
    paper: str
    ours: str
    verdict: Verdict
    reason: str


def evidence(stores: Iterable[Store], settings: Config, machine: Machine) -> list[Evidence]:
    """All numbers of the factorials and ablations of some runs, measured where they were not.

    `settings` are those of each analysis but for the experiment; what was measured before is read.
    """
    found = []
    for store in stores:
        models = {}
        for label in store.models():
            models[label] = store.identity(label).model
        for name in store.experiments():
            if store.kind(name) in ("factorial", *ABLATIONS):
                document = obtain(store, settings.but(experiment=name), machine)
                found += of_document(Numbers(document), models)
    return found


def examine(claim: Claim, pool: Sequence[Evidence]) -> Finding:
    """What the rows say of a claim.

    It is tested on the paper's model and measure where there are rows of them, else on those that
    stand in; a claim about several rows holds if it holds of each.
    """
    base: dict[str, Any] = {
        "where": claim.where,
        "model": claim.model,
        "claim": claim.claim,
        "paper": _paper(claim),
    }
    compared = [claim, *_rivals(claim)]
    found = [matching(one, pool) for one in compared]
    for one, rows in zip(compared, found, strict=True):
        if not rows:
            return Finding(
                **base, ours=words.DASH, verdict="not comparable", reason=_not_measured(one)
            )
    base["ours"] = _ours(claim, found, pool)
    differs = list(dict.fromkeys(_differences(compared, found)))
    if claim.expect == "words":
        reason = "; ".join(["no test decides it", *differs])
        return Finding(**base, verdict="not comparable", reason=reason)
    if differs and claim.expect in ("level", "change"):
        return Finding(**base, verdict="not comparable", reason="; ".join(differs))
    whole = outcome(claim, found, pool)
    if differs:
        reason = f"{'; '.join(differs)}; there it {SAID[whole]}"
        return Finding(**base, verdict="not comparable", reason=reason)
    verdict: Verdict = "not reproduced"
    if whole == "holds":
        verdict = "reproduced"
    return Finding(**base, verdict=verdict, reason=f"it {SAID[whole]}")


def _paper(claim: Claim) -> str:
    """What the paper says, in a word."""
    if claim.verdict is not None:
        return claim.verdict
    if claim.value is None:
        return claim.expect
    if claim.expect in ("above", "below"):
        return f"{claim.expect} {claim.value:g}"
    return f"{claim.value:.3f}"


def _rivals(claim: Claim) -> list[Claim]:
    """The claim of the models that its own is compared with."""
    if claim.expect not in ("highest", "lowest"):
        return []
    return [replace(claim, model=model) for model in COMPARED if model != claim.model]


def _not_measured(claim: Claim) -> str:
    return (
        f"not measured or not found: {claim.quantity} of {claim.term}, "
        f"{claim.kind} experiment, {claim.model} or another {FAMILIES[claim.model]} model"
    )


def _ours(claim: Claim, found: Sequence[Sequence[Evidence]], pool: Sequence[Evidence]) -> str:
    """Our numbers, each with its name where there are several."""
    said = []
    for rows in found:
        for one in rows:
            name = one.row.model if len(found) > 1 else one.name
            said.append((name, _text(claim, one, pool)))
    if len(said) == 1:
        return said[0][1]
    return "; ".join(f"{name}: {text}" for name, text in said)


def _text(claim: Claim, one: Evidence, pool: Sequence[Evidence]) -> str:
    """A number with its interval, as a share where the claim is of one, or a verdict."""
    if claim.verdict is not None:
        return one.row.verdict or words.DASH
    if claim.per is None:
        return words.interval(one.row, 3)
    share = _number(claim, one, pool)
    if share is None:
        return words.DASH
    return f"{words.number(share.value, 3)} {words.bracket(share.low, share.high, 3)}"


def _differences(compared: Sequence[Claim], found: Sequence[Sequence[Evidence]]) -> Iterator[str]:
    """In what our models and measures are not those of the claim."""
    for claim, rows in zip(compared, found, strict=True):
        one = rows[0]
        if one.model != claim.model:
            yield f"{one.row.model} ({one.family}) stands in for {claim.model}"
        if not one.row.quantity.startswith(claim.quantity):
            yield f"{one.row.quantity} stands in for {claim.quantity}"


def outcome(claim: Claim, found: Sequence[Sequence[Evidence]], pool: Sequence[Evidence]) -> Outcome:
    """What our rows say of a claim: those of its own model first, then those of its rivals.

    A claim about several rows holds if it holds of each. See `claims.yaml` for when each kind holds,
    and `verdicts` for the errors. Rows without an interval decide nothing.
    """
    own = found[0]
    if claim.expect == "verdict":
        return _of_verdicts(claim, own)
    numbers = []
    for rows in found:
        numbers.append(_numbers(claim, rows, pool))
    if not all(numbers):
        return "undecided"
    if claim.expect in COMPARISONS:
        return COMPARISONS[claim.expect](numbers)
    placed = []
    for one, number in zip(own, numbers[0], strict=True):
        region = _region(claim, one)
        if region is None:
            return "undecided"
        placed.append((number, region))
    whole = judged(placed)
    if whole == "holds" and (claim.is_bound or not _all_found(claim, own)):
        return "undecided"
    return whole


def _of_verdicts(claim: Claim, found: Sequence[Evidence]) -> Outcome:
    """What the word of an analysis says: its own, another one, or that nothing was shown."""
    said = {one.row.verdict for one in found}
    if said & set(NOT_SHOWN):
        return "undecided"
    return "holds" if said == {claim.verdict} else "contradicted"


def _numbers(claim: Claim, rows: Sequence[Evidence], pool: Sequence[Evidence]) -> list[Estimate]:
    """The numbers of all rows; none if one of them has no interval."""
    found = []
    for one in rows:
        number = _number(claim, one, pool)
        if number is None:
            return []
        found.append(number)
    return found


def _number(claim: Claim, one: Evidence, pool: Sequence[Evidence]) -> Estimate | None:
    """The number of a row, or its share of the number that the claim sets it against."""
    number = estimate_of(one.row)
    if number is None or claim.per is None:
        return number
    for other in pool:
        if other.row.quantity == claim.per and _is_of(one.row, other.row):
            whole = estimate_of(other.row)
            if whole is None and other.row.estimate is not None:
                whole = exactly(other.row.estimate)
            return None if whole is None or whole.low <= 0 else number.share_of(whole)
    return None


def _is_of(row: ResultRow, other: ResultRow) -> bool:
    """Whether two rows are of one condition of one model."""
    places = []
    for one in (row, other):
        places.append((one.model, one.experiment, one.condition))
    return places[0] == places[1]


def _across(numbers: Sequence[Sequence[Estimate]]) -> Outcome:
    """Whether the number of the model is the highest of those compared."""
    first, *others = (one[0] for one in numbers)
    return outstanding(first, others)


def _lowest(numbers: Sequence[Sequence[Estimate]]) -> Outcome:
    """Whether the number of the model is the lowest of those compared."""
    turned = []
    for one in numbers:
        turned.append([one[0].turned()])
    return _across(turned)


def _crossover(numbers: Sequence[Sequence[Estimate]]) -> Outcome:
    """Whether two simple effects have opposite signs."""
    return crossing(*numbers[0]) if len(numbers[0]) == 2 else "undecided"


COMPARISONS: dict[str, Callable[[Sequence[Sequence[Estimate]]], Outcome]] = {
    "crossover": _crossover,
    "highest": _across,
    "lowest": _lowest,
    "peak": lambda numbers: peaking(numbers[0]),
}
"""Claims about several numbers at once."""


def _region(claim: Claim, found: Evidence) -> Region | None:
    """Where the claim has the number of a row; None where its margin is not known."""
    if claim.expect == "drop":
        return BELOW_ZERO
    if claim.expect == "rise":
        return ABOVE_ZERO
    if claim.expect == "zero":
        return around(0.0, ROUNDING)
    if claim.value is not None:
        return _published(claim.expect, claim.value)
    if found.baseline is None:
        return None
    margin = MARGIN_SHARE * abs(found.baseline)
    if claim.expect == "equivalent":
        return around(0.0, margin)
    if quantity(found.row.quantity).better == "smaller":
        return Region(-inf, margin)
    return Region(-margin, inf)


def _published(expect: Expected, value: float) -> Region:
    """Numbers that are as good as a published one."""
    if expect == "above":
        return Region(value, inf)
    if expect == "below":
        return Region(-inf, value)
    if expect == "change":
        return around(value, max(ROUNDING, CHANGE_SHARE * abs(value)))
    return around(value, MARGIN_SHARE * abs(value) + ROUNDING)


def _all_found(claim: Claim, found: Sequence[Evidence]) -> bool:
    """Whether the differences of a claim of one are found, adjusted as in their tables."""
    if claim.expect not in ("drop", "rise"):
        return True
    for one in found:
        p = one.row.p_holm
        if not one.row.degenerate and (p is None or p >= ALPHA):
            return False
    return True


def write_csv(findings: Sequence[Finding], file: Path) -> Path:
    """Write the claims with our results as CSV, a line a claim; gives the file.

    Columns are the fields of `Finding`; there must be one at least.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(asdict(findings[0])))
    writer.writeheader()
    writer.writerows(map(asdict, findings))
    write_whole(file, text.getvalue())
    return file
