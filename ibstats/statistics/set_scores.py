"""Scores of whole sets of images, with blocks of prompts as units: Frechet and kernel distances of features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from ibstats.errors import IbstatsError
from ibstats.fidelity.reference_set import Reference
from ibstats.kernels import frechet

EXACT = 256
"""Up to this many images or features every prompt is left out in turn; above, one of `BLOCKS` blocks of prompts."""

BLOCKS = 20

FEWEST = 3
"""Prompts that a score of a set needs: leaving one out must leave two."""


def blocks(n_prompts: int, n_samples: int, n_features: int) -> np.ndarray:
    """Number of the block each prompt belongs to: one a prompt where that is quick, else `BLOCKS` runs of prompts."""
    exact = n_prompts <= BLOCKS or min(n_prompts * n_samples, n_features) <= EXACT
    return np.arange(n_prompts) if exact else np.arange(n_prompts) * BLOCKS // n_prompts


def _by_block(
    features: xr.DataArray, statistic: Callable[[np.ndarray, np.ndarray], frechet.LeftOut]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Statistic of each condition, pseudo-values (condition, block), and labels of the blocks."""
    table = features.transpose("condition", "prompt", "sample", "feature")
    n_conditions, n_prompts, n_samples, n_features = table.shape
    block = blocks(n_prompts, n_samples, n_features)
    member = np.repeat(block, n_samples)
    whole, values = [], []
    for condition in range(n_conditions):
        x = np.asarray(table[condition].values, dtype=np.float64).reshape(-1, n_features)
        left_out = statistic(x, member)
        whole.append(left_out.whole)
        values.append(frechet.pseudo_values(left_out))
    names = features["prompt"].values
    ends = [
        (np.flatnonzero(block == b)[0], np.flatnonzero(block == b)[-1])
        for b in range(block.max() + 1)
    ]
    labels = [str(names[a]) if a == b else f"{names[a]}..{names[b]}" for a, b in ends]
    return np.array(whole), np.stack(values), labels


def _labelled(
    features: xr.DataArray, values: np.ndarray, labels: list[str], note: str
) -> xr.DataArray:
    coords: dict[str, Any] = {
        str(name): c for name, c in features.coords.items() if c.dims == ("condition",)
    }
    coords["block"] = np.array(labels, dtype=object)
    return xr.DataArray(values, dims=("condition", "block"), coords=coords, attrs={"note": note})


def effective_images(features: xr.DataArray) -> np.ndarray:
    """Independent images that those of each condition are worth, `n / (1 + (m - 1) rho)`, m images a prompt.

    rho is the share of the variance of the features that lies between prompts (analysis of variance).
    """
    table = features.transpose("condition", "prompt", "sample", "feature")
    worth = []
    for condition in range(len(table)):
        x = np.asarray(table[condition].values, dtype=np.float64)
        p, m, _ = x.shape
        means = x.mean(axis=1)
        within = ((x - means[:, None]) ** 2).sum() / max(p * (m - 1), 1)
        between = m * ((means - means.mean(axis=0)) ** 2).sum() / max(p - 1, 1)
        component = max(between - within, 0.0) / m if m > 1 else between
        total = component + within
        rho = component / total if total > 0 else 1.0
        worth.append(p * m / (1 + (m - 1) * rho))
    return np.array(worth)


def frechet_distance(
    features: xr.DataArray, against: Reference, name: str
) -> dict[str, xr.DataArray]:
    """Frechet distance of each condition's images, `(condition, block)`, plain and extrapolated to infinitely many.

    `name` has the value of all images, torchmetrics' number. Its expectation depends on the number of images and on
    their diversity, copies being worth nothing; its units are pseudo-values moved to that mean.
    `name_infinity` has the pseudo-values as they are: their mean extrapolates in 1/n over sets with a block of prompts
    left out. It is NaN where there are fewer independent images than features (`effective_images`): below that the
    extrapolation was found to fall short (a simulation in the tests shows where it holds).
    Prompts are not drawn with replacement: copies of images would enlarge the very bias in question.
    """
    n, d = features.sizes["prompt"] * features.sizes["sample"], features.sizes["feature"]
    _enough(features, name)
    whole, values, labels = _by_block(
        features, lambda x, g: frechet.frechet_left_out(x, against.target, g)
    )
    plain = values - values.mean(axis=1, keepdims=True) + whole[:, None]
    effective = effective_images(features)
    infinity = np.where((effective >= d)[:, None], values, np.nan)
    with_set = f"reference set {against.record.name}, {against.record.n_images} images"
    worth = f"{effective.min():.0f} to {effective.max():.0f}"
    note = (
        f"too large by a bias that shrinks with the number of independent images, here {worth} of {n} by condition "
        f"({d} features): less diverse conditions look worse for it, read the kernel distance beside; {with_set}"
    )
    if n <= d:
        note = f"{n} images are not more than {d} features, so their covariance is singular; {note}"
    made = {name: _labelled(features, plain, labels, note)}
    fewest = f"extrapolated from {n} images; {with_set}"
    if not np.isfinite(infinity).all():
        fewest = f"undefined where there are fewer independent images (here {worth} of {n}) than features ({d})"
    return made | {f"{name}_infinity": _labelled(features, infinity, labels, fewest)}


def kernel_distance(
    features: xr.DataArray, against: Reference, name: str
) -> dict[str, xr.DataArray]:
    """Unbiased kernel distance over pairs of images of different prompts, `(condition, block)`; may be negative.

    Intervals are over prompts, the reference set held fixed.
    """
    _enough(features, name)
    if against.target.features is None:
        raise IbstatsError(
            f"{name} needs features, but reference set '{against.file}' holds moments only; make it from images with "
            "`ibstats reference FOLDER`"
        )
    _, values, labels = _by_block(
        features, lambda x, g: frechet.kernel_left_out(x, against.target, g)
    )
    rows = len(against.target.features)
    note = (
        f"unbiased; pairs of different prompts; reference set {against.record.name}, {rows} images"
    )
    return {name: _labelled(features, values, labels, note)}


def _enough(features: xr.DataArray, name: str) -> None:
    """Refuse too few prompts."""
    if features.sizes["prompt"] < FEWEST:
        raise IbstatsError(
            f"{name} is undefined for {features.sizes['prompt']} prompt(s): leaving one out must leave two or more; "
            "analyse a store with three or more"
        )


SET_SCORES: dict[str, Callable[..., dict[str, xr.DataArray]]] = {
    "fid": lambda x, against: frechet_distance(x, against, "fid"),
    "kid": lambda x, against: kernel_distance(x, against, "kid"),
    "reference_frechet": lambda x, against: frechet_distance(x, against, "reference_frechet"),
    "reference_kernel": lambda x, against: kernel_distance(x, against, "reference_kernel"),
}
"""Scores by name; each gives the quantities it returns."""
