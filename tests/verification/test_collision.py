"""Collision entropies in simulated studies: unbiased at any number of images, right when I = 0."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ibstats.kernels.resampling import MeanBootstrap
from ibstats.statistics import collision, significance
from tests.verification.designs import DIMS, DesignD

pytestmark = pytest.mark.slow


def pseudo(design: DesignD, rng: np.random.Generator, name: str) -> np.ndarray:
    """Pseudo-values of one study, `(prompt,)`."""
    return collision.per_prompt(design.tokens(rng), design.n_codes)[name].values[0]


@pytest.mark.parametrize("n_images", [2, 4, 10])
def test_chances_are_unbiased_from_two_images_on(n_images: int) -> None:
    """a = 60, b = 40, n = 24: W and U within 3 standard errors of the truth."""
    design = DesignD(60, 40, 24, n_images)
    rng = np.random.default_rng(n_images)
    found = []
    for _ in range(2000 if n_images < 10 else 800):
        values = collision.per_prompt(design.tokens(rng), 256).mean("prompt")
        found.append([float(values[f"collision_{part}"][0]) for part in ("within", "between")])
    made = np.array(found) / [design.within, design.between] - 1
    bias, error = made.mean(axis=0), made.std(axis=0, ddof=1) / np.sqrt(len(made))
    print(
        f"\n{n_images} images: W {bias[0]:+.2%} (se {error[0]:.2%}), U {bias[1]:+.2%} ({error[1]:.2%})"
    )
    assert (np.abs(bias) < 3 * error).all()


def test_the_excess_is_zero_on_average_without_information() -> None:
    """I = 0, 6 prompts of 2 images, 9000 studies."""
    design = DesignD(None, 40, 6, 2)
    rng = np.random.default_rng(0)
    excess = np.array([pseudo(design, rng, "collision_excess").mean() for _ in range(9000)])
    error = excess.std(ddof=1) / np.sqrt(len(excess))
    print(f"\nW - U: {excess.mean():.1e}, se {error:.1e}")
    assert abs(excess.mean()) < 3 * error


@pytest.mark.parametrize("n_prompts", [12, 24, 50])
def test_the_test_of_no_information_keeps_its_level(n_prompts: int) -> None:
    design = DesignD(None, 40, n_prompts, 4)
    rng = np.random.default_rng(n_prompts)
    p = []
    for _ in range(1000):
        p.append(significance.t_test(pseudo(design, rng, "collision_excess")).p[0])
    rate = np.mean(np.array(p) < 0.05)
    print(f"\n{n_prompts} prompts: I = 0 refused in {rate:.3f}")
    assert 0.03 <= rate <= 0.07


CONTRASTS = {
    "I = 0, b 160 against 40, 12 x 10": (DesignD(None, 160, 12, 10), DesignD(None, 40, 12, 10)),
    "I = 0, b 160 against 40, 24 x 2": (DesignD(None, 160, 24, 2), DesignD(None, 40, 24, 2)),
    "I = 0, b 160 against 40, 24 x 4": (DesignD(None, 160, 24, 4), DesignD(None, 40, 24, 4)),
    "I = 0, b 160 against 40, 24 x 10": (DesignD(None, 160, 24, 10), DesignD(None, 40, 24, 10)),
    "I = 0, b 160 against 40, 50 x 10": (DesignD(None, 160, 50, 10), DesignD(None, 40, 50, 10)),
    "a = 60, b 160 against 40, 24 x 2": (DesignD(60, 160, 24, 2), DesignD(60, 40, 24, 2)),
    "a = 60, b 160 against 40, 24 x 4": (DesignD(60, 160, 24, 4), DesignD(60, 40, 24, 4)),
    "a = 60, b 160 against 40, 24 x 10": (DesignD(60, 160, 24, 10), DesignD(60, 40, 24, 10)),
    "I = 0, 256 codes against 64, 24 x 4": (
        DesignD(None, None, 24, 4),
        DesignD(None, None, 24, 4, first=64),
    ),
    "I = 0, 256 codes against 64, 50 x 10": (
        DesignD(None, None, 50, 10),
        DesignD(None, None, 50, 10, first=64),
    ),
}


@pytest.mark.parametrize("name", CONTRASTS)
def test_equal_information_is_found_different_in_five_percent(name: str) -> None:
    first, second = CONTRASTS[name]
    rng = np.random.default_rng(len(name))
    p = []
    for _ in range(600):
        change = [pseudo(one, rng, "collision_information") for one in (first, second)]
        p.append(significance.t_test(change[0] - change[1]).p[0])
    rate = np.mean(np.array(p) < 0.05)
    print(f"\n{name}: I2 found different in {rate:.3f}")
    assert 0.03 <= rate <= 0.07


@pytest.mark.parametrize("n_prompts", [24, 50])
def test_equal_entropy_of_a_large_codebook_is_found_different_seldom(n_prompts: int) -> None:
    """K = 4096, a = 60 against 300: the logarithm's bias differs, so a little more than 5 %."""
    rng = np.random.default_rng(n_prompts)
    p = []
    for _ in range(200):
        change = []
        for a in (60, 300):
            design = DesignD(a, None, n_prompts, 10, n_codes=4096, n_tokens=256)
            change.append(pseudo(design, rng, "collision_entropy"))
        p.append(significance.t_test(change[0] - change[1]).p[0])
    rate = np.mean(np.array(p) < 0.05)
    print(f"\nK = 4096, {n_prompts} prompts: H2(Z) found different in {rate:.3f}")
    assert rate <= 0.11


