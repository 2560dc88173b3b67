"""Collision entropies against loops over pairs of images, and their jackknife against leaving out."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from ibstats.errors import IbstatsError, StoreContractError
from ibstats.kernels import collision as kernel
from ibstats.statistics import collision, counting, effects
from ibstats.statistics.uncertainty import Resampling
from tests.reference import definitions

HOW = Resampling(n_resamples=200)
DIMS = ("condition", "prompt", "sample", "row", "col")


def grids(*shape: int, n_codes: int = 6, seed: int = 0) -> xr.DataArray:
    """Skewed codes that depend on the prompt."""
    rng = np.random.default_rng(seed)
    law = rng.dirichlet(np.full(n_codes, 0.7), size=shape[1])
    values = np.empty(shape, np.uint16)
    for prompt in range(shape[1]):
        values[:, prompt] = rng.choice(n_codes, values[:, prompt].shape, p=law[prompt])
    return xr.DataArray(values, dims=DIMS, coords={"condition": [f"c{i}" for i in range(shape[0])]})


def counted(tokens: xr.DataArray, n_codes: int = 6) -> counting.Counted:
    return next(counting.conditions(tokens, n_codes))


@pytest.mark.parametrize("counts", [None, (5, 3, 4, 2)])
@pytest.mark.parametrize("position", [None, 3])
@pytest.mark.parametrize("pairs", collision.PAIRS)
@pytest.mark.parametrize("labelled", [False, True])
def test_chances_equal_loops_over_pairs_of_images(
    counts: tuple[int, ...] | None, position: int | None, pairs: collision.Pairs, labelled: bool
) -> None:
    tokens = grids(1, 4, 5, 2, 3)
    labels = np.array([[0, 1, 2, 0, 1], [3, 3, 4, 4, 4], [0, 0, 0, 0, 0], [7, 8, 7, 8, 9]])
    flat = list(tokens.values[0].reshape(4, 5, 6))
    numbers = None
    if counts is not None:
        numbers = np.array([counts])
        for prompt, number in enumerate(counts):
            flat[prompt] = flat[prompt][:number]
            tokens[0, prompt, number:] = 65535
            labels[prompt, number:] = -1
    share = [xr.DataArray(labels[None], dims=DIMS[:3])] if labelled else []
    expected = definitions.collision_chances(flat, 6, labels if labelled else None, pairs, position)
    sharing = collision.shared(tokens, share, pairs, numbers)(0)
    one = next(counting.conditions(tokens, 6, numbers))
    made = collision.chances(one, sharing, at_positions=position is not None)
    for ours, theirs in zip(made, expected, strict=True):
        assert_allclose(ours if position is None else ours[:, position], theirs, atol=1e-12)


def test_pairs_that_share_one_of_two_labels_are_left_out() -> None:
    """Crossed noise: sample s has path s // 3 and execution s % 3."""
    tokens = grids(1, 3, 6, 2, 2)
    path = xr.DataArray(np.arange(6) // 3, dims="sample")
    execution = xr.DataArray(np.arange(6) % 3, dims="sample")
    sharing = collision.shared(tokens, [path, execution], "apart")(0)
    within, _ = collision.chances(counted(tokens), sharing)
    flat = tokens.values[0].reshape(3, 6, 4)
    for prompt in range(3):
        chances = []
        for s in range(6):
            for t in range(6):
                if s // 3 != t // 3 and s % 3 != t % 3:
                    first = np.bincount(flat[prompt, s], minlength=6) / 4
                    chances.append(first @ np.bincount(flat[prompt, t], minlength=6) / 4)
        assert within[prompt] == pytest.approx(np.mean(chances))


def test_pseudo_values_equal_leaving_prompts_out() -> None:
    tokens = grids(1, 6, 3, 2, 2)
    flat = tokens.values[0].reshape(6, 3, 4)

    def estimates(of: np.ndarray) -> np.ndarray:
        within, other = (np.mean(part) for part in definitions.collision_chances(of, 6))
        bits = -np.log2(within), -np.log2(other)
        return np.array([within, other, within - other, *bits, bits[1] - bits[0], 1 / other])

    without = np.array([estimates(np.delete(flat, i, axis=0)) for i in range(6)])
    expected = 6 * estimates(flat) - 5 * without
    found = collision.per_prompt(tokens, 6)
    for name, column in zip(collision.QUANTITIES, expected.T, strict=True):
        assert_allclose(found[name].values[0], column, atol=1e-10)
    assert found["collision_excess"].mean() == pytest.approx(estimates(flat)[2])


def test_maps_are_of_one_position_and_their_mean_is_taken_before_the_logarithm() -> None:
    tokens = grids(2, 5, 4, 2, 3)
    maps = collision.by_position(tokens, 6)
    flat = tokens.values[1].reshape(5, 4, 6)
    within, other = definitions.collision_chances(flat, 6, position=4)
    assert float(maps["collision_information"][1, 1, 1]) == pytest.approx(
        np.log2(np.mean(within) / np.mean(other))
    )
    one = collision.per_prompt(tokens, 6, at_positions=True)
    assert_allclose(
        one["collision_within"].mean("prompt"), maps["collision_within"].mean(("row", "col"))
    )


def test_codes_that_nobody_used_and_small_pieces_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = grids(2, 5, 4, 2, 3)
    wording = xr.DataArray(np.arange(4) % 2, dims="sample")
    whole = collision.per_prompt(tokens, 6, [wording]), collision.by_position(tokens, 6, [wording])
    more = collision.per_prompt(tokens, 99, [wording]), collision.by_position(tokens, 99, [wording])
    monkeypatch.setattr(counting, "AT_ONCE", 1)
    small = collision.per_prompt(tokens, 6, [wording]), collision.by_position(tokens, 6, [wording])
    for expected, *others in zip(whole, more, small, strict=True):
        for other in others:
            xr.testing.assert_allclose(other, expected, rtol=1e-12)


def test_a_summary_has_intervals_around_its_estimates_and_the_test_of_no_information() -> None:
    tokens = grids(2, 24, 4, 3, 3)
    tokens[1] = np.random.default_rng(1).integers(0, 6, tokens[1].shape)
    values = collision.per_prompt(tokens, 6)
    found = collision.summary(values, HOW)
    assert_allclose(
        found["estimate"].sel(quantity="collision_information"),
        values["collision_information"].mean("prompt"),
    )
    assert bool((found["low"] <= found["estimate"]).all())
    assert bool((found["estimate"] <= found["high"]).all())
    assert float(found["p"][0]) < 1e-3
    assert float(found["p"][1]) > 0.05
    assert found["reason"].values.tolist() == ["", ""]
    units = dict(zip(found["quantity"].values, found["units"].values, strict=True))
    assert units["collision_information"] == "bit"
    assert units["hill_2"] == "1"


def test_a_change_of_information_is_tested_on_differences_of_values() -> None:
    tokens = grids(2, 24, 4, 3, 3)
    tokens[1] = np.random.default_rng(1).integers(0, 6, tokens[1].shape)
    values = collision.per_prompt(tokens, 6)["collision_information"]
    change = (values[0] - values[1]).expand_dims(effect=["c0 - c1"])
    table = effects.tested(change, HOW)
    assert float(table["p"][0]) < 0.01


@pytest.mark.parametrize(
    ("shape", "labels", "reason"),
    [
        ((1, 4, 1, 2, 2), None, "images"),
        ((1, 2, 3, 2, 2), None, "prompts"),
        ((1, 4, 3, 2, 2), [0, 0, 0], None),
    ],
)
def test_what_is_undefined_is_nan_with_its_reason(
    shape: tuple[int, ...], labels: list[int] | None, reason: str | None
) -> None:
    tokens = grids(*shape)
    share = [xr.DataArray(labels, dims="sample")] if labels else []
    values = collision.per_prompt(tokens, 6, share)
    found = collision.summary(values, HOW)
    said = collision.REASONS[reason] if reason else ""
    assert found["reason"].values.tolist() == [said]
    assert bool(found["estimate"].isnull().any()) == bool(reason)


def test_images_that_never_share_a_code_have_no_logarithm() -> None:
    codes = np.arange(12).reshape(1, 3, 2, 1, 2)
    values = collision.per_prompt(xr.DataArray(codes, dims=DIMS), 12)
    assert values["collision_within"].values.tolist() == [[0.0, 0.0, 0.0]]
    assert bool(values["collision_information"].isnull().all())
    found = collision.summary(values.assign_coords(condition=["c"]), HOW)
    assert found["reason"].values.tolist() == [collision.REASONS["coincidence"]]


def test_wrong_codes_and_unknown_pairs_are_refused() -> None:
    tokens = grids(1, 3, 2, 1, 1)
    with pytest.raises(StoreContractError, match=r"codes run 0\.\.1"):
        collision.per_prompt(tokens, 2)
    with pytest.raises(IbstatsError, match="unknown kind of pairs 'some'; known: apart, together"):
        collision.per_prompt(tokens, 6, pairs="some")  # type: ignore[arg-type]


def test_two_prompts_have_no_pseudo_values() -> None:
    assert np.isnan(kernel.pseudo_values([0.5, 0.4], [0.2, 0.2]).within).all()
