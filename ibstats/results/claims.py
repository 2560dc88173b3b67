"""The paper's claims, and the rows of our results that each is about.

Claims are data (`claims.yaml`); a result is looked up among the rows of the analyses and never
stated here. What the rows say of a claim is in `findings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from math import inf
from typing import Literal

import yaml

from ibstats.quantities import Quantity, of_family, quantity
from ibstats.results.lookup import Numbers
from schemas.results import ResultRow

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

Expected = Literal[
    "drop",
    "rise",
    "equivalent",
    "no loss",
    "zero",
    "level",
    "change",
    "above",
    "below",
    "crossover",
    "highest",
    "lowest",
    "peak",
    "verdict",
    "words",
]
"""Kinds of claims; `claims.yaml` says what each needs and when it holds."""


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, and the rows that it is about.

    `expect` is one of `Expected`; see `claims.yaml` for what each needs. `which`: all rows that
    match, the first, or the last. `per`: the claim is of the number as a share of that quantity of
    the same condition. `is_bound`: our number is a lower bound of the claimed one.
    """

    where: str
    model: str
    claim: str
    kind: str
    """Kind of the experiment."""
    section: str
    term: str
    """Which rows of the section: a pattern for what `named` says of them."""
    expect: Expected
    quantity: str = "lpips"
    value: float | None = None
    verdict: str | None = None
    """Word of the analysis that bears it out."""
    per: str | None = None
    attribution: str = "marginal"
    which: Literal["all", "first", "last"] = "all"
    is_bound: bool = False


@dataclass(frozen=True)
class Evidence:
    """A row, and what must be known of it to hold a claim against it.

    `of_document` makes one of each row that has an estimate or a verdict.
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


def of_document(numbers: Numbers, models: Mapping[str, str]) -> list[Evidence]:
    """Every row with an estimate or a verdict, of experiments whose design the document states.

    `models` has what each model of the run is, by its name in the run; a model that it lacks is
    taken by that name.
    """
    baselines = _baselines(numbers)
    found = []
    for document in numbers.documents:
        for row in document.rows:
            design = numbers.designs.get(row.experiment)
            if design is None or (row.estimate is None and row.verdict is None):
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


def matching(claim: Claim, pool: Sequence[Evidence]) -> list[Evidence]:
    """The rows a claim is about: of its model, else of another of its family.

    Those of one measure, the nearest to the paper's, in one experiment; empty where there is none.
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
    chosen = {"all": rows, "first": rows[:1], "last": rows[-1:]}
    return chosen[claim.which]


def _is_alike(one: Evidence, rows: Sequence[Evidence]) -> bool:
    """Whether a row is of the model and experiment of those found before it."""
    same = (one.row.model, one.row.experiment)
    return not rows or same == (rows[0].row.model, rows[0].row.experiment)


def _fitting(claim: Claim, pool: Sequence[Evidence]) -> Iterator[Evidence]:
    """Rows of the kind of experiment, the section and the name of a claim."""
    for one in pool:
        if (one.kind, one.row.section) != (claim.kind, claim.section):
            continue
        if one.row.step is not None and one.row.attribution not in (None, claim.attribution):
            continue
        if _is_named(one.name, claim.term):
            yield one


def _is_named(name: str, term: str) -> bool:
    """Whether a name fits a pattern, part by part: a star does not reach over the levels held fixed."""
    parts, patterns = name.split(", "), term.split(", ")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


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
