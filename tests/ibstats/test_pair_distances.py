"""What is left of the diversity where images share one noise: ratios, intervals, and where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ibstats.statistics.pair_distances import PARTS, TOKENS, pair_means, pair_shares
from schemas.analysis import Resampling

HOW = Resampling(n_resamples=200)


def pairs(neither: list[float], path: list[float], execution: list[float]) -> xr.Dataset:
    names = [f"p{number}" for number in range(len(neither))]
    values = {"neither": neither, "path_shared": path, "execution_shared": execution}
    made = {name: ("prompt", np.array(value)) for name, value in values.items()}
    return xr.Dataset(made, coords={"prompt": names})


def argmax(left: list[float], whole: list[float], names: list[str]) -> xr.Dataset:
    made = {"left": ("prompt", np.array(left)), "whole": ("prompt", np.array(whole))}
    return xr.Dataset(made, coords={"prompt": names})


def test_shares_are_ratios_of_means_and_r_is_their_sum_less_one() -> None:
    found = pair_shares(
        pairs([1.0, 3.0, 2.0], [1.0, 2.0, 2.0], [0.5, 3.0, 2.0]),
        argmax([0.5, 2.0, 1.0], [1.0, 4.0, 2.0], ["p0", "p1", "p2"]),
        HOW,
    )
    assert list(found["part"].values) == [part for part in PARTS if part != TOKENS]
    path, execution, left = 5 / 6, 5.5 / 6, 3.5 / 7
    expected = [2.0, path, execution, left, path + left - 1]
    assert found["estimate"].values == pytest.approx(expected)
    assert (found["n_prompts"].values == 3).all()


def test_an_autoregressive_model_has_one_zero_zero_and_no_variation() -> None:
    whole = [1.0, 3.0, 2.0]
    found = pair_shares(
        pairs(whole, whole, [0.0] * 3), argmax([0.0] * 3, whole, ["p0", "p1", "p2"]), HOW
    )
    assert found["estimate"].values[1:].tolist() == [1, 0, 0, 0]
    assert found["degenerate"].values.tolist() == [False, True, True, True, True]


def test_r_is_of_the_prompts_that_both_experiments_have() -> None:
    crossed = pairs([1.0, 1.0], [1.0, 0.5], [1.0, 1.0])
    names = ["p0", "p1", "q"]
    found = pair_shares(crossed, argmax([1.0, 0.5, 9.0], [1.0, 1.0, 9.0], names), HOW)
    by = found.set_index({})["estimate"]
    assert float(by.sel(part="redundancy")) == pytest.approx(0.75 + 0.75 - 1)
    assert int(found["n_prompts"].sel(part="argmax")) == 3
    other = pair_shares(crossed, argmax([1.0, 1.0], [1.0, 1.0], ["q", "r"]), HOW)
    assert "redundancy" not in other["part"]


def test_no_share_goes_below_zero_and_none_is_cut_at_one() -> None:
    found = pair_shares(pairs([1.0, 1.0, 1.0], [0.0, 0.0, 0.3], [1.0, 1.2, 1.3]), None, HOW)
    assert float(found["low"].sel(part="path_shared")) == 0
    assert float(found["estimate"].sel(part="execution_shared")) == pytest.approx(3.5 / 3)


def test_where_nothing_varies_there_is_no_share() -> None:
    found = pair_shares(pairs([0.0, 0.0], [0.0, 0.0], [0.0, 0.0]), None, HOW)
    assert np.isnan(found["estimate"].values[1:]).all()


def test_means_keep_condition_and_prompt() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 6))
    distance = xr.DataArray(
        abs(x[..., :, None] - x[..., None, :]),
        dims=("condition", "prompt", "sample", "sample_other"),
        coords={"condition": ["a", "b"], "prompt": ["p", "q", "r"]},
    )
    found = pair_means(distance, 2, 3)
    assert found["path_shared"].dims == ("condition", "prompt")
    one = found["execution_shared"].sel(condition="b", prompt="r")
    values = x[1, 2]
    assert float(one) == pytest.approx(np.mean(abs(values[:3] - values[3:])))
