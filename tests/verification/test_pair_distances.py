"""Intervals of what is left of the diversity where images share one noise."""

from __future__ import annotations

import numpy as np
import pytest

from ibstats.kernels.crossed import pairs
from ibstats.kernels.ratios import ratio_interval
from ibstats.kernels.resampling import resampling_weights

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
