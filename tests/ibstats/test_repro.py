"""The claims of the paper: what counts as reproduced, and that only the paper's model and measure can be."""

from __future__ import annotations

import re
from typing import Any, get_args

import numpy as np
import pytest
from scipy import stats

from ibstats.quantities import of_family, quantity
from ibstats.results import claims as repro
from ibstats.results import findings, verdicts
from ibstats.results.lookup import Numbers
from ibstats.statistics import significance
from schemas.results import ResultRow
from tests.ibstats import documents
from tests.reference import definitions

FACTS = {
    "model": "a",
    "experiment": "e",
    "units": "1",
    "n_prompts": 12,
    "n_images": 4,
    "level": 0.95,
}


def found(
    values: np.ndarray | float,
    *,
    row_model: str = "a",
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
        **FACTS | {"model": row_model},
    }
    if isinstance(values, float):
        row |= {"estimate": values, "low": values, "high": values, "degenerate": True}
    else:
        t, df, p = significance.t_test(values)
        half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        row |= {
            "estimate": values.mean(),
            "low": values.mean() - half,
            "high": values.mean() + half,
        }
        row |= {"statistic": float(t[0]), "df": df, "p": float(p[0]), "p_holm": float(p[0])}
        row |= {"n_prompts": len(values)}
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


UNDECIDABLE = "it is not decidable at this n: our interval is wider than the margin"


def said(expect: str, row: repro.Evidence, **changes: Any) -> str:
    """What one row says of a claim."""
    return findings.outcome(claim(expect, **changes), [[row]], [row])


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
        ("equivalent", around(0.001, 0.2), "not reproduced", UNDECIDABLE),
        ("equivalent", around(0.03, 0.04), "not reproduced", "it is undecided"),
        ("no loss", around(0.1), "reproduced", "it holds"),
        ("no loss", around(-0.1), "not reproduced", "it is contradicted"),
        ("equivalent", 0.0, "reproduced", "it holds"),
        ("zero", 0.0, "reproduced", "it holds"),
        ("zero", around(0.02), "not reproduced", "it is contradicted"),
        ("words", around(0.01), "not comparable", "no test decides it"),
    ],
)
def test_a_claim_is_reproduced_by_a_test_that_bears_it_out(
    expect: str, values: np.ndarray | float, verdict: str, reason: str
) -> None:
    finding = findings.examine(claim(expect), [found(values)])
    assert (finding.verdict, finding.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("value", "spread", "verdict", "reason"),
    [
        (0.63, 0.01, "reproduced", "it holds"),
        (0.65, 0.01, "reproduced", "it holds"),  # outside our interval, within 5 % of the value
        (0.7, 0.01, "not reproduced", "it is contradicted"),
        (0.63, 0.3, "not reproduced", UNDECIDABLE),  # so wide that 0.7 would be in it too
        (0.7, 0.3, "not reproduced", UNDECIDABLE),
        (0.664, 0.03, "not reproduced", "it is undecided"),
    ],
)
def test_a_published_value_is_reproduced_when_our_whole_interval_is_close_to_it(
    value: float, spread: float, verdict: str, reason: str
) -> None:
    finding = findings.examine(claim("level", value=value), [found(around(0.63, spread))])
    assert (finding.verdict, finding.reason, finding.paper) == (verdict, reason, f"{value:.3f}")
    assert finding.ours.startswith("0.630 [")


@pytest.mark.parametrize(
    ("value", "ours", "reason"),
    [
        (0.005, (-0.030, 0.004), "it is contradicted"),  # the sign is another one
        (0.001, (-0.025, 0.005), "it is contradicted"),
        (0.080, (0.078, 0.003), "it holds"),
        (0.080, (0.093, 0.008), "it is undecided"),
        (0.080, (0.078, 0.020), UNDECIDABLE),
        (0.0, (0.0001, 0.0003), "it holds"),
        (0.0, (0.002, 0.0003), "it is contradicted"),
    ],
)
def test_the_margin_of_a_published_difference_is_a_share_of_it_not_of_the_diversity(
    value: float, ours: tuple[float, float], reason: str
) -> None:
    """Differences of -.030 and -.025 were once said to reproduce +.005 and +.001."""
    estimate, arm = ours
    low, high = estimate - arm, estimate + arm
    row = found(estimate, low=low, high=high, degenerate=False, n_prompts=40)
    assert findings.examine(claim("change", value=value), [row]).reason == reason


