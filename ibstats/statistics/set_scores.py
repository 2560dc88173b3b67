"""Scores of whole sets of images, with blocks of prompts as units: Frechet and kernel distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError
from ibstats.kernels import frechet, neighbours
from ibstats.measure.reference_set import LoadedSet
from ibstats.statistics.by_prompt import per_prompt

Array = NDArray[np.float64]

EXACT = 256
"""Up to this many images or features each prompt is left out in turn, above, a block."""

BLOCKS = 20

K_MANIFOLD, K_DENSITY = 3, 5
"""Neighbours of precision and recall, and of density and coverage: those of their papers."""

FEWEST = 3
"""Prompts that a score of a set needs: leaving one out must leave two."""


def blocks(n_prompts: int, n_samples: int, n_features: int) -> NDArray[np.int64]:
    """Number of the block that each prompt belongs to, `(prompt,)`, from 0.

    One a prompt where leaving each out is quick, else `BLOCKS` runs of prompts of nearly equal
    size.

    >>> blocks(4, 10, 2048)
    array([0, 1, 2, 3])
    """
    exact = n_prompts <= BLOCKS or min(n_prompts * n_samples, n_features) <= EXACT
    number = np.arange(n_prompts)
    if exact:
        return number
    return number * BLOCKS // n_prompts


def _by_block(
    features: xr.DataArray, statistic: Callable[[Array, NDArray[np.int64]], frechet.LeftOut]
) -> tuple[Array, Array, list[str]]:
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
    labels = []
    for number in range(block.max() + 1):
        members = names[block == number]
        label = str(members[0])
        if len(members) > 1:
            label = f"{members[0]}..{members[-1]}"
        labels.append(label)
    return np.array(whole), np.stack(values), labels


def _labelled(features: xr.DataArray, values: Array, labels: list[str], note: str) -> xr.DataArray:
    """Pseudo-values with the coordinates of their conditions and blocks."""
    coords: dict[str, Any] = {}
    for name, coord in features.coords.items():
        if coord.dims == ("condition",):
            coords[str(name)] = coord
    coords["block"] = np.array(labels, dtype=object)
    return xr.DataArray(values, dims=("condition", "block"), coords=coords, attrs={"note": note})


def effective_images(features: xr.DataArray) -> Array:
    """Independent images that those of each condition are worth, `n / (1 + (m - 1) rho)`.

    `features (condition, prompt, sample, feature) -> (condition,)`, m images a prompt, n in all;
    rho is the share of the variance of the features that lies between prompts (analysis of
    variance), so copies of an image are worth one. Source: Kish (1965), Survey Sampling, section
    5.4.

    >>> copies = np.repeat(np.eye(3), 4, axis=0).reshape(1, 3, 4, 3)
    >>> effective_images(xr.DataArray(copies, dims=("condition", "prompt", "sample", "feature")))
    array([3.])
    """
    table = features.transpose("condition", "prompt", "sample", "feature")
    worth = []
    for condition in range(len(table)):
        x = np.asarray(table[condition].values, dtype=np.float64)
        worth.append(_worth(x))
    return np.array(worth)


def _worth(x: Array) -> float:
    """Independent images that those of one condition `(prompt, sample, feature)` are worth."""
    n, m, _ = x.shape
    means = x.mean(axis=1)
    within = ((x - means[:, None]) ** 2).sum() / max(n * (m - 1), 1)
    between = m * ((means - means.mean(axis=0)) ** 2).sum() / max(n - 1, 1)
    component = between
    if m > 1:
        component = max(between - within, 0.0) / m
    total = component + within
    rho = 1.0
    if total > 0:
        rho = component / total
    return float(n * m / (1 + (m - 1) * rho))


def frechet_distance(
    features: xr.DataArray, against: LoadedSet, name: str
) -> dict[str, xr.DataArray]:
    """Frechet distance of each condition's images from a reference set, `(condition, block)`.

    `features (condition, prompt, sample, feature)`. Two quantities, in squared units of the
    features. `name` has the value of all images, torchmetrics' number. Its expectation depends on
    the number of images and on their diversity, copies being worth nothing; its units are
    pseudo-values moved to that mean. `name_infinity` has the pseudo-values as they are: their mean
    extrapolates in 1/n over sets with a block of prompts left out. It is NaN where there are fewer
    independent images than features (`effective_images`): below that the extrapolation was found to
    fall short (a simulation in the tests shows where it holds).

    Prompts are not drawn with replacement: copies of images would enlarge the very bias in
    question. Raises IbstatsError for fewer than three prompts.
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
        f"too large by a bias that shrinks with the number of independent images, here {worth} of "
        f"{n} by condition ({d} features): less diverse conditions look worse for it, read the "
        f"kernel distance beside; {with_set}"
    )
    if n <= d:
        note = f"{n} images are not more than {d} features, so their covariance is singular; {note}"
    extrapolated = f"extrapolated from {n} images; {with_set}"
    if not np.isfinite(infinity).all():
        extrapolated = (
            f"undefined where there are fewer independent images (here {worth} of {n}) "
            f"than features ({d})"
        )
    return {
        name: _labelled(features, plain, labels, note),
        f"{name}_infinity": _labelled(features, infinity, labels, extrapolated),
    }


