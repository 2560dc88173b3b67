"""Sentences on a model: what they say follows from the numbers and their intervals."""

from __future__ import annotations

from typing import Any

import pytest

from ibstats.results import sentences
from ibstats.results.lookup import Numbers
from schemas.results import ResultRow
from tests.ibstats import documents

Found = dict[str, ResultRow]


def bit(name: str, estimate: float, half: float = 0.0) -> ResultRow:
    bounds = {"low": estimate - half, "high": estimate + half, "degenerate": half == 0}
    return documents.row("ledger", name, estimate=estimate, **bounds)


def found(**values: tuple[float, float]) -> Found:
    """Rows by name, from estimates and half widths of their intervals."""
    return {name: bit(name, *value) for name, value in values.items()}


FIXED = found(path_causal=(0.0, 0.0), joint=(0.0, 0.0))
SPLIT = found(path_causal=(50.0, 5.0), joint=(100.0, 5.0), share_path_causal=(0.5, 0.05))


def test_a_fixed_order_is_said_to_take_nothing_only_where_it_takes_nothing() -> None:
    bits = found(path_causal=(0.0, 0.0), joint=(80.0, 2.0), share_path_causal=(0.0, 0.0))
    said = sentences.path_and_execution(bits, found(path_total=(0.0, 0.0)), FIXED, {})
    assert said == (
        "the order is fixed: the path takes 0 of 80.0 bits and 0% of the diversity; under argmax "
        "nothing is left to chance."
    )
    said = sentences.path_and_execution(bits, found(path_total=(0.03, 0.02)), FIXED, {})
    assert "yet 3% [1%, 5%] of the diversity" in said


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ((0.1, 0.2, 0.7), "70% [65%, 75%] of the diversity is the interaction of path and"),
        ((0.5, 0.2, 0.3), "execution alone 20% [15%, 25%]: more by the path"),
        ((0.2, 0.5, 0.3), "execution alone 50% [45%, 55%]: more by execution"),
        ((0.42, 0.38, 0.2), "not told apart"),
    ],
)
def test_one_source_is_called_the_larger_only_if_the_intervals_do_not_meet(
    shares: tuple[float, float, float], verdict: str
) -> None:
    path, execution, interaction = shares
    drives = found(path=(path, 0.05), execution=(execution, 0.05), interaction=(interaction, 0.05))
    bits = SPLIT | found(residual_upper=(40.0, 1.0))
    said = sentences.path_and_execution(bits, drives, {}, {})
    assert "takes 50% [45%, 55%] of 100.0 bits, and at most 40.0 bits of it cannot be read" in said
    assert verdict in said
    assert said.endswith("argmax was not measured.")


def test_what_argmax_leaves_is_measured() -> None:
    left = found(path_causal=(30.0, 1.0), joint=(30.0, 1.0))
    said = sentences.path_and_execution(SPLIT, {}, left, found(path=(1.0, 0.0)))
    assert said.endswith(
        "under argmax 30.0 bits of path are left and make 100% of what diversity there is."
    )


def test_a_path_that_was_not_recorded_is_said_to_be() -> None:
    assert sentences.path_and_execution({}, {}, {}, {}) == sentences.NOT_SPLIT


def offered(**changes: Any) -> str:
    """What the ablation of one model offers, some rows changed by part."""
    rows = []
    for row in documents.ablation().rows:
        if row.model == documents.MODELS[0]:
            rows.append(row.model_copy(update=changes.get(row.part or row.section, {})))
    numbers = Numbers(documents.document(rows, designs=documents.ablation().designs))
    return "\n".join(sentences.offered(sentences.offers(numbers, "ratio")))


def test_an_offer_names_the_change_that_decides_it() -> None:
    said = offered(keep_ratio={"estimate": 0.6, "verdict": "quality falls"})
    assert (
        "inflection of LPIPS at 0.50 [0.25, 0.75], but quality falls: CLIP-IQA changes by "
        "0.500 [0.250, 0.750] at keep-0.25; no significant loss from 0.60 on.\n"
    ) in said
    assert "no significant loss is not equivalence" in said


@pytest.mark.parametrize(
    ("changes", "study"),
    [
        ({"ratio": {"estimate": 0.6}}, "keep_ratio 0.60, the median inflection point; no model"),
        (
            {"ratio": {"estimate": 0.4}},
            "keep_ratio 0.50, the smallest swept ratio from which on no model loses CLIP-IQA; the",
        ),
        (
            {"keep_ratio": {"score": None, "verdict": "quality not measured"}},
            "keep_ratio 0.50, the median inflection point; quality was not measured (trio",
        ),
        (
            {"keep_ratio": {"verdict": "no inflection point"}},
            "no inflection point was found, so no ratio is offered; try smaller ratios",
        ),
        ({"stable_from": {"estimate": None}}, "no ratio is offered, since trio [bold]red loses"),
    ],
)
def test_the_study_is_offered_one_ratio_at_which_no_model_loses_quality(
    changes: dict[str, Any], study: str
) -> None:
    assert f"For the main study (factorial): {study}" in offered(**changes)


def test_an_inflection_point_that_may_lie_beyond_the_sweep_is_said_to() -> None:
    said = offered(ratio={"verdict": "found at the edge"})
    assert "at 0.50 [0.25, 0.75] (it may lie beyond the sweep)" in said
    said = offered(keep_ratio={"verdict": "no inflection point"})
    assert "no inflection point of LPIPS; CLIP-IQA does not fall significantly from 0.50 on" in said
