"""Intervals, tests and equivalence of skewed, tied and mostly zero per-prompt values."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ibstats.kernels import factorial
from ibstats.kernels.resampling import MeanBootstrap, default_method
from ibstats.statistics import significance
from ibstats.statistics.uncertainty import Resampling, mean_interval
from tests.verification.designs import LAWS, values

pytestmark = pytest.mark.slow

BATCH = 100
"""Studies that share their resamples."""


@pytest.mark.parametrize(
    ("n_prompts", "least"), [(5, 0.90), (8, 0.90), (12, 0.92), (24, 0.92), (50, 0.92), (200, 0.92)]
)
def test_default_intervals_of_every_law_cover(n_prompts: int, least: float) -> None:
    """In brackets how often ties leave the bootstrap no bound. Few, tied values cover more."""
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
        said.append(f"{law} {coverage:.3f} ({np.concatenate(fallen).mean():.0%})")
        assert coverage >= least - 2 * np.sqrt(least * (1 - least) / (len(covered) * BATCH)), law
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
    assert rate <= {12: 0.15, 24: 0.13, 50: 0.10, 200: 0.09}[n_prompts]
    if law == "normal":
        assert rate <= 0.065


@pytest.mark.parametrize("n_prompts", [6, 12, 24, 50])
def test_no_difference_is_refused_in_seven_percent_at_most(n_prompts: int) -> None:
    """Two conditions of one law, independent or alike inside a prompt: mean difference 0."""
    rng = np.random.default_rng(n_prompts)
    said = []
    for law in LAWS:
        refused = []
        for _ in range(10):
            shared = values(law, (n_prompts, BATCH), rng)
            first, second = (values(law, (n_prompts, BATCH), rng) for _ in range(2))
            x = np.hstack([first - second, (shared + 1) * (first - second)])
            means = MeanBootstrap(x, default_method(n_prompts), 1000, rng)
            refused.append(means.p()[~means.constant] < 0.05)
        rate = np.concatenate(refused).mean()
        said.append(f"{law} {rate:.3f}")
        assert rate <= 0.07, law
    print(f"\n{n_prompts} prompts, no difference found: {'; '.join(said)}")


@pytest.mark.parametrize("n_prompts", [6, 12, 24])
def test_shares_that_agree_by_chance_leave_room(n_prompts: int) -> None:
    """Accuracy .95 of 4 images a prompt: all prompts right in many studies; the truth is covered."""
    rng = np.random.default_rng(n_prompts)
    covered, alike = [], []
    for _ in range(600):
        found = rng.binomial(4, 0.95, n_prompts) / 4
        one = xr.DataArray(found, dims="prompt")
        made = mean_interval(one, Resampling(n_resamples=400), chance=(0.0, 1.0))
        covered.append(float(made["low"]) <= 0.95 <= float(made["high"]))
        alike.append(np.ptp(found) == 0)
    print(f"\n{n_prompts} prompts: covered {np.mean(covered):.3f}, alike {np.mean(alike):.2f}")
    assert np.mean(covered) >= 0.92


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
