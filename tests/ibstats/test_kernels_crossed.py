"""Variance components from distances against sums of squares of the embedding itself."""

from __future__ import annotations

import numpy as np
import pytest

from ibstats.kernels.crossed import crossed, grouped, ratio_values


def squared_distances(points: np.ndarray) -> np.ndarray:
    return ((points[..., :, None, :] - points[..., None, :, :]) ** 2).sum(axis=-1)


def test_components_equal_the_two_way_mean_squares_of_the_embedding() -> None:
    rng = np.random.default_rng(0)
    a, b, d = 4, 3, 5
    phi = (
        rng.normal(size=(a, 1, d))
        + 2 * rng.normal(size=(1, b, d))
        + 0.5 * rng.normal(size=(a, b, d))
    )
    rows, cols, whole = phi.mean(axis=1), phi.mean(axis=0), phi.mean(axis=(0, 1))
    mean_p = b * ((rows - whole) ** 2).sum() / (a - 1)
    mean_e = a * ((cols - whole) ** 2).sum() / (b - 1)
    mean_pe = ((phi - rows[:, None] - cols[None] + whole) ** 2).sum() / ((a - 1) * (b - 1))
    found = crossed(squared_distances(phi.reshape(a * b, d)), a, b)
    assert found.path == pytest.approx((mean_p - mean_pe) / b)
    assert found.execution == pytest.approx((mean_e - mean_pe) / a)
    assert found.interaction == pytest.approx(mean_pe)


def test_components_are_unbiased() -> None:
    rng = np.random.default_rng(1)
    n, a, b, d = 4000, 3, 4, 2
    phi = (
        rng.normal(size=(n, a, 1, d))
        + 2 * rng.normal(size=(n, 1, b, d))
        + 0.5 * rng.normal(size=(n, a, b, d))
    )
    found = crossed(squared_distances(phi.reshape(n, a * b, d)), a, b)
    for component, variance in zip(found, (1.0, 4.0, 0.25), strict=True):
        error = component.std() / np.sqrt(n)
        assert abs(component.mean() - d * variance) < 4 * error


def test_identical_images_vary_in_nothing() -> None:
    assert all(value == 0 for value in crossed(np.zeros((6, 6)), 2, 3))


def test_groups_split_the_mean_over_pairs() -> None:
    rng = np.random.default_rng(2)
    distance, group = (
        squared_distances(rng.normal(size=(7, 10, 3))),
        np.tile(np.arange(10) % 5, (7, 1)),
    )
    found = grouped(distance, group)
    upper = np.triu_indices(10, 1)
    pooled = (5 * 1 * found.within + 10 * 4 * found.between) / 45
    assert pooled == pytest.approx(distance[:, upper[0], upper[1]].mean(axis=1))
    assert found.component == pytest.approx((found.between - found.within) / 2)
    assert np.isnan(grouped(distance[0], np.zeros(10)).between)


def test_ratio_values_average_to_the_ratio_of_means() -> None:
    x, y = np.array([1.0, 2.0, 6.0]), np.array([2.0, 3.0, 4.0])
    assert ratio_values(x, y).mean() == pytest.approx(1.0)
    assert np.isnan(ratio_values(x, np.zeros(3))).all()
