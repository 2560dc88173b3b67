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

SUBSETS = 20
"""Random subsets of a size whose mean is shown, where there are more of them."""

FEWEST_SUBSETS = 2
MOST_COUNTED = 20_000_000
"""Tokens of all subsets of one size; large runs, whose subsets are alike, have fewer subsets."""

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
    n_subsets: int = SUBSETS,
    seed: int = 0,
) -> xr.Dataset:
    """Information numbers from a quarter, half and all of the images, and of the prompts.

    `estimate (part, quantity, condition)`, `weak` of the same dims, which marks those that rest on
    codes not seen, and `n_images (part)` and `n_prompts (part)`, which say what each part is of:
    means over all subsets of that size, or over `n_subsets` random ones where there are more. NaN
    where a part is too small for the number. Numbers that hold do not move down their column.
    Parameters else as of `information.per_prompt` and `collision.per_prompt`.

    >>> codes = np.arange(16).reshape(1, 2, 4, 2, 1) % 3
    >>> tokens = xr.DataArray(codes, dims=("condition", "prompt", "sample", "row", "col"))
    >>> found = table(tokens.assign_coords(condition=["a"]), 3)
    >>> found["n_images"].values, found["n_prompts"].values
    (array([1, 2, 4, 4, 4, 4]), array([2, 2, 2, 1, 1, 2]))
    """
    rng = np.random.default_rng(seed)
    sizes = usable or [n_codes] * tokens.sizes["condition"]
    of_condition = collision.shared(tokens, share, "apart")
    n_prompts, n_samples = tokens.sizes["prompt"], tokens.sizes["sample"]
    parts = _parts(n_prompts, n_samples, n_subsets, rng)
    estimates = np.full((len(parts), len(QUANTITIES), tokens.sizes["condition"]), np.nan)
    for condition, counted in enumerate(counting.conditions(tokens, n_codes)):
        sharing, size = of_condition(condition), sizes[condition]
        for number, (_, subsets) in enumerate(parts):
            found = []
            for prompts, samples in subsets:
                some = counted.part(prompts, samples)
                found.append(_numbers(some, sharing.part(prompts, samples), estimator, size))
            estimates[number, :, condition] = np.mean(found, axis=0)
    dims = ("part", "quantity", "condition")
    counts = np.array([[len(prompts), len(samples)] for _, ((prompts, samples), *_) in parts])
    variables = {
        "estimate": (dims, estimates),
        "weak": (dims, _weak(estimates)),
        "n_prompts": ("part", counts[:, 0]),
        "n_images": ("part", counts[:, 1]),
    }
    coords = {
        "part": [name for name, _ in parts],
        "quantity": list(QUANTITIES),
        "condition": tokens["condition"].values,
    }
    attrs = {"n_subsets": n_subsets, "seed": seed, "estimator": estimator}
    return xr.Dataset(variables, coords, attrs)


Subset = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Numbers of prompts, and of each one's images."""


def _parts(
    n_prompts: int, n_samples: int, n_subsets: int, rng: np.random.Generator
) -> list[tuple[str, list[Subset]]]:
    """By name, the subsets of each part: of the images of all prompts, then of whole prompts."""
    every_prompt, every_sample = np.arange(n_prompts), np.arange(n_samples)
    found = []
    for share in PARTS:
        size = max(1, int(share * n_samples))
        chosen = _subsets(n_samples, size, n_subsets, rng)
        found.append((f"{share:g} of images", [(every_prompt, some) for some in chosen]))
    for share in PARTS:
        size = max(1, int(share * n_prompts))
        chosen = _subsets(n_prompts, size, n_subsets, rng)
        found.append((f"{share:g} of prompts", [(some, every_sample) for some in chosen]))
    return found


def _weak(estimates: Array) -> NDArray[np.bool_]:
    """Which of `(part, quantity, condition)` rest on codes not seen."""
    weak = np.zeros(estimates.shape, bool)
    for number, name in enumerate(QUANTITIES):
        for mass in unseen.LEANS_ON.get(name, ()):
            weak[:, number] |= estimates[:, QUANTITIES.index(mass)] > unseen.MOST_UNSEEN
    return weak


def subsets_for(tokens: xr.DataArray) -> int:
    """How many random subsets of a size to take of tokens: `SUBSETS`, fewer of very many tokens.

    >>> subsets_for(xr.DataArray(np.zeros((1, 12, 10, 8, 8)), dims=list("cpsyx")))
    20
    """
    return int(np.clip(MOST_COUNTED // max(tokens.size, 1), FEWEST_SUBSETS, SUBSETS))


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
    values |= collision.values_of(collision.Agreeing(counted, sharing))
    values |= unseen.values_of(counted)
    return [float(values[name].mean()) for name in QUANTITIES]
