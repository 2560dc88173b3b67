"""Mass of unseen codes: left-out counts by hand, maps, and what is said of it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.testing import assert_allclose

from ibstats.statistics import counting, unseen

DIMS = ("condition", "prompt", "sample", "row", "col")


def grids(n_codes: int = 12) -> xr.DataArray:
    values = np.random.default_rng(0).integers(0, n_codes, (2, 3, 2, 2, 2))
    return xr.DataArray(values, dims=DIMS, coords={"condition": ["argmax", "stochastic"]})


def test_masses_are_the_tokens_on_codes_that_nobody_else_shows() -> None:
    tokens = grids()
    found = unseen.per_prompt(tokens, 12)
    for condition in range(2):
        for prompt in range(3):
            own = tokens.values[condition, prompt].reshape(2, 4)
            rest = set(np.delete(tokens.values[condition], prompt, axis=0).ravel().tolist())
            by_prompt = np.mean([code not in rest for code in own.ravel()])
            alone = [code not in own[1 - s] for s in range(2) for code in own[s]]
            assert float(found["unseen_by_prompt"][condition, prompt]) == by_prompt
            assert float(found["unseen_by_image"][condition, prompt]) == np.mean(alone)


def test_maps_are_of_tokens_at_one_position() -> None:
    tokens = grids(4)
    maps = unseen.maps_of(next(counting.conditions(tokens, 4)))
    for position in range(4):
        one = tokens.isel(row=[position // 2], col=[position % 2])
        found = unseen.per_prompt(one, 4).isel(condition=0).mean("prompt")
        for name, values in maps.items():
            assert_allclose(values[position], found[name])


def test_a_quantity_leans_on_the_masses_of_its_units_and_a_line_says_so() -> None:
    masses = {
        "unseen_by_prompt": ("condition", [0.2, 0.0]),
        "unseen_by_image": ("condition", [0.0, 0.1]),
    }
    found = xr.Dataset(masses, {"condition": ["argmax", "stochastic"]})
    leans = unseen.leaning(found)
    assert leans.sel(quantity="codebook_entropy").values.tolist() == [True, False]
    assert leans.sel(quantity="conditional_entropy").values.tolist() == [False, True]
    assert leans.sel(quantity="mutual_information").values.tolist() == [True, True]
    lines = unseen.warnings(found, "trio-ar")
    assert len(lines) == 2
    assert "is above 0.03 in 1 of 2 conditions (most in 'argmax', 0.20)" in lines[0]
    assert "do not rely on H(Z), perplexity, I(X;Z) there" in lines[0]
    assert "more images" in lines[1]


def test_maps_are_masked_where_they_rest_on_codes_not_seen() -> None:
    dims = ("condition", "row", "col")
    ones = np.ones((1, 1, 3))
    found = xr.Dataset(
        {
            "codebook_entropy": (dims, ones),
            "conditional_entropy": (dims, ones),
            "mutual_information": (dims, ones),
            "unseen_by_prompt": (dims, [[[0.0, 0.1, 0.0]]]),
            "unseen_by_image": (dims, [[[0.0, 0.0, 0.1]]]),
        }
    )
    masked = unseen.masked(found)
    assert masked["codebook_entropy"].isnull().values.ravel().tolist() == [False, True, False]
    assert masked["conditional_entropy"].isnull().values.ravel().tolist() == [False, False, True]
    assert masked["mutual_information"].isnull().values.ravel().tolist() == [False, True, True]
    assert (masked["unseen_by_image"] == found["unseen_by_image"]).all()
