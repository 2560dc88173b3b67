"""Ablations: the arms of an experiment against the cell without intervention (paper, sections 4.4 and 4.5).

Values are `(condition, prompt)`. Arms share their noise, so every comparison is made within prompts, with the intervals
and tests of the factorial; contrasts with the reference arm are one family, planned comparisons of arms another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from ibstats.errors import StoreContractError
from ibstats.kernels.factorial import linear
from ibstats.statistics.effects import tested
from ibstats.statistics.uncertainty import Resampling
from ibstats.statistics.windows import under_argmax
from ibstats.variables import REFERENCE

if TYPE_CHECKING:
    from ibstats.store import Store
    from schemas.provenance import ModelIdentity

KINDS = ("subset_ratio", "argmax_window", "paraphrase_length", "subset_method", "enhancement")
"""Kinds of experiment that are ablations, in the order of the paper."""

Arms = xr.DataArray | xr.Dataset
"""Something over `condition`, with the coordinates of the store."""


class Comparison(NamedTuple):
    """A difference of arms: its name and the weight of each condition."""

    name: str
    weights: np.ndarray


def kind_of(store: Store, experiment: str) -> str:
    """Kind of an experiment of a store."""
    return store.run.experiments[experiment].kind


def experiments(store: Store) -> dict[str, str]:
    """The ablations of a store and their kinds, in the order of the paper."""
    kinds = {name: kind_of(store, name) for name in store.experiments()}
    return {name: kind for wanted in KINDS for name, kind in kinds.items() if kind == wanted}


def label(condition: str) -> str:
    """Name of an arm without the number that keeps arms in order."""
    return re.sub(r"^\d+-", "", condition)


def reference_arm(values: Arms) -> int:
    """Position of the arm without intervention among the conditions."""
    alike = np.all(
        [values[factor].values.astype(object) == level for factor, level in REFERENCE.items()],
        axis=0,
    )
    if alike.sum() != 1:
        raise StoreContractError(
            f"{alike.sum()} conditions are without intervention, but an ablation has one to compare the others with"
        )
    return int(np.flatnonzero(alike)[0])


def against_reference(y: Arms) -> list[Comparison]:
    """Each other arm minus the reference arm."""
    reference = reference_arm(y)
    return [
        _difference(y, arm, reference) for arm in range(y.sizes["condition"]) if arm != reference
    ]


def ratios(y: Arms, comparisons: Sequence[Comparison]) -> xr.DataArray:
    """Share of the codes that the first arm of each comparison keeps, over `effect`."""
    kept = [
        float(y["keep_ratio"].values[comparison.weights.argmax()]) for comparison in comparisons
    ]
    return xr.DataArray(
        kept, dims="effect", coords={"effect": [comparison.name for comparison in comparisons]}
    )


def planned(y: Arms, kind: str) -> list[Comparison]:
    """The comparisons of arms with each other that the paper's claims need, by the kind of the ablation.

    subset_ratio: each ratio with the next smaller one. argmax_window, paraphrase_length: later minus earlier arms.
    subset_method: methods with each other, random ones as the mean of their draws, which is compared with the full
    codebook too. enhancement: the proposed arm with each of its halves, and what it adds to their sum.
    """
    return list(_PLANNED[kind](y))


def contrasts(y: xr.DataArray, comparisons: Sequence[Comparison], how: Resampling) -> xr.Dataset:
    """Mean of each comparison over prompts, over `effect`, with interval, tests and effect sizes: one family."""
    weights = np.column_stack([comparison.weights for comparison in comparisons])
    values = xr.DataArray(
        linear(y.transpose("prompt", "condition").values, weights),
        dims=("prompt", "effect"),
        coords={"effect": [comparison.name for comparison in comparisons]},
        attrs=y.attrs,
    )
    return tested(values, how)


def _difference(y: Arms, plus: int, minus: int) -> Comparison:
    names = [label(str(name)) for name in y["condition"].values]
    weights = np.zeros(len(names))
    weights[plus] += 1
    weights[minus] -= 1
    return Comparison(f"{names[plus]} - {names[minus]}", weights)


def _next_smaller(y: Arms) -> Iterator[Comparison]:
    order = np.argsort(y["keep_ratio"].values)
    for small, large in pairwise(order):
        yield _difference(y, int(large), int(small))


def _later_minus_earlier(y: Arms) -> Iterator[Comparison]:
    arms = [arm for arm in range(y.sizes["condition"]) if arm != reference_arm(y)]
    for i, earlier in enumerate(arms):
        for later in arms[i + 1 :]:
            yield _difference(y, later, earlier)


def _methods(y: Arms) -> Iterator[Comparison]:
    """Methods by name; equal weights within a method make the mean of its draws."""
    methods = y["subset_method"].values.astype(object)
    short = {name: name.replace("_", "-") for name in dict.fromkeys(methods) if name}
    mean = {method: (methods == name) / (methods == name).sum() for name, method in short.items()}
    names = list(mean)
    for i, one in enumerate(names):
        for other in names[:i]:
            yield Comparison(f"{one} - {other}", mean[one] - mean[other])
    if "drop-random" in mean:
        yield Comparison(
            "drop-random - full", mean["drop-random"] - np.eye(len(methods))[reference_arm(y)]
        )


def _halves(y: Arms) -> Iterator[Comparison]:
    """The proposed arm of each ratio, with the subset of that ratio and with the paraphrases."""
    names = [label(str(name)) for name in y["condition"].values]
    paraphrase, baseline = names.index("paraphrase"), reference_arm(y)
    for arm, name in enumerate(names):
        if name.startswith("proposed"):
            subset = names.index(name.replace("proposed", "subset"))
            yield _difference(y, arm, subset)
            yield _difference(y, arm, paraphrase)
            weights = np.zeros(len(names))
            weights[[arm, baseline]], weights[[subset, paraphrase]] = 1, -1
            yield Comparison(f"{name}: synergy", weights)


_PLANNED = {
    "subset_ratio": _next_smaller,
    "argmax_window": _later_minus_earlier,
    "paraphrase_length": _later_minus_earlier,
    "subset_method": _methods,
    "enhancement": _halves,
}


def window_tokens(dataset: xr.Dataset, identity: ModelIdentity) -> xr.DataArray:
    """Tokens of an image whose last change falls under argmax, mean over images, by condition.

    Thirds of the steps commit very different numbers of tokens (14 % in the first third of a cosine schedule), which
    an effect of "early" or "late" argmax must be read with.
    """
    n_tokens = identity.grid[0] * identity.grid[1]
    fixed = under_argmax(dataset, identity)
    share = fixed.mean([dim for dim in fixed.dims if dim != "condition"])
    return xr.DataArray(
        share.values * n_tokens,
        dims="condition",
        coords={"condition": dataset["condition"].values.astype(object)},
        attrs={"units": "1", "long_name": "tokens committed under argmax", "n_tokens": n_tokens},
    )
