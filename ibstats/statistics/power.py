"""How many prompts, and images per prompt, a study needs: from the variance components of a pilot.

The variance of one prompt's contrast is the spread between prompts, which more images cannot
reduce, plus the sampling variance of a mean over pairs, which falls with the images (Hoeffding).
Images of a prompt count as exchangeable; in paraphrase cells they are spread evenly over wordings,
which makes the image part slightly too large: a safe error. A pilot of few prompts knows the
variance badly: planned with its estimate, half of all studies fall short. So the variance planned
with is the one that is not exceeded with some assurance, and the test is the one that the table of
results makes, adjusted for its family.
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
from ibstats.kernels.variance import PairVariance, pair_variance
from ibstats.statistics.significance import noncentral_t_cdf

PROMPTS = (10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000)
IMAGES = (2, 4, 6, 10, 20, 50)
FEWEST_IMAGES, FEWEST_PROMPTS = 4, 3
"""What a pilot needs: two pairs that share no image, and a spread between prompts."""
DRAWS = 20_000
"""Simulated studies behind each power of an equivalence test."""
ASSURANCE = 0.8
"""Share of pilots whose plan reaches the power promised."""
EXCESS = 2.7
"""Excess kurtosis of per-prompt contrasts: that of prompts that differ in scale by 40 %."""
ROUNDING = 1e-16
"""A probability that is 0 beside 1 in double precision."""


@dataclass(frozen=True)
class Components:
    """Variance of one prompt's contrast, in squares of the distance's unit.

    The part between prompts stays however many images there are; that of images shrinks.
    """

    effect: str
    between: float
    """Between prompts, at infinitely many images; not below 0."""
    image: PairVariance
    """Of the mean over pairs, averaged over prompts."""
    n_prompts: int = 0
    """Prompts of the pilot; 0: the variance is known."""
    n_tests: int = 1
    """Tests of the family that the effect is one of."""

    def variance(self, n_images: int, assurance: float = 0.5) -> float:
        """Variance of one prompt's contrast with that many images.

        The pilot's estimate (`assurance` .5), or what the true one exceeds in a share 1 -
        assurance of pilots: the upper chi-square bound, with the degrees of freedom that an
        estimated variance of values with heavy tails (`EXCESS`) is worth.

        >>> image = PairVariance(np.array(0.0), np.array(0.0))
        >>> round(Components("codebook", 1.0, image, n_prompts=6).variance(4, assurance=0.8), 2)
        3.73
        """
        found = self.between + float(self.image.at(n_images))
        n = self.n_prompts
        if n < FEWEST_PROMPTS or assurance <= 0.5:
            return found
        df = 2 / (EXCESS / n + 2 / (n - 1))
        return found * df / float(scipy.special.chdtri(df, assurance))


def components(cells: xr.DataArray, effect: str) -> Components:
    """Components of one effect from a pilot's distances, a cell of the 2^k design each.

    `cells (prompt, factor, ..., sample, sample_other)`, each factor's levels low then high, as
    `by_factor` of a design gives them; `effect` is a factor or several joined with ':'. Raises
    IbstatsError for another effect, fewer than 4 images or 3 prompts.
    """
    cells = cells.transpose("prompt", ..., "sample", "sample_other")
    factors = [str(dim) for dim in cells.dims[1:-2]]
    k = len(factors)
    names = factorial.names(k, factors)
    if effect not in names:
        raise unknown("effect", effect, names)
    n_images, n_prompts = cells.sizes["sample"], cells.sizes["prompt"]
    if n_images < FEWEST_IMAGES or n_prompts < FEWEST_PROMPTS:
        raise IbstatsError(
            f"a pilot needs at least {FEWEST_IMAGES} images per prompt and {FEWEST_PROMPTS} "
            f"prompts, this one has {n_images} images per prompt and {n_prompts} prompts"
        )
    weights = factorial.contrast_matrix(k)[:, names.index(effect)]
    values = cells.values.reshape(n_prompts, 2**k, n_images, n_images)
    kernel = np.einsum("pcij,c->pij", values, weights)
    zeta1, zeta2 = pair_variance(kernel)
    # a variance is not below 0, as its unbiased estimate may be: no power of 1 from a chance
    image = PairVariance(np.maximum(zeta1.mean(), 0.0), np.maximum(zeta2.mean(), 0.0))
    total = float(pairs.mean_upper_triangle(kernel).var(ddof=1))
    between = max(total - float(image.at(n_images)), 0.0)
    return Components(effect, between, image, n_prompts, len(names))


def power_of_t(effect: float, variance: float, n_prompts: int, alpha: float = 0.05) -> float:
    """Probability that a two-sided t test over prompts finds a true effect of that size.

    `variance` is that of one prompt's contrast; without any, 1 (or alpha where there is no effect).

    >>> round(power_of_t(0.5, variance=1.0, n_prompts=30), 3)
    0.754
    """
    if variance <= 0 and not effect:
        return alpha
    if variance <= 0:
        return 1.0
    df = n_prompts - 1
    shift = abs(effect) / np.sqrt(variance / n_prompts)
    critical = float(scipy.special.stdtrit(df, 1 - alpha / 2))
    if shift > _certain(critical, df):
        return 1.0
    return 1 - noncentral_t_cdf(critical, df, shift) + noncentral_t_cdf(-critical, df, shift)


def detectable(variance: float, n_prompts: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest true effect that a two-sided t test over prompts finds with that power.

    In the unit of the effect; `variance` is that of one prompt's contrast. 0 without any variance,
    NaN for fewer than two prompts or where the variance is.

    >>> round(detectable(1.0, n_prompts=34), 3)
    0.495
    """
    if n_prompts < 2 or np.isnan(variance):
        return float("nan")
    if variance <= 0:
        return 0.0

    def miss(effect: float) -> float:
        """How far the power is from the one wanted."""
        return power_of_t(effect, variance, n_prompts, alpha) - power

    error = float(np.sqrt(variance / n_prompts))
    df = n_prompts - 1
    most = _certain(float(scipy.special.stdtrit(df, 1 - alpha / 2)), df) * error
    return float(scipy.optimize.brentq(miss, 0.0, most, xtol=1e-12 * error))


