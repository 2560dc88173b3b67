"""Does what the intervals and tests promise hold? Simulated studies with known truth; run with `-m slow`."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ibstats.kernels import entropy, factorial, resampling
from ibstats.statistics import information, significance

pytestmark = pytest.mark.slow


def diversities(
    n_prompts: int, n_images: int, n_studies: int, rng: np.random.Generator
) -> np.ndarray:
    """Per-prompt mean pairwise squared distances of normal embeddings, `(prompt, study)`; their mean is 1.

    Prompts differ in scale (lognormal, sd .3); given the scale, the mean over pairs of n points in d dimensions is
    chi-square with d (n - 1) degrees of freedom.
    """
    d = 8
    scale = rng.lognormal(-(0.3**2) / 2, 0.3, (n_prompts, n_studies))
    return scale * rng.chisquare(d * (n_images - 1), (n_prompts, n_studies)) / (d * (n_images - 1))


@pytest.mark.parametrize(("n_prompts", "n_images"), [(20, 4), (20, 10), (100, 4), (100, 10)])
def test_default_intervals_cover_93_to_97_percent(n_prompts: int, n_images: int) -> None:
    rng = np.random.default_rng(n_prompts + n_images)
    values = diversities(n_prompts, n_images, 4000, rng)
    method = resampling.default_method(n_prompts)
    covered = []
    for part in np.array_split(values, 8, axis=1):  # fresh resamples for each batch of studies
        low, high = resampling.bootstrap_mean(part, method, 2000, 0.95, rng)
        covered.append((low <= 1) & (high >= 1))
    coverage = np.concatenate(covered).mean()
    print(f"\n{method}, {n_prompts} prompts x {n_images} images: coverage {coverage:.3f}")
    assert 0.93 <= coverage <= 0.97


@pytest.mark.parametrize("n_prompts", [12, 24])
def test_family_wise_error_of_seven_effects_stays_below_6_percent(n_prompts: int) -> None:
    rng = np.random.default_rng(1)
    false = {"max_t": 0, "holm": 0}
    n_studies = 2000
    for _ in range(n_studies):
        y = rng.normal(size=(n_prompts, 1, 1, 1)) + rng.normal(size=(n_prompts, 2, 2, 2))
        values = factorial.contrasts(y)
        false["max_t"] += resampling.sign_flip(values, 999, rng)[1].min() < 0.05
        false["holm"] += significance.adjust(significance.t_test(values).p).min() < 0.05
    rates = {name: count / n_studies for name, count in false.items()}
    print(f"\n{n_prompts} prompts: {rates}")
    assert max(rates.values()) <= 0.06


@pytest.mark.parametrize("n_prompts", [20, 100])
def test_equivalence_errs_at_most_6_percent_at_the_margin(n_prompts: int) -> None:
    rng = np.random.default_rng(2)
    margin = 0.8
    wrong = [
        significance.equivalence(rng.normal(margin, 1, n_prompts), -margin, margin).verdict
        == "equivalent"
        for _ in range(4000)
    ]
    print(f"\n{n_prompts} prompts: false equivalence {np.mean(wrong):.3f}")
    assert np.mean(wrong) <= 0.06


@pytest.mark.parametrize("n_prompts", [24, 100])
def test_entropy_intervals_over_prompts_cover(n_prompts: int) -> None:
    """H(Z) of a mixture over prompts, each prompt with its own codes; jackknife values."""
    rng = np.random.default_rng(3)
    base = rng.dirichlet(np.full(64, 0.5))
    truth = -(base * np.log2(base)).sum()
    covered = []
    for _ in range(400):
        p = rng.dirichlet(30 * base, size=n_prompts)
        drawn = np.stack([np.repeat(np.arange(64), counts) for counts in rng.multinomial(640, p)])
        tokens = xr.DataArray(
            drawn[None, :, :, None, None], dims=("condition", "prompt", "sample", "row", "col")
        )
        values = information.per_prompt(tokens, 64)["codebook_entropy"][0].values
        low, high = resampling.bootstrap_mean(
            values, resampling.default_method(n_prompts), 1000, 0.95, rng
        )
        covered.append(low <= truth <= high)
    print(f"\nH(Z), {n_prompts} prompts: coverage {np.mean(covered):.3f}")
    assert 0.92 <= np.mean(covered) <= 0.98


# bias in bits for N = 0.1 K, K, 10 K at K = 16384, Zipf; the design's own table
BIAS = {
    "plugin": (-1.67, -0.55, -0.08),
    "miller_madow": (-1.31, -0.36, -0.02),
    "grassberger": (-0.90, -0.18, 0.00),
    "chao_shen": (-0.88, -0.06, 0.09),
    "chao_wang_jost": (-0.51, -0.09, 0.00),
    "nsb": (-0.56, 0.01, 0.07),
}


@pytest.mark.parametrize("estimator", BIAS)
def test_entropy_bias_is_as_the_design_says(estimator: str) -> None:
    K = 16384
    p = 1 / np.arange(1, K + 1)
    p /= p.sum()
    truth = -(p * np.log2(p)).sum()
    rng = np.random.default_rng(4)
    bias = []
    for n in (K // 10, K, 10 * K):
        counts = rng.multinomial(n, p, size=10)
        bias.append(entropy.estimate(counts, estimator, n_codes=K).mean() - truth)
    print(f"\n{estimator}: " + " ".join(f"{b:+.2f}" for b in bias))
    np.testing.assert_allclose(bias, BIAS[estimator], atol=0.06)
