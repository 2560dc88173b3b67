"""How many prompts, and images per prompt, a study needs: from the variance components of a pilot.

The variance of one prompt's contrast is the spread between prompts, which more images cannot reduce, plus the sampling
variance of a mean over pairs, which falls with the images (Hoeffding). Images of a prompt count as exchangeable; in
paraphrase cells they are spread evenly over wordings, which makes the image part slightly too large: a safe error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError, unknown
from ibstats.kernels import factorial, pairs
from ibstats.kernels.factorial import FACTORS
from ibstats.kernels.variance import PairVariance, pair_variance
from ibstats.statistics.significance import noncentral_t_cdf
from ibstats.store import by_factor

PROMPTS = (10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000)
IMAGES = (2, 4, 6, 10, 20, 50)
DRAWS = 20_000
"""Simulated studies behind each power of an equivalence test."""


@dataclass(frozen=True)
class Components:
    """Variance of one prompt's contrast."""

    effect: str
    between: float
    """Between prompts, at infinitely many images; not below 0."""
    image: PairVariance
    """Of the mean over pairs, averaged over prompts."""

    def variance(self, n_images: int) -> float:
        """Variance of one prompt's contrast with that many images."""
        return self.between + float(self.image.at(n_images))


def components(distance: xr.DataArray, effect: str) -> Components:
    """Components of one effect from a pilot's distances `(condition, prompt, sample, sample_other)`."""
    names = factorial.names()
    if effect not in names:
        raise unknown("effect", effect, names)
    n_images, n_prompts = distance.sizes["sample"], distance.sizes["prompt"]
    if n_images < 4 or n_prompts < 3:
        raise IbstatsError(
            f"a pilot needs at least 4 images per prompt and 3 prompts, this one has {n_images} images per prompt and "
            f"{n_prompts} prompts"
        )
    weights = factorial.contrast_matrix(3)[:, names.index(effect)]
    cells = by_factor(distance).transpose("prompt", *FACTORS, "sample", "sample_other")
    kernel = np.einsum(
        "pcij,c->pij", cells.values.reshape(n_prompts, -1, n_images, n_images), weights
    )
    per_prompt = pair_variance(kernel)
    # a variance is not below 0, as its unbiased estimate may be: no power of 1 from a chance of the pilot
    image = PairVariance(*(np.maximum(part.mean(), 0.0) for part in per_prompt))
    total = float(pairs.mean_upper_triangle(kernel).var(ddof=1))
    return Components(effect, max(total - float(image.at(n_images)), 0.0), image)


def power_of_t(effect: float, variance: float, n_prompts: int, alpha: float = 0.05) -> float:
    """Probability that a two-sided t test over prompts finds a true effect of that size."""
    if variance <= 0:
        return 1.0 if effect else alpha
    df = n_prompts - 1
    shift = abs(effect) / np.sqrt(variance / n_prompts)
    critical = float(scipy.special.stdtrit(df, 1 - alpha / 2))
    if shift > critical + 20:
        return 1.0
    return 1 - noncentral_t_cdf(critical, df, shift) + noncentral_t_cdf(-critical, df, shift)


def power_of_equivalence(
    margin: float, variance: float, n_prompts: int, rng: np.random.Generator, alpha: float = 0.05
) -> float:
    """Probability that two one-sided t tests show equivalence when the true effect is zero, by simulation."""
    if variance <= 0:
        return 1.0
    df = n_prompts - 1
    mean = rng.normal(0, np.sqrt(variance / n_prompts), DRAWS)
    error = np.sqrt(variance * rng.chisquare(df, DRAWS) / df / n_prompts)
    return float(
        (margin - np.abs(mean) > float(scipy.special.stdtrit(df, 1 - alpha)) * error).mean()
    )


def table(
    pilot: Components,
    *,
    effect_size: float | None = None,
    margin: float | None = None,
    n_prompts: Sequence[int] = PROMPTS,
    n_images: Sequence[int] = IMAGES,
    alpha: float = 0.05,
    seed: int = 0,
) -> xr.Dataset:
    """Power over `(n_images, n_prompts)` to find `effect_size`, or to show equivalence within +-`margin`."""
    if (effect_size is None) == (margin is None):
        raise IbstatsError(
            "give either the smallest effect worth finding (--difference 0.05) or a margin within which to show "
            "equivalence (--equivalence 0.05), in units of the distance"
        )
    size = effect_size if effect_size is not None else margin
    if size is None or not size > 0:
        raise IbstatsError(f"the effect or margin is {size}, but must be above 0")
    power = np.empty((len(n_images), len(n_prompts)))
    for i, images in enumerate(n_images):
        for j, prompts in enumerate(n_prompts):
            variance = pilot.variance(images)
            if effect_size is not None:
                power[i, j] = power_of_t(size, variance, prompts, alpha)
            else:
                power[i, j] = power_of_equivalence(
                    size, variance, prompts, np.random.default_rng(seed), alpha
                )
    return xr.Dataset(
        {"power": (("n_images", "n_prompts"), power)},
        coords={"n_images": list(n_images), "n_prompts": list(n_prompts)},
        attrs={
            "effect": pilot.effect,
            "goal": "difference" if effect_size is not None else "equivalence",
            "size": size,
            "alpha": alpha,
            "between_prompts_variance": pilot.between,
            "zeta1": float(pilot.image.zeta1),
            "zeta2": float(pilot.image.zeta2),
        },
    )


def needed(power: xr.Dataset, target: float = 0.8) -> NDArray[np.float64]:
    """Fewest prompts of the table that reach the target, per number of images; NaN where none does."""
    reached = power["power"].transpose("n_images", "n_prompts").values >= target
    prompts = power["n_prompts"].values.astype(float)
    return np.where(reached.any(axis=1), prompts[reached.argmax(axis=1)], np.nan)
