"""Which codes a subset keeps, and how far the calibration knows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from generate.run.calibration import halves
from generate.study import subset
from generate.study.conditions import BASELINE, Condition
from schemas.provenance import CalibrationRecord, ModelIdentity

COUNTS = np.array([5, 0, 9, 2, 2, 7])
RNG = np.random.default_rng(0)
HALVED = replace(BASELINE, codebook="subset", keep_ratio=0.5, subset_method="drop_least_frequent")


def record(half: np.ndarray, other: np.ndarray, images: np.ndarray) -> CalibrationRecord:
    return CalibrationRecord(
        model=ModelIdentity(model="m"),
        seed=0,
        samples=1,
        prompt_ids=[],
        prompts_sha256="",
        counts=(half + other).tolist(),
        half_counts=half.tolist(),
        image_counts=images.tolist(),
    )


def test_dropping_the_least_frequent_keeps_the_most_used() -> None:
    kept = subset.keep_codes(COUNTS, 3 / 6, "drop_least_frequent", rng=RNG)
    assert np.flatnonzero(kept).tolist() == [0, 2, 5]


def test_dropping_the_most_frequent_keeps_the_least_used() -> None:
    kept = subset.keep_codes(COUNTS, 0.5, "drop_most_frequent", rng=RNG)
    assert np.flatnonzero(kept).tolist() == [1, 3, 4]


def test_tied_codes_are_kept_in_an_order_of_the_seed_and_not_of_their_ids() -> None:
    counts = np.zeros(1000, dtype=np.int64)
    first = subset.kept(HALVED, counts, 3)
    assert first.sum() == 500
    assert 200 < first[:500].sum() < 300
    assert (first == subset.kept(HALVED, counts, 3)).all()
    assert (first != subset.kept(HALVED, counts, 4)).any()
    smaller = subset.kept(replace(HALVED, keep_ratio=0.25), counts, 3)
    assert (first[smaller]).all()
    rarest = subset.kept(replace(HALVED, subset_method="drop_most_frequent"), counts, 3)
    assert (rarest == ~first).all()


def test_the_order_of_ties_is_no_random_subset() -> None:
    drawn: Condition = replace(HALVED, subset_method="drop_random", subset_draw=0)
    counts = np.zeros(1000, dtype=np.int64)
    assert 200 < (subset.kept(HALVED, counts, 3) & subset.kept(drawn, counts, 3)).sum() < 300


def test_dropping_at_random_keeps_as_many_and_depends_on_the_generator_alone() -> None:
    kept = []
    for seed in (1, 1, 2, 3, 4):
        rng = np.random.default_rng(seed)
        kept.append(subset.keep_codes(COUNTS, 0.5, "drop_random", rng=rng))
    assert [int(one.sum()) for one in kept] == [3] * 5
    assert (kept[0] == kept[1]).all()
    assert any((one != kept[0]).any() for one in kept)


def test_a_ratio_of_one_keeps_every_code_and_the_smallest_keeps_one() -> None:
    assert subset.keep_codes(COUNTS, 1.0, "drop_least_frequent", rng=RNG).all()
    assert subset.keep_codes(COUNTS, 1e-6, "drop_least_frequent", rng=RNG).sum() == 1


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.8])
def test_the_overlap_of_a_normal_pair_is_that_of_scipy(correlation: float, ratio: float) -> None:
    """Halves whose overlap has a known correlation, and Spearman and Brown's formula by hand."""
    if correlation in (0.0, 1.0):
        known = {0.0: ratio, 1.0: 1.0}[correlation]
        assert subset.expected_overlap(known, ratio) == pytest.approx(known)
        return
    cut = stats.norm.isf(ratio)

    def both(one: float) -> float:
        law = stats.multivariate_normal([0, 0], [[1, one], [one, 1]])
        return float(law.cdf([-cut, -cut])) / ratio

    truth = np.sqrt(2 * correlation / (1 + correlation))
    found = subset.expected_overlap(both(correlation), ratio)
    assert found == pytest.approx(both(truth), abs=1e-5)


def test_halves_that_agree_less_than_chance_give_the_overlap_of_chance() -> None:
    assert subset.expected_overlap(0.4, 0.5) == 0.5


def test_the_expected_overlap_is_that_with_the_true_codes() -> None:
    """Zipf's law over 16384 codes, 192 images of 256 tokens: the truth is known, about .69."""
    law = 1 / np.arange(1, 16385)
    law /= law.sum()
    rng = np.random.default_rng(0)
    half, other = rng.multinomial(96 * 256, law, size=2)
    found = subset.certainty(HALVED, record(half, other, np.ones(16384, dtype=int)), 0)
    truth = subset.kept(HALVED, half + other, 0)[: 16384 // 2].mean()
    assert truth == pytest.approx(0.69, abs=0.01)
    assert found.overlap == pytest.approx(truth, abs=0.02)
    assert found.tie_share == pytest.approx(0.27, abs=0.01)


def test_the_mass_of_codes_of_one_image_alone_is_unseen() -> None:
    use = subset.CodeUse(4)
    use.add(np.array([[0, 0, 1], [0, 1, 1]]), np.array([True, True]))
    use.add(np.array([[2, 2, 0]]), np.array([False]))
    assert use.counts.tolist() == [4, 3, 2, 0]
    assert use.half_counts.tolist() == [3, 3, 0, 0]
    assert use.image_counts.tolist() == [3, 2, 1, 0]
    found = subset.certainty(
        HALVED, record(use.half_counts, use.counts - use.half_counts, use.image_counts), 0
    )
    assert found.unseen == pytest.approx(2 / 9)


def test_what_no_counts_chose_and_what_old_records_lack_is_not_certain_at_all() -> None:
    known = record(COUNTS, COUNTS, COUNTS)
    drawn = replace(HALVED, subset_method="drop_random")
    for cell, counts in ((BASELINE, known), (drawn, known), (HALVED, None)):
        assert np.isnan(subset.certainty(cell, counts, 0).overlap)
    old = known.model_copy(update={"half_counts": [], "image_counts": []})
    found = subset.certainty(HALVED, old, 0)
    assert np.isnan(found.overlap)
    assert np.isnan(found.unseen)
    assert found.tie_share == 0


def test_halves_are_of_prompts_and_of_images_where_there_is_one_prompt() -> None:
    assert halves(3, 2).tolist() == [True, True, False, False, True, True]
    assert halves(1, 3).tolist() == [True, False, True]


def test_a_line_warns_of_the_subset_that_is_known_least() -> None:
    nan = float("nan")
    assert subset.warning("m", ["a", "b", "c"], [0.95, nan, 0.91]) == ""
    said = subset.warning("m", ["a", "b", "c"], [0.95, 0.712, nan])
    assert "'b'" in said
    assert "only 0.71 (at least 0.9 is good)" in said
