"""The paper's claims beside our results: reproduced, not reproduced, or not comparable, each with the reason.

Claims are data (`claims.yaml`); a result is looked up among the rows of the analyses and never stated here. A claim is
about one model and one measure. On another model of the family, or by another measure, it is tested too, but the
verdict stays "not comparable": the outcome there stands beside it under its own name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import scipy
import yaml

from ibstats.design import ABLATIONS
from ibstats.measure import Machine
from ibstats.quantities import of_family, quantity
from ibstats.results.kept import obtain
from ibstats.results.words import interval
from ibstats.store import Store
from schemas.analysis import Config
from schemas.io.files import write_whole
from schemas.results import ResultRow

ALPHA = 0.05
MARGIN_SHARE = 0.05
"""Margin of equivalence, as a share of the value without intervention: ours, since the paper declares none."""
ROUNDING = 0.0005
"""Half of the last decimal that the paper prints."""

FAMILIES = {
    "amused": "masked",
    "show-o": "masked",
    "vq-diffusion": "diffusion",
    "llamagen": "autoregressive",
    "janus-pro": "autoregressive",
}
"""Family of each model of the paper."""

STAND_INS = {
    "clip_score": ("reference_accuracy",),
    "clip_iqa": ("reference_accuracy",),
    "fid": ("reference_frechet",),
}
"""Measures looked at where the paper's was not made; those that start like it are the paper's.

For LPIPS these are the distances by their rank.
"""

Outcome = Literal["holds", "contradicted", "undecided"]
Verdict = Literal["reproduced", "not reproduced", "not comparable"]


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, and the rows that it is about."""

    where: str
    model: str
    claim: str
    kind: str
    section: str
    term: str
    expect: str
    quantity: str = "lpips"
    value: float | None = None
    which: Literal["all", "first"] = "all"


@dataclass(frozen=True)
class Finding:
    """A claim with our result."""

    where: str
    model: str
    claim: str
    paper: str
    ours: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Evidence:
    """A row, with the model it is of and the kind of experiment."""

    row: ResultRow
    model: str
    family: str
    kind: str
    baseline: str | None
    """The condition without intervention of its experiment."""


def claims() -> list[Claim]:
    """The claims of the paper, in its order."""
    text = resources.files("ibstats.results").joinpath("claims.yaml").read_text(encoding="utf-8")
    return [Claim(**claim) for claim in yaml.safe_load(text)["claims"]]


def evidence(stores: Iterable[Store], settings: Config, machine: Machine) -> list[Evidence]:
    """All rows of the factorials and ablations of some runs, measured where they were not."""
    found = []
    for store in stores:
        for name in store.experiments():
            kind = store.kind(name)
            if kind not in ("factorial", *ABLATIONS):
                continue
            document = obtain(store, settings.but(experiment=name), machine)
            for row in document.rows:
                identity = store.identity(row.model)
                baseline = document.designs[row.experiment].baseline
                found.append(Evidence(row, identity.model, identity.family, kind, baseline))
    return found


def examine(claim: Claim, pool: Sequence[Evidence]) -> Finding:
    """What the rows say of a claim."""
    paper = f"{claim.value:+.3f}".removeprefix("+") if claim.value is not None else claim.expect
    base: dict[str, Any] = {
        "where": claim.where,
        "model": claim.model,
        "claim": claim.claim,
        "paper": paper,
    }
    found = _matching(claim, pool)
    if not found:
        family = FAMILIES[claim.model]
        reason = (
            f"not measured or not found: {claim.quantity} of {claim.term}, {claim.kind} experiment, "
            f"{claim.model} or another {family} model"
        )
        return Finding(**base, ours="–", verdict="not comparable", reason=reason)
    first = found[0]
    ours = "; ".join(
        f"{e.row.term}: {interval(e.row, 3)}" if len(found) > 1 else interval(e.row, 3)
        for e in found
    )
    differs = []
    if first.model != claim.model:
        differs.append(f"{first.row.model} ({first.family}) stands in for {claim.model}")
    if not first.row.quantity.startswith(claim.quantity):
        differs.append(f"{first.row.quantity} stands in for {claim.quantity}")
    if claim.expect == "words":
        reason = "; ".join(["no test decides it", *differs])
        return Finding(**base, ours=ours, verdict="not comparable", reason=reason)
    if differs and claim.expect == "number":
        return Finding(**base, ours=ours, verdict="not comparable", reason="; ".join(differs))
    outcomes = [outcome(claim, e, pool) for e in found]
    whole: Outcome = (
        "holds"
        if set(outcomes) == {"holds"}
        else "contradicted"
        if "contradicted" in outcomes
        else "undecided"
    )
    if differs:
        return Finding(
            **base,
            ours=ours,
            verdict="not comparable",
            reason=f"{'; '.join(differs)}; there it {_SAID[whole]}",
        )
    verdict: Verdict = "reproduced" if whole == "holds" else "not reproduced"
    return Finding(**base, ours=ours, verdict=verdict, reason=f"it {_SAID[whole]}")


