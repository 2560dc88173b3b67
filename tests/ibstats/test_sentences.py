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


def test_a_fixed_order_is_said_to_take_nothing_and_to_make_nothing() -> None:
    bits = found(path_causal=(0.0, 0.0), joint=(80.0, 2.0), share_path_causal=(0.0, 0.0))
    left = found(path_shared=(1.0, 0.0), execution_shared=(0.0, 0.0))
    said = sentences.path_and_execution(bits, left, FIXED)
    assert said == (
        "the order is fixed: the path takes 0 of 80.0 bits; all of the diversity comes from "
        "execution; under argmax nothing is left to chance."
    )


@pytest.mark.parametrize(
    ("redundancy", "reading"),
    [
        ((0.9, 0.2), "R 0.90 [0.70, 1.10]: either noise alone gives most of it"),
        ((0.1, 0.2), "R 0.10 [-0.10, 0.30]: each noise adds a part of its own"),
        ((0.4, 0.2), "R 0.40 [0.20, 0.60]: how they go together is not told apart"),
    ],
)
def test_how_two_noises_go_together_is_said_only_where_the_interval_tells(
    redundancy: tuple[float, float], reading: str
) -> None:
    left = found(path_shared=(0.98, 0.05), execution_shared=(1.02, 0.05), redundancy=redundancy)
    bits = SPLIT | found(residual_upper=(40.0, 1.0))
    said = sentences.path_and_execution(bits, left, {})
    assert "takes 50% [45%, 55%] of 100.0 bits, and at most 40.0 bits of it cannot be read" in said
    assert "share the path noise keep 0.98 [0.93, 1.03] of the diversity, those that share" in said
    assert f"({reading})" in said
    assert said.endswith("argmax was not measured.")


def test_a_path_that_makes_everything_is_said_to() -> None:
    left = found(path_shared=(0.0, 0.0), execution_shared=(1.0, 0.0))
    assert sentences.pair_distances(left) == "all of the diversity comes from the path"
    assert sentences.pair_distances(found(path_shared=(0.5, 0.1))) == ""


def test_what_argmax_leaves_is_measured() -> None:
    left = found(path_causal=(30.0, 1.0), joint=(30.0, 1.0))
    said = sentences.path_and_execution(SPLIT, {}, left)
    assert said.endswith("under argmax 30.0 bits of path are left.")


def test_a_path_that_was_not_recorded_is_said_to_be() -> None:
    assert sentences.path_and_execution({}, {}, {}) == sentences.NOT_SPLIT


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
        "0.500 [0.250, 0.750] at keep-0.25, margin ±0.100; stable from 0.60 on.\n"
    ) in said
    assert "what is neither is inconclusive" in said


@pytest.mark.parametrize(
    ("changes", "study"),
    [
        (
            {"ratio": {"estimate": 0.6}},
            "keep_ratio 0.60, the median inflection point; CLIP-IQA is stable",
        ),
        (
            {"ratio": {"estimate": 0.4}},
            "keep_ratio 0.50, the smallest swept ratio from which on CLIP-IQA of each model is stable; the",
        ),
        (
            {"keep_ratio": {"score": None, "verdict": "quality not measured"}},
            "keep_ratio 0.50, the median inflection point; quality was not measured (trio",
        ),
        (
            {"keep_ratio": {"verdict": "no inflection point"}},
            "no inflection point was found, so no ratio is offered; try smaller ratios",
        ),
        (
            {"stable_from": {"estimate": None}},
            "no ratio is offered, since the quality of trio [bold]",
        ),
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
    assert "no inflection point of LPIPS (found); CLIP-IQA is stable from 0.50 on" in said
