"""Intervals of recall and coverage, which leave prompts out in turn, against the spread of new studies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ibstats.kernels import neighbours
from ibstats.kernels.frechet import pseudo_values

N_STUDIES = 200
SAMPLES = 5


@pytest.mark.slow
@pytest.mark.parametrize("n_prompts", [16, 40])
def test_intervals_of_recall_and_coverage_hold_what_they_say(n_prompts: int) -> None:
    """They are wider than need be: leaving a prompt out moves neighbours of others too."""
    rng = np.random.default_rng(1)
    real = rng.normal(size=(150, 4))
    radius = neighbours.radii(real, 5)
    group = np.repeat(np.arange(n_prompts), SAMPLES)

    def study() -> list[tuple[float, float]]:
        """Value and half width of a 95 % interval: of recall, and of coverage."""
        centre = rng.normal(size=(n_prompts, 1, 4)) * 0.7
        made = (centre + rng.normal(size=(n_prompts, SAMPLES, 4)) * 0.6).reshape(-1, 4)
        found = []
        for left_out in (
            neighbours.recall_left_out(made, real, 3, group),
            neighbours.coverage_left_out(made, real, radius, group),
        ):
            error = pseudo_values(left_out).std(ddof=1) / np.sqrt(n_prompts)
            found.append((left_out.whole, stats.t.ppf(0.975, n_prompts - 1) * error))
        return found

    studies = np.array([study() for _ in range(N_STUDIES)])
    value, half = studies[..., 0], studies[..., 1]
    held = (abs(value - value.mean(axis=0)) <= half).mean(axis=0)
    assert (held >= 0.95).all(), held
