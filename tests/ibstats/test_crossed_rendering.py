"""Variance components where each pair of draws is rendered several times."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from ibstats.kernels import crossed
from ibstats.statistics.pair_distances import pair_means
from ibstats.statistics.path_and_execution import crossed_components, sobol_shares
from ibstats.statistics.uncertainty import Resampling

A, B, R, DIM = 3, 4, 3, 5
TRUTH = {"path": 1.0, "execution": 0.5, "interaction": 0.25, "rendering": 0.75}


def squared(x: np.ndarray) -> np.ndarray:
    return np.square(x[..., :, None, :] - x[..., None, :, :]).sum(-1)


def images(rng: np.random.Generator, prompts: int, truth: dict[str, float]) -> xr.DataArray:
    """Squared distances of embeddings P_i + E_j + PE_ij + R_ijr, each variance spread over `DIM`."""
    scale = {name: np.sqrt(value / DIM) for name, value in truth.items()}
    x = scale["path"] * rng.normal(size=(prompts, A, 1, 1, DIM))
    x = x + scale["execution"] * rng.normal(size=(prompts, 1, B, 1, DIM))
    x = x + scale["interaction"] * rng.normal(size=(prompts, A, B, 1, DIM))
    x = x + scale["rendering"] * rng.normal(size=(prompts, A, B, R, DIM))
    distance = squared(x.reshape(prompts, A * B * R, DIM))
    dims = ("condition", "prompt", "sample", "sample_other")
    coords = {"condition": ["free"], "prompt": np.arange(prompts)}
    return xr.DataArray(distance[None], coords, dims)


def test_distances_of_grids_are_those_of_plain_loops() -> None:
    rng = np.random.default_rng(0)
    distance = squared(rng.normal(size=(6, 2)))
    found = crossed.rendered(distance, 2)
    for i in range(3):
        assert found.within[i] == pytest.approx(distance[2 * i, 2 * i + 1])
        for j in range(3):
            block = [distance[2 * i + r, 2 * j + s] for r in range(2) for s in range(2)]
            assert found.others[i, j] == pytest.approx(np.mean(block) if i != j else 0)
            less = (found.within[i] + found.within[j]) / 2
            assert found.expected[i, j] == pytest.approx(np.mean(block) - less if i != j else 0)


def test_one_image_a_grid_changes_nothing() -> None:
    distance = squared(np.random.default_rng(1).normal(size=(2, 6, 3)))
    found = crossed.rendered(distance, 1)
    assert (found.expected == distance).all()
    assert (found.others == distance).all()
    assert (found.within == 0).all()


def test_components_are_unbiased() -> None:
    """2,000 prompts of known variances; without the correction `interaction` would hold a third of R."""
    distance = images(np.random.default_rng(2), 2000, TRUTH)
    variance = crossed_components(distance, A, B, R)
    for name, value in TRUTH.items():
        found = variance.sel(component=name, condition="free")
        error = float(found.std("prompt")) / np.sqrt(found.sizes["prompt"])
        assert abs(float(found.mean()) - value) < 4 * error, name
    shares = sobol_shares(variance, Resampling(n_resamples=200))["estimate"].squeeze()
    whole = sum(TRUTH.values())
    for name, value in TRUTH.items():
        assert float(shares.sel(share=name)) == pytest.approx(value / whole, abs=0.03)


def test_pairs_of_one_grid_differ_by_the_rendering_alone() -> None:
    distance = images(np.random.default_rng(3), 2000, TRUTH)
    means = pair_means(distance, A, B, R).mean("prompt").squeeze()
    p, e, pe, r = TRUTH.values()
    assert float(means["tokens_shared"]) == pytest.approx(2 * r, rel=0.05)
    assert float(means["neither"]) == pytest.approx(2 * (p + e + pe + r), rel=0.05)
    assert float(means["path_shared"]) == pytest.approx(2 * (e + pe + r), rel=0.05)
    assert float(means["execution_shared"]) == pytest.approx(2 * (p + pe + r), rel=0.05)


def test_a_decoder_that_draws_nothing_has_no_share() -> None:
    still = images(np.random.default_rng(4), 20, {**TRUTH, "rendering": 0.0})
    variance = crossed_components(still, A, B, R)
    assert_allclose(variance.sel(component="rendering"), 0, atol=1e-12)
    grids = still[..., ::R, ::R]
    once = crossed_components(grids, A, B)
    assert_allclose(variance.sel(component=list(once["component"].values)), once, atol=1e-9)