def _certain(critical: float, df: int) -> float:
    """Standard errors of a true effect whose t passes the critical value in double precision.

    However large the estimated error, which with few degrees of freedom may be many times the true
    one, and however the mean falls.
    """
    largest = float(np.sqrt(scipy.special.chdtri(df, ROUNDING) / df))
    return critical * largest - float(scipy.special.ndtri(ROUNDING))


def power_of_equivalence(
    margin: float, variance: float, n_prompts: int, rng: np.random.Generator, alpha: float = 0.05
) -> float:
    """Probability that two one-sided t tests show equivalence when the true effect is zero.

    By 20,000 simulated studies; `variance` is that of one prompt's contrast, `margin` half the
    width of the margin around zero.

    >>> round(power_of_equivalence(0.5, 1.0, 50, np.random.default_rng(0)), 1)
    0.9
    """
    if variance <= 0:
        return 1.0
    df = n_prompts - 1
    mean = rng.normal(0, np.sqrt(variance / n_prompts), DRAWS)
    error = np.sqrt(variance * rng.chisquare(df, DRAWS) / df / n_prompts)
    room = margin - np.abs(mean)
    return float((room > float(scipy.special.stdtrit(df, 1 - alpha)) * error).mean())


def table(
    pilot: Components,
    *,
    effect_size: float | None = None,
    margin: float | None = None,
    n_prompts: Sequence[int] = PROMPTS,
    n_images: Sequence[int] = IMAGES,
    alpha: float = 0.05,
    assurance: float = ASSURANCE,
    seed: int = 0,
) -> xr.Dataset:
    """Power `(n_images, n_prompts)` to find an effect, or to show that there is none.

    Give one of `effect_size`, the smallest effect worth finding, and `margin`, within which to show
    equivalence; both in the unit of the distance. `power` is what a share `assurance` of pilots
    promises no more than the truth, `power_expected` what the pilot's own variance says. An effect
    is tested at alpha over the tests of its family, which Holm's adjustment asks of its smallest p;
    equivalence at alpha. Raises IbstatsError for none or both, and for one that is not above 0.

    >>> pilot = Components("codebook", 0.01, PairVariance(np.array(0.001), np.array(0.002)))
    >>> found = table(pilot, effect_size=0.1, n_prompts=[10, 20], n_images=[4])
    >>> found["power"].values.round(2)
    array([[0.77, 0.98]])
    """
    if (effect_size is None) == (margin is None):
        raise IbstatsError(
            "give either the smallest effect worth finding (--difference 0.05) or a margin within "
            "which to show equivalence (--equivalence 0.05), in units of the distance"
        )
    size = margin if effect_size is None else effect_size
    if size is None or not size > 0:
        raise IbstatsError(f"the effect or margin is {size}, but must be above 0")
    shape = (len(n_images), len(n_prompts))
    power, expected = np.empty(shape), np.empty(shape)
    for i, images in enumerate(n_images):
        for found, sure in ((power, assurance), (expected, 0.5)):
            variance = pilot.variance(images, sure)
            for j, prompts in enumerate(n_prompts):
                if effect_size is not None:
                    adjusted = alpha / pilot.n_tests
                    found[i, j] = power_of_t(size, variance, prompts, adjusted)
                else:
                    rng = np.random.default_rng(seed)
                    found[i, j] = power_of_equivalence(size, variance, prompts, rng, alpha)
    attrs = {
        "effect": pilot.effect,
        "goal": "equivalence" if effect_size is None else "difference",
        "size": size,
        "alpha": alpha,
        "assurance": assurance,
        "n_tests": pilot.n_tests,
        "pilot_prompts": pilot.n_prompts,
        "between_prompts_variance": pilot.between,
        "zeta1": float(pilot.image.zeta1),
        "zeta2": float(pilot.image.zeta2),
    }
    coords = {"n_images": list(n_images), "n_prompts": list(n_prompts)}
    dims = ("n_images", "n_prompts")
    return xr.Dataset({"power": (dims, power), "power_expected": (dims, expected)}, coords, attrs)


def needed(power: xr.Dataset, target: float = 0.8) -> NDArray[np.float64]:
    """Fewest prompts of a table that reach the target, per number of images; NaN where none does.

    >>> pilot = Components("codebook", 0.01, PairVariance(np.array(0.001), np.array(0.002)))
    >>> needed(table(pilot, effect_size=0.1, n_prompts=[10, 20], n_images=[4]))
    array([20.])
    """
    reached = power["power"].transpose("n_images", "n_prompts").values >= target
    prompts = power["n_prompts"].values.astype(float)
    return np.where(reached.any(axis=1), prompts[reached.argmax(axis=1)], np.nan)
