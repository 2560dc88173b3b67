"""The claims of the paper: what counts as reproduced, and that only the paper's model and measure can be."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from ibstats.results import claims as repro
from ibstats.results.lookup import Numbers
from ibstats.statistics import significance
from schemas.results import ResultRow
from tests.ibstats import documents

FACTS = {"model": "a", "experiment": "e", "units": "1", "n_prompts": 12, "n_images": 4}


def found(
    values: np.ndarray | float,
    *,
    model: str = "amused",
    family: str = "masked",
    name: str = "argmax",
    baseline: float | None = 0.6,
    **changes: Any,
) -> repro.Evidence:
    """A row of the mean of per-prompt values, as the analysis makes it."""
    row: dict[str, Any] = {
        "section": "probe",
        "quantity": "lpips_alex_distance",
        "term": "never read",
        **FACTS,
    }
    if isinstance(values, float):
        row |= {"estimate": values, "low": values, "high": values, "degenerate": True}
    else:
        t, df, p = significance.t_test(values)
        half = 2.2 * values.std(ddof=1) / np.sqrt(len(values))
        row |= {
            "estimate": values.mean(),
            "low": values.mean() - half,
            "high": values.mean() + half,
        }
        row |= {"statistic": float(t[0]), "df": df, "p_holm": float(p[0])}
    return repro.Evidence(ResultRow(**row | changes), model, family, "factorial", name, baseline)


def claim(expect: str, **changes: Any) -> repro.Claim:
    known = {
        "where": "w",
        "model": "amused",
        "claim": "c",
        "kind": "factorial",
        "section": "probe",
        "term": "argmax",
    }
    return repro.Claim(**known | {"expect": expect} | changes)


def around(mean: float, spread: float = 0.01) -> np.ndarray:
    return mean + spread * np.linspace(-1, 1, 12)


@pytest.mark.parametrize(
    ("expect", "values", "verdict", "reason"),
    [
        ("drop", around(-0.1), "reproduced", "it holds"),
        ("drop", around(0.1), "not reproduced", "it is contradicted"),
        ("drop", around(-0.001), "not reproduced", "it is undecided"),
        ("rise", around(0.1), "reproduced", "it holds"),
        ("rise", around(-0.1), "not reproduced", "it is contradicted"),
        ("equivalent", around(0.001), "reproduced", "it holds"),
        ("equivalent", around(0.1), "not reproduced", "it is contradicted"),
        ("equivalent", around(0.001, 0.2), "not reproduced", "it is undecided"),
        ("equivalent", 0.0, "reproduced", "it holds"),
        ("zero", 0.0, "reproduced", "it holds"),
        ("zero", around(0.01), "not reproduced", "it is contradicted"),
        ("words", around(0.01), "not comparable", "no test decides it"),
    ],
)
def test_a_claim_is_reproduced_by_a_test_that_bears_it_out(
    expect: str, values: np.ndarray | float, verdict: str, reason: str
) -> None:
    finding = repro.examine(claim(expect), [found(values)])
    assert (finding.verdict, finding.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("value", "spread", "verdict", "reason"),
    [
        (0.63, 0.01, "reproduced", "it holds"),
        (
            0.65,
            0.01,
            "reproduced",
            "it holds",
        ),  # outside our interval, and within the margin of 0.03
        (0.7, 0.01, "not reproduced", "it is contradicted"),
        (0.63, 0.3, "not reproduced", "it is undecided"),  # so wide that 0.7 would be in it too
        (0.7, 0.3, "not reproduced", "it is undecided"),
    ],
)
def test_a_number_is_reproduced_when_our_whole_interval_is_close_to_it(
    value: float, spread: float, verdict: str, reason: str
) -> None:
    finding = repro.examine(claim("number", value=value), [found(around(0.63, spread))])
    assert (finding.verdict, finding.reason, finding.paper) == (verdict, reason, f"{value:.3f}")
    assert finding.ours.startswith("0.630 [")


def test_a_stand_in_never_reproduces_a_claim_and_keeps_its_own_name() -> None:
    other = repro.examine(claim("drop"), [found(around(-0.1), model="trio-mim")])
    assert other.verdict == "not comparable"
    assert other.reason == "a (masked) stands in for amused; there it holds"
    measure = repro.examine(claim("drop"), [found(around(0.1), quantity="reference_distance")])
    assert measure.reason == "reference_distance stands in for lpips; there it is contradicted"
    number = repro.examine(claim("number", value=0.1), [found(around(0.1), model="trio-mim")])
    assert (number.verdict, number.reason) == ("not comparable", "a (masked) stands in for amused")


def test_the_papers_model_and_measure_come_before_stand_ins() -> None:
    pool = [
        found(around(0.1), model="trio-mim"),
        found(around(0.1), quantity="reference_distance"),
        found(around(-0.1)),
    ]
    assert repro.examine(claim("drop"), pool).verdict == "reproduced"


def test_a_claim_about_several_rows_needs_all_of_them() -> None:
    rows = [
        found(around(mean), name=f"proposed-0.{i} - baseline") for i, mean in enumerate((0.1, 0.2))
    ]
    every = claim("rise", term="proposed-* - baseline")
    assert repro.examine(every, rows).verdict == "reproduced"
    rows.append(found(around(0.0001), name="proposed-0.9 - baseline"))
    assert repro.examine(every, rows).reason == "it is undecided"
    assert (
        repro.examine(claim("rise", term="proposed-* - baseline", which="first"), rows).verdict
        == "reproduced"
    )


def test_what_no_run_measured_is_not_comparable() -> None:
    finding = repro.examine(
        claim("drop"), [found(around(-0.1), family="diffusion", model="vq-diffusion")]
    )
    assert (finding.verdict, finding.ours) == ("not comparable", "–")
    assert (
        finding.reason
        == "not measured or not found: lpips of argmax, factorial experiment, amused or another masked model"
    )


@pytest.mark.parametrize(("change", "reason"), [(-0.001, "it holds"), (-0.1, "it is contradicted")])
def test_quality_at_the_inflection_point_is_that_of_the_preferred_distance_and_its_own_margin(
    change: float, reason: str
) -> None:
    of = {"section": "offer", "quantity": "clip_iqa", "name": "keep-0.50 - keep-1.00"}
    pool = [
        found(around(-0.3), distance="ssim_dissimilarity", **of),
        found(around(change), distance="lpips_alex_distance", baseline=0.9, **of),
    ]
    about = {
        "section": "offer",
        "quantity": "clip_iqa",
        "term": "keep-* - keep-1.*",
        "which": "first",
    }
    finding = repro.examine(claim("equivalent", **about), pool)
    assert (finding.reason, finding.ours.split()[0]) == (reason, f"{change:.3f}")


def test_equivalence_from_a_row_is_that_of_the_values_behind_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.normal(rng.normal(0, 0.02), 0.03, 12)
        margin = float(rng.uniform(0.005, 0.05))
        verdict = significance.equivalence(values, -margin, margin).verdict
        known = found(values, baseline=margin / repro.MARGIN_SHARE)
        holds = repro.outcome(claim("equivalent"), known) == "holds"
        assert holds == (verdict == "equivalent")


def test_every_claim_names_a_known_model_and_the_numbers_are_those_of_figures_8_to_10() -> None:
    known = repro.claims()
    assert {claim.model for claim in known} == set(repro.FAMILIES)
    assert {claim.expect for claim in known} <= {
        "drop",
        "rise",
        "equivalent",
        "zero",
        "number",
        "words",
    }
    assert {claim.quantity for claim in known} == {"lpips", *repro.SCORE_STAND_INS}
    assert all((claim.value is not None) >= (claim.expect == "number") for claim in known)
    figures = {int(number) for claim in known for number in re.findall(r"Fig. (\d+)", claim.where)}
    assert figures == {2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13}
    numbers = {
        figure: [c.value for c in known if f"Fig. {figure}" in c.where] for figure in (8, 9, 10)
    }
    assert numbers == {
        8: [0.633, 0.634, 0.001],
        9: [0.755, 0.005, -0.003, 0.08, 0.837, 0.0],
        10: [0.577, 0.08, 0.025, 0.681, 0.0],
    }


def test_rows_are_told_apart_by_their_fields_and_the_baseline_is_that_of_the_design() -> None:
    """Also where there are ten arms and more, whose names begin with 01."""
    pool = repro.of_document(Numbers(documents.ablation()), {documents.MODELS[0]: "amused"})
    (first, *_) = [one for one in pool if one.row.section == "contrast"]
    assert (first.model, first.kind, first.family) == ("amused", "subset_ratio", "masked")
    assert first.name == first.row.effect
    assert first.baseline == 0.5
    factorial = repro.of_document(Numbers(documents.factorial()), {})
    names = {one.name for one in factorial if one.row.section == "waterfall"}
    assert {"gap", "sampling=stochastic: gap"} <= names
    names = {one.name for one in factorial if one.row.section == "diversity"}
    assert "argmax/original/full" in names
    assert not [one for one in factorial if "never read" in one.name]


def test_a_document_without_designs_or_baselines_is_no_evidence_of_equivalence() -> None:
    document = documents.ablation()
    assert repro.of_document(Numbers(document.model_copy(update={"designs": {}})), {}) == []
    design = document.designs["ratio"].model_copy(update={"baseline": None})
    bare = document.model_copy(update={"designs": {"ratio": design}})
    pool = repro.of_document(Numbers(bare), {})
    assert {one.baseline for one in pool} == {None}
    assert repro.outcome(claim("equivalent"), pool[0]) == "undecided"


def test_every_claim_finds_the_rows_that_it_found_by_their_labels() -> None:
    """`term` of the claims is matched with what the fields of a row say, never with its label."""
    pool = repro.of_document(Numbers(documents.factorial()), {documents.MODELS[0]: "amused"})
    sections = {"probe": "argmax", "waterfall": "predicted", "effect": "*:*"}
    for section, term in sections.items():
        finding = repro.examine(claim("words", section=section, term=term), pool)
        assert finding.verdict == "not comparable"
        assert not finding.reason.startswith("not measured")
