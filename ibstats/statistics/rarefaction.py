"""Do the information numbers settle? The same numbers from fewer images, and from fewer prompts.

A Shannon effect that still moves between half of the images and all of them is a statement about
the number of images, and gets no p value (rule c).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, islice
from math import comb

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.kernels import entropy
from ibstats.statistics import collision, counting, information, significance, unseen
from ibstats.statistics.counting import Counted

Array = NDArray[np.float64]

MOST_MOVE = 0.5
"""Half-widths of its interval that a settled effect moves at most, from half the images to all."""

NOT_SETTLED = "not settled between {half} and {all} images"
"""Why a Shannon effect has no p value."""

PARTS = (0.25, 0.5, 1.0)
"""Shares of the images, or of the prompts, in a rarefaction table."""

QUANTITIES = (
    "codebook_entropy",
    "conditional_entropy",
    "mutual_information",
    "collision_information",
    "unseen_by_prompt",
    "unseen_by_image",
)
"""What a rarefaction table shows."""

P_VALUES = ("p", "p_wilcoxon", "p_sign_flip", "p_max_t", "p_holm", "p_bh", "bayes_factor")
"""Variables of an effect that say whether it differs from zero."""


def moves(effect: xr.Dataset, half: xr.Dataset) -> xr.DataArray:
    """Whether an effect moves too much between half of the images and all of them, `(...)`.

    `effect` and `half` are tables of the same effects, from all images and from half of them, with
    `estimate`, `low`, `high`. It moves if it changes by more than half of the half-width of its
    interval. An effect without variation is settled if it does not change.

    >>> whole = xr.Dataset({"estimate": 0.3, "low": 0.1, "high": 0.5})
    >>> bool(moves(whole, xr.Dataset({"estimate": 0.15})))
    True
    """
    width = (effect["high"] - effect["low"]) / 2
    return abs(effect["estimate"] - half["estimate"]) > MOST_MOVE * width


def withhold(effect: xr.Dataset, half: xr.Dataset) -> xr.Dataset:
    """The table without the p values of effects that move (`moves`), and with `settled`.

    Adjusted p values are of the family of those left: over `effect`, within each of the other dims.
    """
    unsettled = moves(effect, half)
    found = effect.assign(settled=~unsettled)
    for name in P_VALUES:
        if name in found:
            found[name] = found[name].where(~unsettled)
    for name in ("holm", "bh"):
        if f"p_{name}" in found:
            found[f"p_{name}"] = xr.apply_ufunc(
                significance.adjust,
                found["p"],
                kwargs={"method": name},
                input_core_dims=[["effect"]],
                output_core_dims=[["effect"]],
                vectorize=True,
            ).transpose(*found["p"].dims)
    if "p" in found:
        n_tests = found["p"].notnull().sum("effect")
        if n_tests.ndim == 0:
            found.attrs["n_tests"] = int(n_tests)
        else:
            found["n_tests"] = n_tests
    return found


def table(
    tokens: xr.DataArray,
    n_codes: int,
    share: Sequence[xr.DataArray] = (),
    *,
    estimator: str = entropy.DEFAULT,
    usable: Sequence[int] | None = None,
    n_subsets: int = 20,
    seed: int = 0,
) -> xr.Dataset:
    """Information numbers from a quarter, half and all of the images, and of the prompts.

    `estimate (along, part, quantity, condition)` and `n (along, part)`, along `images` and
    `prompts`: means over all subsets of that size, or over `n_subsets` random ones where there are
    more. NaN where a part is too small for the number. Numbers that hold do not move down their
    column. Parameters else as of `information.per_prompt` and `collision.per_prompt`.
    """
    rng = np.random.default_rng(seed)
    sizes = usable or [n_codes] * tokens.sizes["condition"]
    of_condition = collision.shared(tokens, share, "apart")
    n_prompts, n_samples = tokens.sizes["prompt"], tokens.sizes["sample"]
    shape = (2, len(PARTS), len(QUANTITIES), tokens.sizes["condition"])
    estimates, numbers = np.full(shape, np.nan), np.zeros(shape[:2], np.int64)
    subsets: dict[tuple[int, int], list[NDArray[np.int64]]] = {}
    for along, whole in enumerate((n_samples, n_prompts)):
        for part, fraction in enumerate(PARTS):
            numbers[along, part] = max(1, int(fraction * whole))
            subsets[along, part] = list(_subsets(whole, numbers[along, part], n_subsets, rng))
    for condition, counted in enumerate(counting.conditions(tokens, n_codes)):
        sharing, size = of_condition(condition), sizes[condition]
        for (along, part), chosen in subsets.items():
            found = []
            for kept in chosen:
                prompts, samples = np.arange(n_prompts), kept
                if along == 1:
                    prompts, samples = kept, np.arange(n_samples)
                some = counted.part(prompts, samples)
                found.append(_numbers(some, sharing.part(prompts, samples), estimator, size))
            estimates[along, part, :, condition] = np.mean(found, axis=0)
    coords = {
        "along": ["images", "prompts"],
        "part": list(PARTS),
        "quantity": list(QUANTITIES),
        "condition": tokens["condition"].values,
    }
    variables = {
        "estimate": (("along", "part", "quantity", "condition"), estimates),
        "n": (("along", "part"), numbers),
    }
    attrs = {"n_subsets": n_subsets, "seed": seed, "estimator": estimator}
    return xr.Dataset(variables, coords, attrs)


def _subsets(
    whole: int, size: int, n_subsets: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """All subsets of that size, or `n_subsets` random ones where there are more."""
    if comb(whole, size) <= n_subsets:
        for chosen in islice(combinations(range(whole), size), n_subsets):
            yield np.array(chosen)
    else:
        for _ in range(n_subsets):
            yield np.sort(rng.permutation(whole)[:size])


def _numbers(
    counted: Counted, sharing: collision.Sharing, estimator: str, size: int
) -> list[float]:
    """Means over prompts of everything in the table."""
    values: dict[str, Array] = {}
    values |= information.values_of(counted, estimator, size)
    values |= collision.values_of(counted, sharing)
    values |= unseen.values_of(counted)
    return [float(values[name].mean()) for name in QUANTITIES]
