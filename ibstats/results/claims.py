"""The paper's claims beside our results: reproduced, not reproduced, or not comparable, and why.

Claims are data (`claims.yaml`); a result is looked up among the rows of the analyses and never
stated here. A claim is about one model and one measure. On another model of the family, or by
another measure, it is tested too, but the verdict stays "not comparable": the outcome there stands
beside it under its own name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from importlib import resources
from math import inf, nan
from pathlib import Path
from typing import Any, Literal

import scipy
import yaml

from ibstats.measure import Machine
from ibstats.quantities import Quantity, of_family, quantity
from ibstats.results import words
from ibstats.results.kept import obtain
from ibstats.results.lookup import Numbers
from ibstats.store import Store
from schemas.analysis import Config
from schemas.io.files import write_whole
from schemas.results import ResultRow
from schemas.study import ABLATIONS

ALPHA = 0.05
MARGIN_SHARE = 0.05
"""Margin of equivalence as a share of the value without intervention: ours, the paper has none."""
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

SCORE_STAND_INS = {
    "clip_score": ("reference_accuracy",),
    "clip_iqa": ("reference_accuracy",),
    "fid": ("reference_frechet",),
}
"""Scores looked at where the paper's was not made; those that start like it are the paper's."""

Outcome = Literal["holds", "contradicted", "undecided"]
Verdict = Literal["reproduced", "not reproduced", "not comparable"]

SAID: dict[Outcome, str] = {
    "holds": "holds",
    "contradicted": "is contradicted",
    "undecided": "is undecided",
}


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, and the rows that it is about.

    `expect` is drop, rise, equivalent, zero, number (`value`) or words; see `claims.yaml` for what
    each needs. `which`: all rows that match, or the first.
    """

    where: str
    model: str
    claim: str
    kind: str
    """Kind of the experiment."""
    section: str
    term: str
    """Which rows of the section: a pattern for what `named` says of them."""
    expect: str
    quantity: str = "lpips"
    value: float | None = None
    which: Literal["all", "first"] = "all"


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


@dataclass(frozen=True)
class Evidence:
    """A row, and what must be known of it to hold a claim against it.

    `of_document` makes one of each row that has an estimate.
    """

    row: ResultRow
    model: str
    """Its model, by the name that the paper knows it by."""
    family: str
    kind: str
    """Kind of its experiment."""
    name: str
    """What it is of, in the words of a claim."""
    baseline: float | None = None
    """The value without intervention, of the same model, experiment and quantity."""


def claims() -> list[Claim]:
    """The claims of the paper, in its order, as `claims.yaml` states them.

    Each says where it stands in the paper, and which rows of results decide it.
    """
    text = resources.files("ibstats.results").joinpath("claims.yaml").read_text(encoding="utf-8")
    found = []
    for claim in yaml.safe_load(text)["claims"]:
        found.append(Claim(**claim))
    return found


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


def of_document(numbers: Numbers, models: Mapping[str, str]) -> list[Evidence]:
    """Every row with an estimate, of experiments whose design the document states.

    `models` has what each model of the run is, by its name in the run; a model that it lacks is
    taken by that name.
    """
    baselines = _baselines(numbers)
    found = []
    for document in numbers.documents:
        for row in document.rows:
            design = numbers.designs.get(row.experiment)
            if design is None or row.estimate is None:
                continue
            model = models.get(row.model, row.model)
            family = numbers.families.get(row.model, "")
            baseline = baselines.get((row.model, row.experiment, row.quantity))
            name = named(numbers, row)
            found.append(Evidence(row, model, family, design.kind, name, baseline))
    return found


def named(numbers: Numbers, row: ResultRow) -> str:
    """What a row is of: step, effect, probe, comparison or condition, after the levels held fixed.

    A condition has the label that its design gives it, for instance its levels.
    """
    held = ", ".join(f"{factor}={level}" for factor, level in row.at.items())
    what = row.step or row.effect or row.part or row.quantity
    if what == row.quantity and row.condition is not None:
        what = numbers.label(row.experiment, row.condition)
    if held:
        return f"{held}: {what}"
    return what


def _baselines(numbers: Numbers) -> dict[tuple[str, str, str], float | None]:
    """The value without intervention, by model, experiment and quantity."""
    found = {}
    for row in numbers.all("diversity", "quality"):
        if row.condition == numbers.baseline(row.experiment):
            found[row.model, row.experiment, row.quantity] = row.estimate
    return found


def examine(claim: Claim, pool: Sequence[Evidence]) -> Finding:
    """What the rows say of a claim.

    It is tested on the paper's model and measure where there are rows of them, else on those that
    stand in; a claim about several rows holds if it holds of each.
    """
    paper = claim.expect
    if claim.value is not None:
        paper = f"{claim.value:.3f}"
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
            f"not measured or not found: {claim.quantity} of {claim.term}, "
            f"{claim.kind} experiment, {claim.model} or another {family} model"
        )
        return Finding(**base, ours=words.DASH, verdict="not comparable", reason=reason)
    base["ours"] = _ours(found)
    differs = _differences(claim, found[0])
    if claim.expect == "words":
        reason = "; ".join(["no test decides it", *differs])
        return Finding(**base, verdict="not comparable", reason=reason)
    if differs and claim.expect == "number":
        return Finding(**base, verdict="not comparable", reason="; ".join(differs))
    whole = _whole({outcome(claim, one) for one in found})
    if differs:
        reason = f"{'; '.join(differs)}; there it {SAID[whole]}"
        return Finding(**base, verdict="not comparable", reason=reason)
    verdict: Verdict = "not reproduced"
    if whole == "holds":
        verdict = "reproduced"
    return Finding(**base, verdict=verdict, reason=f"it {SAID[whole]}")


