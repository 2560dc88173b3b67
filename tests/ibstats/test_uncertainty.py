"""Labelled intervals, their p values and equivalence, and agreement by chance."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from ibstats.errors import IbstatsError
from ibstats.statistics import stacking, uncertainty
from ibstats.statistics.uncertainty import Resampling, mean_interval, mean_p

HOW = Resampling(n_resamples=400)


def prompts(*columns: list[float] | np.ndarray) -> xr.DataArray:
    return xr.DataArray(np.column_stack(columns), dims=("prompt", "condition"))


def test_the_method_of_each_interval_is_named() -> None:
    rng = np.random.default_rng(0)
    ties = [0.75, 0.75, 0.75, 0.75, 0.75, 1.0]
    found = mean_interval(prompts(rng.normal(size=6), ties, np.ones(6)), HOW)
    assert found["method"].values.tolist() == ["guarded", "hall", "guarded"]
    assert found["degenerate"].values.tolist() == [False, False, True]
    assert found.attrs["method"] == "guarded"
    assert bool(np.isfinite(found[["low", "high"]].to_array()).all())


def test_prompts_that_agree_by_chance_leave_room_for_others() -> None:
    """6 alike prompts: up to 1 - .05^(1/6) = .393 of all may differ."""
    found = mean_interval(prompts(np.ones(6), np.full(6, 0.5)), HOW, chance=(0.0, 1.0))
    assert_allclose(found["low"], [1 - 0.3930, 0.5 - 0.3930 / 2], atol=1e-4)
    assert_allclose(found["high"], [1.0, 0.5 + 0.3930 / 2], atol=1e-4)
    assert not bool(found["degenerate"].any())
    assert set(found["method"].values.tolist()) == {"agreement"}


def test_only_quantities_of_few_steps_agree_by_chance() -> None:
    values = prompts(np.ones(6), np.ones(6)).assign_coords(condition=["a", "b"])
    both = {"reference_accuracy": values, "pixel_cosine_distance": values}
    found = stacking.means(xr.Dataset(both), HOW)
    assert float(found["low"].sel(quantity="reference_accuracy")[0]) == pytest.approx(
        0.607, abs=1e-3
    )
    assert float(found["low"].sel(quantity="pixel_cosine_distance")[0]) == 1.0
    assert found["degenerate"].sel(quantity="pixel_cosine_distance").all()


def test_p_values_are_those_of_the_intervals() -> None:
    x = prompts(*np.random.default_rng(0).normal(0.5, 1, (40, 14)))
    found, p = mean_interval(x, HOW), mean_p(x, HOW)
    excluded = (found["low"] > 0) | (found["high"] < 0)
    assert (excluded == (p < 0.05)).all()
    assert 0 < int(excluded.sum()) < 40


def test_equivalence_is_the_ninety_percent_interval_inside_the_margin() -> None:
    rng = np.random.default_rng(0)
    for x in rng.normal(0.2, 1, (20, 30)):
        how = Resampling(n_resamples=400, level=0.9)
        found = mean_interval(prompts(x), how)
        inside = bool((found["low"] > -0.5) & (found["high"] < 0.5))
        assert uncertainty.equivalence(x, 0.5, HOW).verdict == (
            "equivalent" if inside else "inconclusive"
        )
    assert uncertainty.equivalence(np.zeros(9), 0.5, HOW).verdict == "degenerate"
    with pytest.raises(IbstatsError, match="margin is 0, but must be above 0"):
        uncertainty.equivalence(x, 0, HOW)


def test_one_prompt_has_no_interval() -> None:
    with pytest.raises(IbstatsError, match="1 prompt is not enough for an interval"):
        mean_interval(prompts(np.ones(1)), HOW)