def simple(argmax: float, stochastic: float, at: str) -> repro.Evidence:
    """The effect of sampling on prompts of one type."""
    values = around(stochastic - argmax)
    return found(values, section="simple_effect", name=f"prompt_type={at}: sampling")


@pytest.mark.parametrize(
    ("original", "paraphrase", "reason"),
    [
        ((0.000, 0.648), (0.311, 0.648), "it is contradicted"),  # argmax lowers both
        ((0.500, 0.648), (0.700, 0.648), "it holds"),
        ((0.700, 0.648), (0.500, 0.648), "it holds"),  # which way is claimed by two other claims
        ((0.700, 0.648), (0.900, 0.648), "it is contradicted"),
        ((0.500, 0.648), (0.648, 0.648), "it is undecided"),
    ],
)
def test_a_crossover_is_two_simple_effects_of_opposite_sign(
    original: tuple[float, float], paraphrase: tuple[float, float], reason: str
) -> None:
    pool = [simple(*original, "original"), simple(*paraphrase, "paraphrase")]
    pool.append(simple(0.9, 0.1, "original, codebook=subset"))  # another question
    about: dict[str, Any] = {"section": "simple_effect", "term": "prompt_type=*: sampling"}
    assert findings.examine(claim("crossover", **about), pool).reason == reason


@pytest.mark.parametrize(
    ("ours", "reason"),
    [
        ("decoupled", "it holds"),
        ("mixed", "it is contradicted"),
        ("compression-prioritized", "it is contradicted"),
        ("undecided", "it is undecided"),
    ],
)
def test_a_strategy_is_that_of_the_analysis_which_may_leave_it_open(ours: str, reason: str) -> None:
    row = found(0.0, section="strategy", name="strategy", estimate=None, verdict=ours)
    about: dict[str, Any] = {"section": "strategy", "term": "strategy", "verdict": "decoupled"}
    finding = findings.examine(claim("verdict", **about), [row])
    assert (finding.paper, finding.ours, finding.reason) == ("decoupled", ours, reason)


def shares(mean: float, capacity: float, **of: Any) -> list[repro.Evidence]:
    """H2(Z) of a model, and the most that its codebook allows."""
    made: dict[str, Any] = {"section": "information", "name": "base", "condition": "base", **of}
    fixed: dict[str, Any] = {"low": None, "high": None, "level": None}
    number = found(around(mean, 0.1), quantity="collision_entropy", **made)
    return [number, found(capacity, quantity="capacity", **made | fixed)]


def test_models_are_compared_as_shares_of_what_their_codebooks_allow() -> None:
    pool = shares(6.0, 13.0, model="amused", row_model="a")
    pool += shares(7.0, 14.0, model="llamagen", family="autoregressive", row_model="l")
    about: dict[str, Any] = {
        "section": "information",
        "quantity": "collision_entropy",
        "term": "base",
    }
    highest = claim("highest", per="capacity", **about)
    assert "vq-diffusion or another diffusion model" in findings.examine(highest, pool).reason
    pool += shares(9.0, 12.0, model="vq-diffusion", family="diffusion", row_model="v")
    finding = findings.examine(highest, pool)
    assert finding.ours.startswith("a: 0.462 [0.45")
    assert finding.reason == "it is contradicted"
    assert findings.examine(claim("lowest", per="capacity", **about), pool).reason == "it holds"