def _ours(found: Sequence[Evidence]) -> str:
    """Our numbers, each with its name where there are several."""
    if len(found) == 1:
        return words.interval(found[0].row, 3)
    return "; ".join(f"{one.name}: {words.interval(one.row, 3)}" for one in found)


def _differences(claim: Claim, found: Evidence) -> list[str]:
    """In what our model and measure are not those of the claim."""
    differs = []
    if found.model != claim.model:
        differs.append(f"{found.row.model} ({found.family}) stands in for {claim.model}")
    if not found.row.quantity.startswith(claim.quantity):
        differs.append(f"{found.row.quantity} stands in for {claim.quantity}")
    return differs


def _whole(outcomes: set[Outcome]) -> Outcome:
    """The outcome of a claim about several rows: it holds if it holds of each of them."""
    if outcomes == {"holds"}:
        return "holds"
    if "contradicted" in outcomes:
        return "contradicted"
    return "undecided"


def _matching(claim: Claim, pool: Sequence[Evidence]) -> list[Evidence]:
    """The rows a claim is about: of its model, else of another of its family.

    Those of one measure, the nearest to the paper's, in one experiment.
    """
    wanted, alike = [], []
    for one in _fitting(claim, pool):
        if one.model == claim.model:
            wanted.append(one)
        elif one.family == FAMILIES[claim.model]:
            alike.append(one)
    wanted = wanted or alike
    measure = _nearest_measure(claim, wanted)
    rows: list[Evidence] = []
    for one in wanted:
        if one.row.quantity == measure and _is_alike(one, rows):
            rows.append(one)
    if claim.section == "offer":
        # One at the inflection point of each distance: that of the preferred one counts.
        rows.sort(key=_rank_of_distance)
    return rows[:1] if claim.which == "first" else rows


def _is_alike(one: Evidence, rows: Sequence[Evidence]) -> bool:
    """Whether a row is of the model and experiment of those found before it."""
    same = (one.row.model, one.row.experiment)
    return not rows or same == (rows[0].row.model, rows[0].row.experiment)


def _fitting(claim: Claim, pool: Sequence[Evidence]) -> Iterator[Evidence]:
    """Rows of the kind of experiment, the section and the name of a claim."""
    for one in pool:
        if (one.kind, one.row.section) != (claim.kind, claim.section):
            continue
        if one.row.attribution not in (None, "marginal") and one.row.step is not None:
            continue
        if fnmatchcase(one.name, claim.term):
            yield one


def _nearest_measure(claim: Claim, wanted: Sequence[Evidence]) -> str | None:
    """The paper's measure if it was made, else the first that was made of those that stand in."""
    measures = dict.fromkeys(one.row.quantity for one in wanted)
    for name in measures:
        if name.startswith(claim.quantity):
            return name
    for name in _stand_ins(claim.quantity):
        if name in measures:
            return name
    return None


def _stand_ins(measure: str) -> Sequence[str]:
    """Measures looked at where the paper's was not made, the nearest first."""
    if measure in SCORE_STAND_INS:
        return SCORE_STAND_INS[measure]
    return [record.name for record in sorted(of_family("distance"), key=_rank)]


def _rank(record: Quantity) -> float:
    return inf if record.rank is None else record.rank


def _rank_of_distance(one: Evidence) -> float:
    return _rank(quantity(str(one.row.distance)))


def outcome(claim: Claim, found: Evidence) -> Outcome:
    """Whether a row bears a claim out.

    A drop or a rise needs an adjusted p below 0.05; equivalence, two one-sided tests within the
    margin; a number, our whole interval within the margin of it. The margin is a share of the value
    without intervention; where that is not known, none of the last two holds.
    """
    row = found.row
    estimate = row.estimate
    if estimate is None:
        return "undecided"
    if claim.expect == "zero":
        if estimate == 0 and row.degenerate:
            return "holds"
        return "contradicted"
    margin = nan
    if found.baseline is not None:
        margin = MARGIN_SHARE * abs(found.baseline)
    if claim.expect == "number":
        return _agreement(row, claim.value, margin + ROUNDING)
    significant = row.degenerate or (row.p_holm is not None and row.p_holm < ALPHA)
    if claim.expect in ("drop", "rise"):
        if not significant or estimate == 0:
            return "undecided"
        if (estimate < 0) == (claim.expect == "drop"):
            return "holds"
        return "contradicted"
    if _equivalent(row, margin):
        return "holds"
    if significant and abs(estimate) > margin:
        return "contradicted"
    return "undecided"


def _agreement(row: ResultRow, value: float | None, margin: float) -> Outcome:
    """Whether a value is ours: our whole interval lies within the margin of it.

    A wide interval decides nothing.
    """
    if row.low is None or row.high is None or row.estimate is None or value is None:
        return "undecided"
    if value - margin <= row.low and row.high <= value + margin:
        return "holds"
    outside = not row.low - ROUNDING <= value <= row.high + ROUNDING
    if outside and abs(row.estimate - value) > margin:
        return "contradicted"
    return "undecided"


def _equivalent(row: ResultRow, margin: float) -> bool:
    """Two one-sided t tests within the margin, from the estimate and its t statistic."""
    estimate = row.estimate or 0.0
    if row.degenerate or not row.statistic or row.df is None:
        return row.degenerate and abs(estimate) < margin
    error = estimate / row.statistic
    return float(scipy.special.stdtr(row.df, (abs(estimate) - margin) / error)) < ALPHA


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
