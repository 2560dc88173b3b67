"""Intervals of what is left of the diversity where images share one noise."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ibstats.kernels.crossed import pairs
from ibstats.kernels.ratios import ratio_interval
from ibstats.kernels.resampling import resampling_weights
from ibstats.statistics.pair_distances import pair_shares
from ibstats.statistics.uncertainty import Resampling

pytestmark = pytest.mark.slow

N_PROMPTS, N_NOISES, N_DIMENSIONS = 12, 3, 6


@pytest.mark.parametrize("scale", [0.25, 0.5])
@pytest.mark.parametrize(
    ("path", "execution", "both"), [(1.0, 1.0, 1.0), (0.1, 0.1, 1.0), (1.0, 0.3, 0.3)]
)
def test_intervals_of_shares_cover(
    path: float, execution: float, both: float, scale: float
) -> None:
    """Embeddings P_i + E_j + X_ij, normal, with these standard deviations, by exp(scale Z) a prompt."""
    rng = np.random.default_rng(0)
    whole = path**2 + execution**2 + both**2
    truth = np.array([execution**2 + both**2, path**2 + both**2]) / whole
    covered = []
    for _ in range(1500):
        shape = (N_PROMPTS, N_NOISES, N_NOISES, N_DIMENSIONS)
        one, other = (N_PROMPTS, N_NOISES, 1, N_DIMENSIONS), (N_PROMPTS, 1, N_NOISES, N_DIMENSIONS)
        phi = path * rng.normal(size=one) + execution * rng.normal(size=other)
        phi = phi + both * rng.normal(size=shape)
        phi *= np.exp(scale * rng.normal(size=(N_PROMPTS, 1, 1, 1)))
        flat = phi.reshape(N_PROMPTS, -1, N_DIMENSIONS)
        distance = ((flat[:, :, None] - flat[:, None]) ** 2).sum(axis=-1)
        found = pairs(distance, N_NOISES, N_NOISES)
        weights = resampling_weights(N_PROMPTS, 999, rng)
        within = []
        for top, share in zip((found.path_shared, found.execution_shared), truth, strict=True):
            made = ratio_interval([(top, found.neither)], 0.95, weights)
            within.append(made.low <= share <= made.high)
        covered.append(within)
    coverage = np.mean(covered, axis=0)
    print(
        f"\n{path}, {execution}, {both}: path shared {coverage[0]:.3f}, execution {coverage[1]:.3f}"
    )
    assert (coverage >= 0.91).all()


def squared(phi: np.ndarray) -> np.ndarray:
    """Distances of the images of each prompt, by their embeddings (prompt, image, dimension)."""
    return np.asarray(((phi[:, :, None] - phi[:, None]) ** 2).sum(axis=-1))


def mean_of_pairs(distance: np.ndarray) -> np.ndarray:
    """Mean distance of two images of each prompt."""
    n = distance.shape[-1]
    return np.asarray(distance.sum(axis=(1, 2)) / (n * (n - 1)))


@pytest.mark.parametrize("scale", [0.25, 0.5])
@pytest.mark.parametrize(("n_prompts", "n_noises"), [(12, 3), (24, 4)])
def test_intervals_of_the_distance_and_of_the_redundancy_cover(
    n_prompts: int, n_noises: int, scale: float
) -> None:
    """The same, with ten images of a factorial, and ten of argmax, which keep half of the paths' spread.

    Noise is equal in the three parts. D_0 is in the unit of the distance, a mean of values whose log
    has a standard deviation of twice the scale; argmax is a share of that of the factorial.
    """
    rng = np.random.default_rng(n_prompts)
    n_images = 10
    whole = 2 * 3 * N_DIMENSIONS * np.exp(2 * scale**2)
    argmax = 2 * 0.5 * N_DIMENSIONS * np.exp(2 * scale**2)
    truth = {"neither": whole, "path_shared": 2 / 3, "execution_shared": 2 / 3}
    truth |= {"argmax": argmax / whole, "redundancy": 2 / 3 + argmax / whole - 1}
    covered: dict[str, list[bool]] = {name: [] for name in truth}
    prompts = [f"p{number}" for number in range(n_prompts)]
    for _ in range(500):
        size = np.exp(scale * rng.normal(size=(n_prompts, 1, 1)))
        one = rng.normal(size=(n_prompts, n_noises, 1, N_DIMENSIONS))
        other = rng.normal(size=(n_prompts, 1, n_noises, N_DIMENSIONS))
        phi = one + other + rng.normal(size=(n_prompts, n_noises, n_noises, N_DIMENSIONS))
        found = pairs(squared(size * phi.reshape(n_prompts, -1, N_DIMENSIONS)), n_noises, n_noises)
        free = 3**0.5 * rng.normal(size=(n_prompts, n_images, N_DIMENSIONS))
        modes = 0.5**0.5 * rng.normal(size=(n_prompts, n_images, N_DIMENSIONS))
        crossed = {name: ("prompt", mean) for name, mean in found._asdict().items()}
        left = {
            "left": ("prompt", mean_of_pairs(squared(size * modes))),
            "whole": ("prompt", mean_of_pairs(squared(size * free))),
        }
        made = pair_shares(
            xr.Dataset(crossed, {"prompt": prompts}),
            xr.Dataset(left, {"prompt": prompts}),
            Resampling(n_resamples=400),
        )
        for name, value in truth.items():
            part = made.sel(part=name)
            covered[name].append(bool(part["low"] <= value <= part["high"]))
    said = ", ".join(f"{name} {np.mean(of):.3f}" for name, of in covered.items())
    print(f"\n{n_prompts} prompts, {n_noises} x {n_noises}, s = {scale}: {said}")
    for name, of in covered.items():
        slack = 2 * np.sqrt(0.91 * 0.09 / len(of))
        assert 0.91 - slack <= np.mean(of) <= 0.98 + slack / 2, name
