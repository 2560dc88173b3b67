"""Shannon entropies in simulated studies: what the jackknives reach, and when they must not be used."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ibstats.kernels.resampling import MeanBootstrap
from ibstats.statistics import information, rarefaction, significance, unseen
from tests.verification.designs import DesignD

pytestmark = pytest.mark.slow

PARTS = ("per_prompt", "half", "unseen")


def study(design: DesignD, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """Everything of one study, per prompt."""
    made = information.measure(design.tokens(rng), design.n_codes, PARTS)
    return {name: found.isel(condition=0) for name, found in made.items()}


@pytest.mark.parametrize(
    ("design", "most_bias", "least_coverage"),
    [
        (DesignD(80, 80, 24, 10), 0.02, 0.90),
        (DesignD(60, 40, 24, 10), 0.03, 0.88),
        (DesignD(60, 40, 24, 4), 0.10, 0.65),
    ],
    ids=str,
)
def test_conditional_entropy_jackknifed_over_images(
    design: DesignD, most_bias: float, least_coverage: float
) -> None:
    rng = np.random.default_rng(1)
    error, covered = [], []
    for _ in range(150):
        values = study(design, rng)["per_prompt"]["conditional_entropy"].values - design.conditional
        error.append(values.mean())
        covered.append(significance.t_test(values).p[0] >= 0.05)
    print(f"\n{design}: bias {np.mean(error):+.3f} bit, coverage {np.mean(covered):.2f}")
    assert abs(np.mean(error)) <= most_bias
    assert np.mean(covered) >= least_coverage


EFFECTS = {
    "I = 0, b 160 against 40, 24 x 10": (DesignD(None, 160, 24, 10), DesignD(None, 40, 24, 10)),
    "a = 60, b 160 against 40, 24 x 10": (DesignD(60, 160, 24, 10), DesignD(60, 40, 24, 10)),
    "I = 0, 256 codes against 64, 24 x 4": (
        DesignD(None, None, 24, 4),
        DesignD(None, None, 24, 4, first=64),
    ),
    "nothing differs, 24 x 10": (DesignD(60, None, 24, 10), DesignD(60, None, 24, 10)),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_on_information_that_does_not_settle_gets_no_p_value(name: str) -> None:
    """Rule (c): false positives left are few, whatever they were before."""
    first, second = EFFECTS[name]
    rng = np.random.default_rng(2)
    before, left, moving = [], [], []
    for _ in range(100):
        both = [study(design, rng) for design in (first, second)]
        tables = []
        for part in ("per_prompt", "half"):
            one, other = (made[part]["mutual_information"].values for made in both)
            tables.append(effect(one - other))
        settled = rarefaction.withhold(*tables)
        before.append(float(tables[0]["p"][0]) < 0.05)
        left.append(float(settled["p"][0]) < 0.05)
        moving.append(not bool(settled["settled"][0]))
    print(
        f"\n{name}: p < .05 in {np.mean(before):.2f}, not settled {np.mean(moving):.2f}, "
        f"left {np.mean(left):.2f}"
    )
    assert np.mean(left) <= 0.07 + 2 * np.sqrt(0.07 * 0.93 / 100)


def effect(values: np.ndarray) -> xr.Dataset:
    """Estimate with its t interval and p."""
    test = significance.t_test(values)
    mean = values.mean()
    half = abs(mean / test.t[0]) * 2.069
    columns = {"estimate": mean, "low": mean - half, "high": mean + half, "p": test.p[0]}
    return xr.Dataset({name: ("effect", [value]) for name, value in columns.items()})


@pytest.mark.parametrize("a", [60, 300])
@pytest.mark.parametrize("n_prompts", [12, 24, 50])
def test_unseen_mass_by_prompt_is_near_the_truth(a: float, n_prompts: int) -> None:
    """K = 4096, 256 tokens an image: codes with no token so far, weighted by the base law."""
    design = DesignD(a, None, n_prompts, 10, n_codes=4096, n_tokens=256)
    rng = np.random.default_rng(n_prompts)
    found, true = [], []
    for _ in range(20):
        tokens = design.tokens(rng)
        found.append(float(unseen.per_prompt(tokens, 4096)["unseen_by_prompt"].mean()))
        missing = np.bincount(tokens.values.ravel(), minlength=4096) == 0
        true.append(design.law[missing].sum())
    print(f"\na = {a}, {n_prompts} prompts: U {np.mean(found):.3f}, truth {np.mean(true):.3f}")
    assert abs(np.mean(found) - np.mean(true)) <= 0.03


@pytest.mark.parametrize(("a", "n_prompts"), [(60, 24), (60, 50), (300, 24), (300, 50), (3000, 50)])
def test_an_entropy_that_is_not_greyed_out_covers(a: float, n_prompts: int) -> None:
    """H(Z), K = 4096, 256 tokens, 10 images: its interval covers where U is small, else it is grey."""
    design = DesignD(a, None, n_prompts, 10, n_codes=4096, n_tokens=256)
    rng = np.random.default_rng(n_prompts)
    error, covered, weak = [], [], []
    for _ in range(40):
        found = study(design, rng)
        values = found["per_prompt"]["codebook_entropy"].values - design.entropy
        low, high = MeanBootstrap(values[:, None], "guarded", 400, rng).interval(0.95)
        error.append(values.mean())
        covered.append(low[0] <= 0 <= high[0])
        weak.append(float(found["unseen"]["unseen_by_prompt"].mean()) > unseen.MOST_UNSEEN)
    print(
        f"\nK = 4096, a = {a}, {n_prompts} prompts: H(Z) off by {np.mean(error):+.3f} bit, covered "
        f"in {np.mean(covered):.2f}, greyed out in {np.mean(weak):.2f}"
    )
    seen = ~np.array(weak)
    if seen.sum() >= 20:
        assert np.array(covered)[seen].mean() >= 0.80
