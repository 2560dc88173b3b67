"""Bounds on the log of a mean weight: exact where weights are equal, ordered otherwise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ibstats.kernels import sandwich


def test_equal_weights_give_their_log_whatever_the_number() -> None:
    for k in (1, 2, 5):
        assert sandwich.below(np.full((3, 5), -40.0), k) == pytest.approx(-40.0)
        assert sandwich.above(np.full(3, -40.0), np.full((3, 5), -40.0), k) == pytest.approx(-40.0)


def test_groups_are_averaged_as_written_down() -> None:
    w = np.array([1.0, 3.0, -2.0, 0.0])
    assert sandwich.below(w, 2) == pytest.approx(
        (np.log2(5) + np.log2(5 / 8)) / 2
    )  # (2 + 8) / 2, (1/4 + 1) / 2
    assert sandwich.above(2.0, w, 3) == pytest.approx((np.log2(14 / 3) + np.log2(5.25 / 3)) / 2)


def test_more_paths_never_lower_the_bound_from_below_of_the_same_weights() -> None:
    w = np.random.default_rng(0).normal(0, 8, size=(50, 16))
    found = [sandwich.below(w, k) for k in (1, 2, 4, 8, 16)]
    assert all((later >= earlier - 1e-12).all() for earlier, later in itertools.pairwise(found))


def test_weights_far_beyond_floats_and_impossible_paths_are_handled() -> None:
    assert sandwich.log2_mean([-5000.0, -5000.0]) == pytest.approx(-5000.0)
    assert sandwich.log2_mean([-np.inf, 4000.0]) == pytest.approx(3999.0)
    assert sandwich.log2_mean([-np.inf, -np.inf]) == -np.inf
    assert np.isnan(sandwich.above(np.nan, np.zeros(3), 2))


def test_both_bounds_meet_the_truth_in_expectation() -> None:
    """Log-normal weights with mean one, and the same tilted by their own size for the path that made the tokens."""
    rng, sigma, n = np.random.default_rng(1), 1.2, 40_000
    w = rng.normal(-(sigma**2) / 2, sigma, size=(n, 16)) / np.log(2)
    own = rng.normal(sigma**2 / 2, sigma, size=n) / np.log(2)
    for k in (1, 4, 16):
        assert sandwich.below(w, k).mean() < 0.01
        assert sandwich.above(own, w, k).mean() > -0.01
    gap = [(sandwich.above(own, w, k) - sandwich.below(w, k)).mean() for k in (1, 4, 16)]
    assert gap == sorted(gap, reverse=True)
    assert gap[0] == pytest.approx(sigma**2 / np.log(2), rel=0.05)
