"""Profiles along the steps, and rank correlation, against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ibstats.errors import IbstatsError
from ibstats.statistics.profiles import commit_map, rank_correlation, step_profile
from ibstats.statistics.uncertainty import Resampling


def traced(*, ordered: bool = False) -> xr.Dataset:
    rng = np.random.default_rng(0)
    dims = ("condition", "prompt", "sample", "row", "col")
    shape = (2, 3, 4, 2, 2)
    data = {name: (dims, rng.random(shape)) for name in ("token_entropy", "token_surprisal")}
    if not ordered:
        data["token_step"] = (dims, rng.integers(0, 3, shape).astype(np.uint16))
        data["path_surprisal"] = (
            ("condition", "prompt", "sample", "step"),
            rng.random((2, 3, 4, 5)),
        )
    return xr.Dataset(data, coords={"condition": ["a", "b"]})


def test_profile_is_the_mean_over_tokens_of_each_step() -> None:
    dataset = traced()
    found, cell = step_profile(dataset, "b"), dataset.isel(condition=1)
    for step in range(3):
        chosen = cell["token_step"].values == step
        assert found["token_entropy"][step] == pytest.approx(
            cell["token_entropy"].values[chosen].mean()
        )
    assert np.isnan(found["token_entropy"][3:]).all()
    assert found["path_surprisal"].values == pytest.approx(
        cell["path_surprisal"].values.mean(axis=(0, 1))
    )


def test_raster_steps_are_positions() -> None:
    dataset = traced(ordered=True)
    expected = dataset["token_surprisal"].values[0].mean(axis=(0, 1)).ravel()
    assert step_profile(dataset, "a")["token_surprisal"].values == pytest.approx(expected)
    with pytest.raises(IbstatsError, match="order of this model is fixed"):
        commit_map(dataset, "a")


def test_commit_map_is_the_mean_step() -> None:
    dataset = traced()
    assert commit_map(dataset, "a").values == pytest.approx(
        dataset["token_step"].values[0].mean(axis=(0, 1))
    )


def test_rank_correlation_equals_spearman_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=30)
    y = x + rng.normal(size=30)
    found = rank_correlation(
        xr.DataArray(x, dims="prompt"), xr.DataArray(y, dims="prompt"), Resampling(n_resamples=500)
    )
    assert float(found["estimate"]) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert float(found["low"]) < float(found["estimate"]) < float(found["high"])


def test_rank_correlation_with_a_constant_is_undefined() -> None:
    x, y = xr.DataArray(np.arange(5.0), dims="prompt"), xr.DataArray(np.zeros(5), dims="prompt")
    assert np.isnan(rank_correlation(x, y, Resampling(n_resamples=10))["estimate"])
