"""Does a study planned from a pilot have the power promised?"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ibstats.kernels.pairs import distance_matrix
from ibstats.statistics import power

pytestmark = pytest.mark.slow

FACTORS = ("sampling", "prompt_type", "codebook")
IMAGES = 6


def pilot(n_prompts: int, rng: np.random.Generator) -> xr.DataArray:
    """8-dimensional normal embeddings, prompt scale lognormal(0, .4), full codebook 1.15 + .175 z."""
    scale = rng.lognormal(0, 0.4, (n_prompts, 1, 1, 1))
    codebook = np.ones((n_prompts, 1, 1, 2))
    codebook[..., 1] = 1.15 + 0.175 * rng.normal(size=(n_prompts, 1, 1))
    size = np.broadcast_to(np.sqrt(scale * np.maximum(codebook, 0.05)), (n_prompts, 2, 2, 2))
    images = size[..., None, None] * rng.normal(size=(n_prompts, 2, 2, 2, IMAGES, 8))
    distance = distance_matrix(images) / 16
    return xr.DataArray(distance, dims=("prompt", *FACTORS, "sample", "sample_other"))


def test_eighty_percent_of_pilots_reach_the_power_promised() -> None:
    rng = np.random.default_rng(0)
    large = power.components(pilot(4000, rng), "codebook")
    variance = large.variance(IMAGES)
    size = 0.5 * np.sqrt(variance)
    prompts = tuple(range(10, 400, 5))
    for n_prompts in (4, 6, 10, 24):
        reached, planned = [], []
        for _ in range(200):
            found = power.components(pilot(n_prompts, rng), "codebook")
            table = power.table(found, effect_size=size, n_prompts=prompts, n_images=[IMAGES])
            needed = power.needed(table)[0]
            n = prompts[-1] if np.isnan(needed) else int(needed)
            planned.append(n)
            reached.append(power.power_of_t(size, variance, n, 0.05 / 7) >= 0.8)
        span = np.percentile(planned, [10, 50, 90])
        print(f"\npilot of {n_prompts}: N {span}, power reached in {np.mean(reached):.2f}")
        assert np.mean(reached) >= 0.75
