"""Entropies of saved tokens: their definitions, their jackknifes, and one counting for all."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy import stats

from ibstats.errors import IbstatsError, StoreContractError
from ibstats.kernels import entropy
from ibstats.statistics import collision, counting, information, unseen
from tests.reference import definitions


def tokens(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("condition", "prompt", "sample", "row", "col")).assign_coords(
        condition=[f"c{i}" for i in range(len(values))]
    )


def test_pooled_information_is_its_definition_and_the_values_are_its_jackknife_over_prompts() -> (
    None
):
    drawn = tokens(np.random.default_rng(0).integers(0, 9, (2, 6, 4, 3, 3)) ** 2 // 8)
    values, pooled = information.per_prompt(drawn, 16), information.pooled(drawn, 16)
    for condition in range(2):
        single = np.array([np.bincount(p.ravel(), minlength=16) for p in drawn.values[condition]])
        whole = float(entropy.estimate(single.sum(axis=0)))
        given = float(np.mean([entropy.estimate(c) for c in single]))
        assert float(pooled["codebook_entropy"][condition]) == pytest.approx(whole)
        assert float(pooled["conditional_entropy"][condition]) == pytest.approx(given)
        assert float(pooled["mutual_information"][condition]) == pytest.approx(whole - given)
        assert float(pooled["utilisation"][condition]) == pytest.approx(
            (single.sum(axis=0) > 0).mean()
        )
        left_out = [
            6 * whole - 5 * float(entropy.estimate(np.delete(single, i, axis=0).sum(axis=0)))
            for i in range(6)
        ]
        assert_allclose(values["codebook_entropy"][condition], left_out)
        assert float(values["utilisation"][condition].mean()) == pytest.approx(
            float(pooled["utilisation"][condition])
        )


def test_shuffling_finds_information_only_where_there_is_some() -> None:
    rng = np.random.default_rng(0)
    unrelated = rng.integers(0, 8, (8, 6, 3, 3))
    related = (unrelated + 3 * np.arange(8)[:, None, None, None]) // 4
    result = information.shuffle_test(
        tokens(np.stack([unrelated, related])), 16, n_shuffles=99, seed=0
    )
    assert float(result["p"][0]) > 0.05
    assert float(result["p"][1]) == pytest.approx(0.01)


def test_position_maps_count_one_position_at_a_time() -> None:
    drawn = np.zeros((1, 5, 4, 2, 2), dtype=int)
    drawn[..., 1, 1] = np.arange(4)
    maps = information.by_position(tokens(drawn), 4, "plugin")
    assert_allclose(maps["codebook_entropy"][0], [[0, 0], [0, 2]])
    assert_allclose(maps["conditional_entropy"][0], [[0, 0], [0, 2]])


def test_counting_in_small_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = tokens(np.random.default_rng(0).integers(0, 9, (2, 6, 4, 3, 3)).astype(np.uint16))

    def everything() -> list[xr.Dataset]:
        measured = [
            f(drawn, 16)
            for f in (information.per_prompt, information.pooled, information.by_position)
        ]
        return [
            *measured,
            information.shuffle_test(drawn, 16, n_shuffles=9, seed=0),
            information.coverage(drawn, 16),
        ]

    whole = everything()
    monkeypatch.setattr(counting, "AT_ONCE", 1)
    for expected, made in zip(whole, everything(), strict=True):
        xr.testing.assert_allclose(made, expected, rtol=1e-12)


def test_codes_outside_the_codebook_are_refused() -> None:
    with pytest.raises(StoreContractError, match=r"holds code 16, but codes run 0\.\.15"):
        information.pooled(tokens(np.full((1, 2, 2, 1, 1), 16)), 16)


def test_digits_of_independent_channels_add_up_and_copies_do_not() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 2, (2, 1, 5, 20, 10, 10)), rng.random((1, 5, 20, 10, 10)) < 0.1
    codes = tokens(first[0] * 4 + first[1] * 2 + second)
    independent = information.by_digit(codes, (2, 2, 2), "plugin")
    assert list(independent.data_vars) == [
        "digit_0_entropy",
        "digit_1_entropy",
        "digit_2_entropy",
        "total_correlation",
    ]
    expected = stats.entropy([0.1, 0.9], base=2)
    assert float(independent["digit_2_entropy"].mean()) == pytest.approx(expected, abs=0.01)
    assert float(independent["total_correlation"].mean()) == pytest.approx(0, abs=0.01)
    copied = information.by_digit(tokens(first[0] * 3), (2, 2), "plugin")
    assert float(copied["total_correlation"].mean()) == pytest.approx(1, abs=0.01)
    mixed = information.by_digit(tokens(first[0] * 3 + 2 * second), (2, 3), "plugin")
    assert float(mixed["digit_0_entropy"].mean()) == pytest.approx(1, abs=0.01)
    assert float(mixed["digit_1_entropy"].mean()) == pytest.approx(expected, abs=0.01)
    assert float(mixed["total_correlation"].mean()) == pytest.approx(0, abs=0.01)
    with pytest.raises(StoreContractError, match="they are the values of each digit"):
        information.measure(tokens(first[0]), 4, ["by_digit"], levels=(2, 3))


def test_rarefaction_takes_equal_budgets() -> None:
    drawn = tokens(np.random.default_rng(0).integers(0, 9, (2, 3, 6, 1, 1)))
    fewer = information.rarefy(drawn, 4, seed=0)
    assert fewer.sizes["sample"] == 4
    with pytest.raises(
        IbstatsError, match="7 images per prompt were asked for, but the store has 6"
    ):
        information.rarefy(drawn, 7, seed=0)


@pytest.mark.parametrize("estimator", ["james_stein", "nsb"])
def test_estimators_of_a_closed_codebook_know_that_a_subset_is_smaller(estimator: str) -> None:
    K, kept = 1024, 200
    drawn = tokens(np.random.default_rng(0).integers(0, kept, (1, 4, 2, 5, 10)))
    truth = np.log2(kept)
    for name in ("codebook_entropy", "conditional_entropy"):
        assert float(information.pooled(drawn, K, estimator, [kept])[name][0]) == pytest.approx(
            truth, abs=0.2
        )
        assert (
            float(information.pooled(drawn, K, estimator)[name][0]) > truth + 0.2
        )  # mass on codes that cannot occur
        for measure in (information.pooled, information.per_prompt, information.by_position):
            alone = measure(drawn, kept, estimator)[name]
            assert_allclose(measure(drawn, K, estimator, [kept])[name], alone)
    assert float(information.pooled(drawn, K, estimator, [kept])["utilisation"][0]) < kept / K


def plain(codes: np.ndarray, n_codes: int = 16) -> float:
    return float(entropy.estimate(np.bincount(codes.ravel(), minlength=n_codes)))


def test_conditional_entropy_is_jackknifed_over_the_images_of_a_prompt() -> None:
    drawn = tokens(np.random.default_rng(0).integers(0, 9, (2, 6, 4, 3, 3)) ** 2 // 8)
    values = information.per_prompt(drawn, 16)
    for condition in range(2):
        for prompt in range(6):
            images = drawn.values[condition, prompt]
            left_out = [plain(np.delete(images, s, axis=0)) for s in range(4)]
            expected = 4 * plain(images) - 3 * np.mean(left_out)
            made = float(values["conditional_entropy"][condition, prompt])
            assert made == pytest.approx(expected)
    difference = values["codebook_entropy"] - values["conditional_entropy"]
    assert_allclose(values["mutual_information"], difference)


def test_many_images_are_left_out_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = tokens(np.random.default_rng(0).integers(0, 9, (1, 2, 6, 3, 3)))
    monkeypatch.setattr(counting, "IMAGES_ALONE", 3)
    images = drawn.values[0, 1]
    left_out = [plain(np.delete(images, [s, s + 1], axis=0)) for s in (0, 2, 4)]
    made = float(information.per_prompt(drawn, 16)["conditional_entropy"][0, 1])
    assert made == pytest.approx(3 * plain(images) - 2 * np.mean(left_out))


def test_one_image_has_no_jackknife() -> None:
    drawn = tokens(np.random.default_rng(0).integers(0, 9, (1, 3, 1, 4, 4)))
    made = information.per_prompt(drawn, 16)["conditional_entropy"].values[0]
    assert_allclose(made, [plain(prompt) for prompt in drawn.values[0]])


def test_one_counting_makes_what_each_function_makes() -> None:
    drawn = tokens(np.random.default_rng(0).integers(0, 9, (2, 6, 4, 3, 3)).astype(np.uint16))
    wording = xr.DataArray(np.arange(4) % 2, dims="sample")
    parts = (*information.PARTS, *information.COLLISION, information.SHUFFLE)
    made = information.measure(
        drawn, 16, parts, share=[wording], levels=(4, 4), n_shuffles=9, seed=3
    )
    alone = {
        "per_prompt": information.per_prompt(drawn, 16),
        "pooled": information.pooled(drawn, 16),
        "coverage": information.coverage(drawn, 16),
        "by_position": information.by_position(drawn, 16),
        "by_digit": information.by_digit(drawn, (4, 4)),
        "half": information.per_prompt(drawn.isel(sample=[0, 1]), 16),
        "unseen": unseen.per_prompt(drawn, 16),
        "collision": collision.per_prompt(drawn, 16, [wording]),
        "collision_at_positions": collision.per_prompt(drawn, 16, [wording], at_positions=True),
        "collision_by_position": collision.by_position(drawn, 16, [wording]),
        "shuffle_test": information.shuffle_test(drawn, 16, n_shuffles=9, seed=3),
    }
    assert set(made) == set(alone)
    for name, expected in alone.items():
        xr.testing.assert_equal(made[name], expected)


@pytest.mark.parametrize(
    ("n_prompts", "n_samples", "n_codes"),
    [(3, 4, 16), (1, 5, 9), (4, 1, 30), (3, 5, 70_000)],
    ids=["few codes", "one prompt", "one image", "many codes"],
)
def test_values_equal_counting_without_each_image_and_each_prompt(
    n_prompts: int, n_samples: int, n_codes: int
) -> None:
    """The entropies from their paper at 60 digits, of tokens counted anew each time."""

    def whole(codes: np.ndarray) -> float:
        return definitions.entropy(np.unique(codes, return_counts=True)[1].tolist(), "chao_shen")

    def pseudo_values(units: np.ndarray) -> list[float]:
        n = len(units)
        if n == 1:
            return [whole(units)]
        every = whole(units)
        return [n * every - (n - 1) * whole(np.delete(units, i, axis=0)) for i in range(n)]

    spread = np.random.default_rng(n_codes).random((1, n_prompts, n_samples, 3, 4)) ** 4
    drawn = tokens((spread * n_codes).astype(np.uint32))
    made = information.per_prompt(drawn, n_codes, "chao_shen").isel(condition=0)
    masses = unseen.per_prompt(drawn, n_codes).isel(condition=0)
    prompts = drawn.values[0]
    assert_allclose(made["codebook_entropy"], pseudo_values(prompts), rtol=1e-12)
    for prompt in range(n_prompts):
        own = prompts[prompt]
        given = np.mean(pseudo_values(own))
        assert float(made["conditional_entropy"][prompt]) == pytest.approx(given, rel=1e-12)
        alone = 0
        for image in range(n_samples):
            alone += (~np.isin(own[image], np.delete(own, image, axis=0))).sum()
        assert float(masses["unseen_by_image"][prompt]) == alone / own.size
