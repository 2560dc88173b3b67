"""Variance components from distances against sums of squares of the embedding itself."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from ibstats.kernels.crossed import crossed, grouped, pairs, ratio_values


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


def law(rng: np.random.Generator) -> np.ndarray:
    """Vectors `(path, execution, dimension)` of a small law; both draws are uniform."""
    return rng.normal(size=(3, 1, 2)) + rng.normal(size=(1, 4, 2)) + rng.normal(size=(3, 4, 2))


def enumerated(f: np.ndarray) -> tuple[float, float, float]:
    """Mean squared distances of two draws that share nothing, the path, the execution."""
    neither, path, execution = [], [], []
    n, m = f.shape[:2]
    for u, v, u2, v2 in product(range(n), range(m), range(n), range(m)):
        neither.append(((f[u, v] - f[u2, v2]) ** 2).sum())
        path.append(((f[u, v] - f[u, v2]) ** 2).sum())
        execution.append(((f[u, v] - f[u2, v]) ** 2).sum())
    return float(np.mean(neither)), float(np.mean(path)), float(np.mean(execution))


def test_pair_distances_are_total_indices_of_the_other_noise() -> None:
    f = law(np.random.default_rng(2))
    neither, path, execution = enumerated(f)
    rows, cols, whole = f.mean(axis=1), f.mean(axis=0), f.mean(axis=(0, 1))
    of_path = ((rows - whole) ** 2).sum(axis=-1).mean()
    of_execution = ((cols - whole) ** 2).sum(axis=-1).mean()
    both = ((f - rows[:, None] - cols[None] + whole) ** 2).sum(axis=-1).mean()
    assert path == pytest.approx(2 * (of_execution + both), rel=1e-12)
    assert execution == pytest.approx(2 * (of_path + both), rel=1e-12)
    assert neither == pytest.approx(2 * (of_path + of_execution + both), rel=1e-12)


def test_pair_distances_of_all_draws_average_to_those_of_the_law() -> None:
    f = law(np.random.default_rng(3))
    n, m = f.shape[:2]
    found = []
    for u, u2, v, v2 in product(range(n), range(n), range(m), range(m)):
        drawn = f[[u, u, u2, u2], [v, v2, v, v2]]
        found.append(pairs(squared_distances(drawn), 2, 2))
    assert np.mean(found, axis=0) == pytest.approx(enumerated(f), rel=1e-12)


def test_pair_distances_of_any_distance_are_means_over_their_pairs() -> None:
    rng = np.random.default_rng(4)
    half = np.triu(rng.uniform(size=(6, 6)), 1)
    distance = half + half.T
    found = pairs(distance, 2, 3)
    means: dict[tuple[bool, bool], list[float]] = {}
    for s, other in product(range(6), range(6)):
        if s != other:
            shared = (s // 3 == other // 3, s % 3 == other % 3)
            means.setdefault(shared, []).append(distance[s, other])
    assert found.neither == pytest.approx(np.mean(means[False, False]))
    assert found.path_shared == pytest.approx(np.mean(means[True, False]))
    assert found.execution_shared == pytest.approx(np.mean(means[False, True]))


def test_a_noise_that_does_nothing_leaves_all_of_the_diversity_exactly() -> None:
    of_execution = np.random.default_rng(5).normal(size=(7, 3, 4))
    phi = np.repeat(of_execution[:, None], 3, axis=1).reshape(7, 9, 4)
    found = pairs(squared_distances(phi), 3, 3)
    assert (found.path_shared == found.neither).all()
    assert (found.execution_shared == 0).all()