_SAID = {"holds": "holds", "contradicted": "is contradicted", "undecided": "is undecided"}


def _matching(claim: Claim, pool: Sequence[Evidence]) -> list[Evidence]:
    """The rows a claim is about: of its model if there are any, else of another of its family; the nearest measure."""
    fitting = [
        e for e in pool
        if (e.kind, e.row.section) == (claim.kind, claim.section)
        and fnmatchcase(e.row.term, claim.term)
        and (e.row.attribution in (None, "marginal") or claim.section == "offer")
        and e.row.estimate is not None
    ]  # fmt: skip
    wanted = [e for e in fitting if e.model == claim.model] or [
        e for e in fitting if e.family == FAMILIES[claim.model]
    ]
    measures = list(dict.fromkeys(e.row.quantity for e in wanted))
    order = [name for name in measures if name.startswith(claim.quantity)]
    order += [name for name in _stand_ins(claim.quantity) if name in measures]
    if not order:
        return []
    label = next(e.row.model for e in wanted if e.row.quantity == order[0])
    experiment = next(e.row.experiment for e in wanted if e.row.quantity == order[0])
    rows = [
        e
        for e in wanted
        if (e.row.quantity, e.row.model, e.row.experiment) == (order[0], label, experiment)
    ]
    if (
        claim.section == "offer"
    ):  # at the inflection point of each distance, the preferred one first
        rows.sort(key=lambda e: _rank(quantity(str(e.row.distance))))
    return rows[:1] if claim.which == "first" else rows


def outcome(claim: Claim, found: Evidence, pool: Sequence[Evidence]) -> Outcome:
    """Whether a row bears a claim out."""
    row = found.row
    estimate = row.estimate if row.estimate is not None else float("nan")
    if claim.expect == "zero":
        return "holds" if estimate == 0 and row.degenerate else "contradicted"
    margin = MARGIN_SHARE * abs(_reference(found, pool))
    if claim.expect == "number":
        return _agreement(row, claim.value, margin + ROUNDING)
    significant = row.degenerate or (row.p_holm is not None and row.p_holm < ALPHA)
    if claim.expect in ("drop", "rise"):
        agrees = (estimate < 0) == (claim.expect == "drop")
        return (
            "undecided"
            if not significant or estimate == 0
            else "holds"
            if agrees
            else "contradicted"
        )
    if _equivalent(row, margin):
        return "holds"
    return "contradicted" if significant and abs(estimate) > margin else "undecided"


def _agreement(row: ResultRow, value: float | None, margin: float) -> Outcome:
    """Whether a value is ours: to hold, our whole interval lies within the margin of it; a wide one decides nothing."""
    if row.low is None or row.high is None or row.estimate is None or value is None:
        return "undecided"
    if value - margin <= row.low and row.high <= value + margin:
        return "holds"
    outside = not row.low - ROUNDING <= value <= row.high + ROUNDING
    return "contradicted" if outside and abs(row.estimate - value) > margin else "undecided"


def _equivalent(row: ResultRow, margin: float) -> bool:
    """Two one-sided t tests within the margin, from the estimate and its t statistic."""
    estimate = row.estimate or 0.0
    if row.degenerate or not row.statistic or row.df is None:
        return row.degenerate and abs(estimate) < margin
    error = estimate / row.statistic
    return float(scipy.special.stdtr(row.df, (abs(estimate) - margin) / error)) < ALPHA


def _reference(found: Evidence, pool: Sequence[Evidence]) -> float:
    """The value without intervention, of the same model, experiment and quantity."""
    family = quantity(found.row.quantity).family
    section = "quality" if family == "score" else "diversity"
    wanted = (section, found.row.model, found.row.experiment, found.row.quantity)
    for one in pool:
        row = one.row
        if (row.section, row.model, row.experiment, row.quantity) != wanted:
            continue
        if row.condition == one.baseline and row.estimate is not None:
            return row.estimate
    return float("nan")


def _stand_ins(measure: str) -> list[str]:
    """Measures looked at where the paper's was not made, the nearest first."""
    if measure in STAND_INS:
        return list(STAND_INS[measure])
    ranked = [record for record in of_family("distance") if record.rank is not None]
    return [record.name for record in sorted(ranked, key=_rank)]


def _rank(record: Any) -> int:
    return int(record.rank)


def write_csv(findings: Sequence[Finding], file: Path) -> Path:
    """The claims table for other programs."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(asdict(findings[0])))
    writer.writeheader()
    for finding in findings:
        writer.writerow(asdict(finding))
    write_whole(file, text.getvalue())
    return file
