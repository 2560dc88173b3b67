"""What moves with the number of images is found, and gets no p value."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.testing import assert_allclose

from ibstats.statistics import collision, effects, information, rarefaction, significance, unseen
from ibstats.statistics.uncertainty import Resampling

HOW = Resampling(n_resamples=200)
DIMS = ("condition", "prompt", "sample", "row", "col")


def test_an_effect_that_moves_by_more_than_half_its_half_width_gets_no_p_value() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal([0.5, 0.5, 0.0], 0.2, (12, 3))
    values = xr.DataArray(x, dims=("prompt", "effect"), coords={"effect": ["a", "b", "c"]})
    whole, half = effects.tested(values, HOW), effects.tested(values - [0.0, 0.3, 0.0], HOW)
    assert rarefaction.moves(whole, half).values.tolist() == [False, True, False]
    found = rarefaction.withhold(whole, half)
    assert found["settled"].values.tolist() == [True, False, True]
    assert np.isnan(found["p"][1])
    assert np.isnan(found["p_holm"][1])
    assert_allclose(found["p_holm"][[0, 2]], significance.adjust(whole["p"][[0, 2]]))
    assert found.attrs["n_tests"] == 2
    assert_allclose(found["estimate"], whole["estimate"])


def test_effects_of_several_quantities_are_families_of_their_own() -> None:
    rng = np.random.default_rng(0)
    tables = []
    for shift in (0.0, 0.4):
        parts = []
        for _ in range(2):
            values = xr.DataArray(rng.normal(0.5, 0.2, (12, 3)) - shift, dims=("prompt", "effect"))
            parts.append(effects.tested(values, HOW))
        tables.append(xr.concat(parts, "quantity", combine_attrs="override"))
    found = rarefaction.withhold(*tables)
    for quantity in range(2):
        assert_allclose(found["p_holm"][quantity], significance.adjust(found["p"][quantity]))
    assert found["n_tests"].values.tolist() == found["settled"].sum("effect").values.tolist()


def test_the_table_holds_the_numbers_of_subsets() -> None:
    values = np.random.default_rng(0).integers(0, 9, (2, 6, 4, 2, 2))
    tokens = xr.DataArray(values, dims=DIMS, coords={"condition": ["a", "b"]})
    wording = xr.DataArray(np.arange(4) % 2, dims="sample")
    found = rarefaction.table(tokens, 9, [wording], n_subsets=30)
    assert found["n_images"].values.tolist() == [1, 2, 4, 4, 4, 4]
    assert found["n_prompts"].values.tolist() == [6, 6, 6, 1, 3, 6]
    whole = information.per_prompt(tokens, 9).mean("prompt")
    shared = collision.per_prompt(tokens, 9, [wording]).mean("prompt")
    for part in ("1 of images", "1 of prompts"):
        last = found["estimate"].sel(part=part)
        assert_allclose(last.sel(quantity="codebook_entropy"), whole["codebook_entropy"])
        assert_allclose(last.sel(quantity="collision_information"), shared["collision_information"])
    halves = [
        unseen.per_prompt(tokens.isel(sample=[i, j]), 9)["unseen_by_image"].mean("prompt")
        for i in range(4)
        for j in range(i)
    ]
    made = found["estimate"].sel(part="0.5 of images", quantity="unseen_by_image")
    assert_allclose(made, np.mean(halves, axis=0))
    above = found["estimate"].sel(quantity="unseen_by_image") > unseen.MOST_UNSEEN
    assert (found["weak"].sel(quantity="conditional_entropy") == above).all()
    assert not found["weak"].sel(quantity="collision_information").any()


def test_random_subsets_repeat_with_their_seed() -> None:
    values = np.random.default_rng(0).integers(0, 9, (1, 6, 8, 2, 2))
    tokens = xr.DataArray(values, dims=DIMS, coords={"condition": ["a"]})
    made = [rarefaction.table(tokens, 9, n_subsets=3, seed=seed) for seed in (1, 1, 2)]
    xr.testing.assert_equal(made[0], made[1])
    assert not made[0].equals(made[2].assign_attrs(seed=1))


def test_a_part_too_small_for_a_number_is_nan() -> None:
    values = np.random.default_rng(0).integers(0, 9, (1, 4, 2, 2, 2))
    found = rarefaction.table(xr.DataArray(values, dims=DIMS, coords={"condition": ["a"]}), 9)
    quarter = found["estimate"].isel(part=0, condition=0).sel(quantity="collision_information")
    assert np.isnan(quarter).all()
    assert found["n_images"].values[0] == 1