def test_a_lower_bound_can_contradict_that_a_number_is_small_and_not_show_it() -> None:
    about: dict[str, Any] = {"section": "ledger", "term": "base", "quantity": "residual_lower"}
    small = claim("below", value=0.1, per="residual_upper", which="last", is_bound=True, **about)
    for lower, reason in ((around(100.0), "it is contradicted"), (around(5.0), "it is undecided")):
        made: dict[str, Any] = {"section": "ledger", "name": "base", "condition": "base"}
        pool = [found(lower, quantity="residual_lower", **made)]
        pool.append(found(around(170.0), quantity="residual_upper", **made))
        assert findings.examine(small, pool).reason == reason


@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        ((0.5, 0.6, 0.5), "it holds"),
        ((0.6, 0.5, 0.4), "it is contradicted"),
        ((0.5, 0.501, 0.5), "it is undecided"),
    ],
)
def test_a_peak_is_above_both_ends(curve: tuple[float, ...], reason: str) -> None:
    pool = []
    for number, mean in enumerate(curve):
        of: dict[str, Any] = {
            "section": "quality",
            "name": f"proposed-{number}",
            "quantity": "clip_iqa",
        }
        pool.append(found(around(mean), **of))
    about: dict[str, Any] = {"section": "quality", "term": "proposed-*", "quantity": "clip_iqa"}
    assert findings.examine(claim("peak", **about), pool).reason == reason


def test_a_stand_in_never_reproduces_a_claim_and_keeps_its_own_name() -> None:
    other = findings.examine(claim("drop"), [found(around(-0.1), model="trio-mim")])
    assert other.verdict == "not comparable"
    assert other.reason == "a (masked) stands in for amused; there it holds"
    measure = findings.examine(claim("drop"), [found(around(0.1), quantity="reference_distance")])
    assert measure.reason == "reference_distance stands in for lpips; there it is contradicted"
    number = findings.examine(claim("change", value=0.1), [found(around(0.1), model="trio-mim")])
    assert (number.verdict, number.reason) == ("not comparable", "a (masked) stands in for amused")


def test_the_papers_model_and_measure_come_before_stand_ins() -> None:
    pool = [
        found(around(0.1), model="trio-mim"),
        found(around(0.1), quantity="reference_distance"),
        found(around(-0.1)),
    ]
    assert findings.examine(claim("drop"), pool).verdict == "reproduced"


def test_a_claim_about_several_rows_needs_all_of_them() -> None:
    rows = [
        found(around(mean), name=f"proposed-0.{i} - baseline") for i, mean in enumerate((0.1, 0.2))
    ]
    every = claim("rise", term="proposed-* - baseline")
    assert findings.examine(every, rows).verdict == "reproduced"
    rows.append(found(around(0.0001), name="proposed-0.9 - baseline"))
    assert findings.examine(every, rows).reason == "it is undecided"
    assert (
        findings.examine(claim("rise", term="proposed-* - baseline", which="first"), rows).verdict
        == "reproduced"
    )