def kernel_distance(
    features: xr.DataArray,
    against: LoadedSet,
    name: str,
    kernel: frechet.Kernel = frechet.cubic,
    scale: float = 1.0,
) -> dict[str, xr.DataArray]:
    """Unbiased kernel distance from a reference set over pairs of images of different prompts.

    `features (condition, prompt, sample, feature) -> name (condition, block)`, pseudo-values, times
    `scale`; intervals are over prompts, the reference set held fixed. May be negative. Raises
    IbstatsError for fewer than three prompts, and for a reference set of moments alone.
    """
    _enough(features, name)
    rows = len(_sample(against, name))
    _, values, labels = _by_block(
        features, lambda x, g: frechet.kernel_left_out(x, against.target, g, kernel)
    )
    note = (
        f"unbiased; pairs of different prompts; reference set {against.record.name}, {rows} images"
    )
    return {name: _labelled(features, scale * values, labels, note)}


def manifolds(features: xr.DataArray, against: LoadedSet) -> dict[str, xr.DataArray]:
    """Precision, recall, density and coverage of each condition's images and a reference set.

    `features (condition, prompt, sample, feature)`. Precision and density are means over images, so
    over prompts, `(condition, prompt)`, with the manifold of the reference set held fixed. Recall
    and coverage are of all images together: `(condition, block)`, pseudo-values of leaving prompts
    out, moved to the value of all images, which grows with their number. Raises IbstatsError for
    fewer than three prompts, for too few images, and for a reference set of moments alone. See
    `ibstats.kernels.neighbours` for the definitions.
    """
    _enough(features, "recall")
    real = _sample(against, "precision")
    n = features.sizes["prompt"] * features.sizes["sample"]
    found: dict[str, xr.DataArray] = {}

    def note(k: int) -> str:
        """What the numbers rest on."""
        return (
            f"k = {k}; {n} images a condition, {len(real)} of reference set {against.record.name}"
        )

    for name, k in {"precision": K_MANIFOLD, "density": K_DENSITY}.items():
        radius = neighbours.radii(real, k)

        def by_prompt(table: Array, name: str = name, k: int = k, radius: Array = radius) -> Array:
            """The score of each image, (prompt, sample), from (prompt, sample, feature)."""
            flat = table.reshape(-1, table.shape[-1])
            held = neighbours.held(flat, real, radius).reshape(table.shape[:2])
            if name == "precision":
                return np.asarray(held > 0)
            return np.asarray(held / k)

        found[f"prdc_{name}"] = per_prompt(features, by_prompt).assign_attrs(note=note(k))

    radius = neighbours.radii(real, K_DENSITY)
    statistics = {
        "recall": (K_MANIFOLD, lambda x, g: neighbours.recall_left_out(x, real, K_MANIFOLD, g)),
        "coverage": (K_DENSITY, lambda x, g: neighbours.coverage_left_out(x, real, radius, g)),
    }
    for name, (k, statistic) in statistics.items():
        whole, values, labels = _by_block(features, statistic)
        moved = values - values.mean(axis=1, keepdims=True) + whole[:, None]
        found[f"prdc_{name}"] = _labelled(features, moved, labels, f"grows with n; {note(k)}")
    return found


def _sample(against: LoadedSet, name: str) -> Array:
    """The features that a reference set kept; IbstatsError where it holds moments alone."""
    if against.target.features is None:
        raise IbstatsError(
            f"{name} needs features, but reference set '{against.file}' holds moments only; "
            "make it from images with `ibstats reference FOLDER`"
        )
    return against.target.features


def _enough(features: xr.DataArray, name: str) -> None:
    """Refuse too few prompts."""
    if features.sizes["prompt"] < FEWEST:
        raise IbstatsError(
            f"{name} is undefined for {features.sizes['prompt']} prompt(s): leaving one out must "
            "leave two or more; analyse a store with three or more"
        )