@pytest.mark.parametrize(
    "design",
    [
        DesignD(None, 40, 6, 10),
        DesignD(60, 40, 12, 4),
        DesignD(60, 40, 24, 2),
        DesignD(60, 40, 24, 10),
        DesignD(20, 40, 24, 4),
        DesignD(60, None, 50, 4),
    ],
    ids=str,
)
def test_intervals_of_information_cover(design: DesignD) -> None:
    truth = np.log2(design.within / design.between)
    rng = np.random.default_rng(7)
    t = []
    for _ in range(600):
        values = pseudo(design, rng, "collision_information") - truth
        t.append(significance.t_test(values).p[0])
    coverage = np.mean(np.array(t) >= 0.05)
    print(f"\n{design}: coverage of I2 {coverage:.3f}")
    assert 0.92 <= coverage <= 0.98


@pytest.mark.parametrize(("n_prompts", "n_images"), [(24, 4), (24, 10), (50, 10)])
def test_maps_of_positions_know_no_information_where_there_is_none(
    n_prompts: int, n_images: int
) -> None:
    """Tokens independent of prompt and position (H = 6.22): Shannon's I is 1.3-2.6 bits there."""
    design = DesignD(None, None, n_prompts, n_images, n_tokens=16)
    rng = np.random.default_rng(n_prompts + n_images)
    excess, found = [], []
    for _ in range(60):
        shuffled = rng.permuted(design.tokens(rng).values, axis=3)
        tokens = xr.DataArray(shuffled, dims=DIMS)
        values = collision.per_prompt(tokens, design.n_codes, at_positions=True)
        excess.append(float(values["collision_excess"].mean()))
        found.append(float(values["collision_information"].mean()))
    error = np.std(excess, ddof=1) / np.sqrt(len(excess))
    spread = np.std(found, ddof=1) / np.sqrt(len(found))
    print(
        f"\n{n_prompts} x {n_images}: at a position W - U {np.mean(excess):+.1e} (se {error:.0e}), "
        f"I2 {np.mean(found):+.4f} (se {spread:.4f})"
    )
    assert abs(np.mean(excess)) < 3 * error
    assert abs(np.mean(found)) < 3 * spread


@pytest.mark.parametrize("n_prompts", [12, 24, 50])
def test_no_change_of_a_mean_of_tokens_alike_inside_images_is_found(n_prompts: int) -> None:
    """H2(Z), H2(Z|X) and I2 of two draws of one design, b = 40: .05 or fewer, by guarded p."""
    design = DesignD(60, 40, n_prompts, 4)
    rng = np.random.default_rng(n_prompts)
    names = ("collision_entropy", "collision_conditional", "collision_information")
    changes: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for _ in range(300):
        both = [collision.per_prompt(design.tokens(rng), design.n_codes) for _ in range(2)]
        for name, found in changes.items():
            found.append((both[0][name] - both[1][name]).values[0])
    said = []
    for name, columns in changes.items():
        p = MeanBootstrap(np.stack(columns, axis=1), "guarded", 1000, rng).p()
        rate = np.mean(p < 0.05)
        said.append(f"{name} {rate:.3f}")
        assert rate <= 0.07, name
    print(f"\n{n_prompts} prompts: {'; '.join(said)}")