def test_what_no_run_measured_is_not_comparable() -> None:
    finding = findings.examine(
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
    about: dict[str, Any] = {
        "section": "offer",
        "quantity": "clip_iqa",
        "term": "keep-* - keep-1.*",
        "which": "first",
    }
    finding = findings.examine(claim("equivalent", **about), pool)
    assert (finding.reason, finding.ours.split()[0]) == (reason, f"{change:.3f}")


def test_the_p_of_a_value_is_that_of_the_t_test_behind_a_t_interval() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.normal(rng.normal(0, 0.02), 0.03, 12)
        number = verdicts.estimate_of(found(values).row)
        assert number is not None
        for true in (-0.01, 0.0, 0.02):
            expected = stats.ttest_1samp(values, true).pvalue
            assert number.p(true) == pytest.approx(expected, rel=1e-9)


def test_a_row_of_many_decides_after_holm_over_the_claim() -> None:
    """p = .004 of one row: of one it contradicts, of five it does not."""
    number = verdicts.Estimate(0.03 + 0.01, 0.0337, 0.0463, n=12, level=0.95)
    inside = verdicts.Estimate(0.0, -0.005, 0.005, n=12, level=0.95)
    region = verdicts.around(0.0, 0.03)
    assert 0.002 < region.p(number) < 0.01
    assert verdicts.judged([(number, region)]) == "contradicted"
    assert verdicts.judged([(number, region)] + [(inside, region)] * 4) == "undecided"


def test_an_open_interval_decides_nothing() -> None:
    row = found(around(0.1), low=None)
    for expect in ("drop", "rise", "equivalent", "zero"):
        assert said(expect, row) == "undecided"


def test_every_claim_names_a_known_model_and_the_numbers_are_those_of_figures_8_to_10() -> None:
    known = repro.claims()
    assert {claim.model for claim in known} == set(repro.FAMILIES)
    assert {claim.expect for claim in known} <= set(get_args(repro.Expected))
    for claim in known:
        valued = claim.expect in ("level", "change", "above", "below")
        assert (claim.value is not None) >= valued, claim
        assert (claim.verdict is not None) == (claim.expect == "verdict"), claim
    figures = {int(number) for claim in known for number in re.findall(r"Fig. (\d+)", claim.where)}
    assert figures == {2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13}
    numbers = {
        figure: [c.value for c in known if f"Fig. {figure}" in c.where] for figure in (8, 9, 10)
    }
    assert numbers == {
        8: [0.633, 0.634, 0.001],
        9: [0.755, 0.005, -0.003, 0.08, 0.837, 0.837, 0.0],
        10: [0.577, 0.08, 0.025, 0.681, 0.681, 0.0],
    }


def test_every_quantity_that_a_claim_names_is_measured_by_something() -> None:
    """`lpips` is what the names of three distances begin with."""
    known = {record.name for record in of_family("distance", "entropy", "usage", "bits", "score")}
    for claim in repro.claims():
        for name in filter(None, (claim.quantity, claim.per)):
            of_share = quantity(name).family == "share"
            assert of_share or any(one.startswith(name) for one in known), name


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
    assert said("equivalent", pool[0]) == "undecided"


def test_every_claim_finds_the_rows_that_it_found_by_their_labels() -> None:
    """`term` of the claims is matched with what the fields of a row say, never with its label."""
    pool = repro.of_document(Numbers(documents.factorial()), {documents.MODELS[0]: "amused"})
    sections = {"probe": "argmax", "waterfall": "predicted", "effect": "*:*"}
    for section, term in sections.items():
        finding = findings.examine(claim("words", section=section, term=term), pool)
        assert finding.verdict == "not comparable"
        assert not finding.reason.startswith("not measured")


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("n", [12, 40])
def test_the_p_of_a_value_far_out_is_that_of_skewed_values(n: int, sign: float) -> None:
    """Of the interval at 95 % alone: at other levels Hall's bound has the p of that level, t's on the other side."""
    x = sign * np.random.default_rng(n).lognormal(0, 0.6, n)
    halls = {level: definitions.hall_interval(x, level) for level in (0.95, 0.99, 0.999)}
    single = {level: stats.ttest_1samp(x, 0).confidence_interval(level) for level in halls}
    low = min(halls[0.95][0], single[0.95].low)
    high = max(halls[0.95][1], single[0.95].high)
    one = verdicts.Estimate(float(x.mean()), low, high, n, 0.95)
    for level in halls:
        long, short = halls[level][int(sign > 0)], single[level][int(sign < 0)]
        assert one.p(float(long)) == pytest.approx(1 - level, rel=1e-6)
        assert one.p(float(short)) == pytest.approx(1 - level, rel=1e-6)
    assert one.p(one.value) == 1.0


@pytest.mark.parametrize("longer", [1.0, 3.0, 4.0, 9.0, np.inf])
def test_however_unequal_its_arms_an_interval_leaves_its_bounds_out_at_its_level(
    longer: float,
) -> None:
    short, long = (0.1, 0.1 * longer) if np.isfinite(longer) else (0.0, 0.1)
    one = verdicts.Estimate(0.5, 0.5 - short, 0.5 + long, 12, 0.95)
    assert one.p(one.high) == pytest.approx(0.05)
    found = [one.p(0.5 + share * long) for share in np.linspace(0, 5, 50)]
    assert found == sorted(found, reverse=True)
