"""Intervals, tests and equivalence of skewed, tied and mostly zero per-prompt values."""

from __future__ import annotations

import numpy as np
import pytest

from ibstats.kernels import factorial
from ibstats.kernels.resampling import MeanBootstrap, default_method
from ibstats.statistics import significance
from tests.verification.designs import LAWS, values

pytestmark = pytest.mark.slow

BATCH = 100
"""Studies that share their resamples."""


@pytest.mark.parametrize(
    ("n_prompts", "least"), [(5, 0.87), (12, 0.84), (24, 0.88), (50, 0.91), (200, 0.915)]
)
def test_default_intervals_of_every_law_cover(n_prompts: int, least: float) -> None:
    rng = np.random.default_rng(n_prompts)
    said = []
    for law, mean in LAWS.items():
        covered, fallen = [], []
        for _ in range(20 if n_prompts < 200 else 8):
            x = values(law, (n_prompts, BATCH), rng)
            means = MeanBootstrap(x, default_method(n_prompts), 1000, rng)
            low, high = means.interval(0.95)
            assert np.isfinite(low).all()
            covered.append(((low <= mean) & (mean <= high))[~means.constant])
            fallen.append(means.fallen)
        coverage = np.concatenate(covered).mean()
        said.append(f"{law} {coverage:.3f} (t {np.concatenate(fallen).mean():.0%})")
        assert coverage >= least, law
    print(f"\n{n_prompts} prompts: {'; '.join(said)}")


@pytest.mark.parametrize("law", ["normal", "lognormal 1", "gamma"])
@pytest.mark.parametrize("n_prompts", [12, 24, 50, 200])
def test_false_equivalence_at_the_margin(law: str, n_prompts: int) -> None:
    """The truth lies at a margin of 3 standard deviations, on the side of the long tail."""
    rng = np.random.default_rng(n_prompts)
    sd = {"normal": 1.0, "lognormal 1": np.sqrt((np.e - 1) * np.e), "gamma": np.sqrt(0.5)}[law]
    wrong = []
    for _ in range(10):
        x = values(law, (n_prompts, BATCH), rng) - LAWS[law] + 3 * sd
        method = default_method(n_prompts)
        means = MeanBootstrap(x, method, 1000, rng)
        p = np.maximum(means.p_above(-3 * sd), means.p_below(3 * sd))
        wrong.append(p < 0.05)
    rate = np.mean(wrong)
    print(f"\n{law}, {n_prompts} prompts: false equivalence {rate:.3f}")
    assert rate <= (0.07 if law == "normal" else 0.17)


@pytest.mark.parametrize("n_prompts", [6, 12, 24, 50])
def test_family_error_where_four_cells_never_vary(n_prompts: int) -> None:
    """Four cells are 1, four Gamma(1) x Gamma(4, .25): p of the bootstrap, adjusted by Holm."""
    rng = np.random.default_rng(n_prompts)
    false = 0
    for _ in range(1500):
        cells = np.ones((n_prompts, 2, 2, 2))
        shared = rng.gamma(1, 1, (n_prompts, 1, 1))
        cells[:, 1] = shared * rng.gamma(4, 0.25, (n_prompts, 2, 2))
        contrasts = factorial.contrasts(cells)
        method = default_method(n_prompts)
        p = MeanBootstrap(contrasts, method, 999, rng).p()
        false += significance.adjust(p).min() < 0.05
    print(f"\n{n_prompts} prompts: family error by Holm {false / 1500:.3f}")
    assert false / 1500 <= 0.06
