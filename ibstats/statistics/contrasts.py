"""Information of the whole image, from images scored under texts they were not made from.

Z is the grid, X the text; q is the sampler's law, with its guidance, temperature and codebook. Where
the order is fixed q(z|x) is known, so that I(X;Z) of prompts that are equally likely is exact; where
a path is chosen it is a sum over paths, and what a few of them say bounds it from both sides. Of a
population of prompts, of which some stand beside the own one, even a known q leaves bounds. Means
over prompts of the means over their images, in bits an image (paper eq. 1-2).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.kernels.sandwich import above, below, log2_mean
from ibstats.quantities import quantity
from ibstats.statistics.rescored import Rescored, numbers_of_paths, read
from ibstats.statistics.uncertainty import Resampling, mean_interval
from ibstats.store import Store
from schemas.io.layout import rescored_under
from schemas.io.rescored import rescorings
from schemas.rescored import EMPTY, STUDY, WORDINGS

Array = NDArray[np.float64]
Bits = dict[str, Array]
"""Bits (condition, prompt, sample, paths) by quantity."""

NEAR_CAP = 0.3
"""Bits below its most from which on a number says only that it is at least that."""


def find(store: Store, model: str, experiment: str) -> Iterator[Rescored]:
    """The contrasts of a model and experiment: of each kind the one with the most paths, then prompts.

    Raises as `ibstats.statistics.rescored.read` does.
    """
    best: dict[str, Rescored] = {}
    for stored in rescorings(store.folder, rescored_under(model, experiment)):
        contrast = stored.record.contrast
        if not contrast:
            continue
        found = read(store, stored.key)
        if found.data.sizes["prompt"] and _size(found) > _size(best.get(contrast)):
            best[contrast] = found
    yield from best.values()


def _size(found: Rescored | None) -> tuple[int, int]:
    if found is None:
        return (-1, 0)
    return found.record.n_paths, found.data.sizes["prompt"]


def has_path(found: Rescored) -> bool:
    """Whether the images were scored along more paths than the one they took."""
    return found.record.n_paths > 0


def information(found: Rescored) -> xr.DataArray:
    """What the images tell of their text, `(quantity, paths, condition, prompt)` in bits an image.

    `prompt_information` is I(X;Z) of prompts that are equally likely: exactly, if the contrasts are
    the prompts of the study and the order is fixed. Else `prompt_information_lower` and `_upper`
    bound it in expectation. `wording_information`, of contrasts that are wordings, is
    I(W;Z|M) = H(Z|M) - H(Z|W,M), W the wording and M the meaning. `grid_entropy` is H(Z) of the
    study's prompts together, and `grid_conditional` H(Z|X) of the same images by the same weights,
    each with bounds where the order is chosen; of a condition with several wordings X is the prompt
    that they word, not the wording. `*_cap` is the most that so many contrasts can show. `alignment` is
    log2 q(z|x) - log2 q(z), z unprompted; it is known where the order is fixed only, and there are
    no quantities otherwise. `paths` counts the proposed ones: 0 where the order is fixed.

    The bounds are those of contrastive estimates with a known law: van den Oord et al. (2018),
    arXiv:1807.03748; Poole et al. (2019), arXiv:1905.06922; of the paths see
    `ibstats.kernels.sandwich`.
    """
    contrast = found.record.contrast
    if contrast == EMPTY:
        made = _alignment(found)
    elif contrast in (STUDY, WORDINGS):
        made = _among(found)
    else:
        made = _of_population(found)
    counts = numbers_of_paths(found.record.n_paths) if has_path(found) else [0]
    shape = (len(counts), *found.data["own_log_weight"].shape[:2])
    values = np.full((len(made), *shape), np.nan)
    for number, bits in enumerate(made.values()):
        values[number] = np.moveaxis(bits.mean(axis=2), -1, 0)
    coords = {
        "quantity": list(made),
        "paths": counts,
        "condition": found.data["condition"].values,
        "prompt": found.data["prompt"].values,
    }
    dims = ("quantity", "paths", "condition", "prompt")
    return xr.DataArray(values, coords, dims, attrs={"units": "bit"})


def intervals(bits: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Means of `information` over prompts with intervals, `(quantity, paths, condition)` in bits.

    Nothing is said beyond what can be: no entropy is below zero, and no interval of what has a cap
    ends above it. A cap has no interval. Where a prompt has no finite bound there is no number at
    all (NaN), not a mean of the others. Raises IbstatsError for one prompt.
    """
    known = bits.where((abs(bits) < np.inf).all("prompt"))
    made = mean_interval(known, how)
    names = list(map(str, made["quantity"].values))
    least = xr.DataArray([quantity(name).least for name in names], {"quantity": names}, "quantity")
    for name in ("estimate", "low", "high"):
        made[name] = made[name].clip(min=least)
    caps = capped(made)
    for name, cap in caps.items():
        most = made["estimate"].sel(quantity=cap, drop=True)
        made["high"].loc[{"quantity": name}] = made["high"].sel(quantity=name).clip(max=most)
    is_cap = made["quantity"].isin(list(caps.values()))
    for bound in ("low", "high"):
        made[bound] = made[bound].where(~is_cap)
    made["degenerate"] = made["degenerate"] & ~is_cap
    made["method"] = made["method"].where(~is_cap, "")
    return made


def capped(group: xr.Dataset) -> dict[str, str]:
    """The caps of quantities that have one, by name: `prompt_information_lower` has one too.

    An upper bound has none: it may be above what the contrasts can show.
    """
    names = list(map(str, group["quantity"].values))
    found = {}
    for name in names:
        cap = f"{name.removesuffix('_lower')}_cap"
        if cap in names:
            found[name] = cap
    return found


def _alignment(found: Rescored) -> Bits:
    if has_path(found):
        return {}
    data = found.data
    return {"alignment": data["own_log_weight"].values - data["log_weight"].values[..., 0]}


def _among(found: Rescored) -> Bits:
    """Of texts among which the own one is, each as likely as another."""
    weights = found.data["log_weight"].values
    if found.record.contrast == STUDY:
        own, name = _own_of_study(found), "prompt_information"
    else:
        own, name = found.data["own_log_weight"].values, "wording_information"
    n_texts = (~np.isnan(weights[..., :1, :])).sum(axis=-1)
    mixture = _mean_of_known(weights)
    made = _differences(found, name, own, mixture, mixture)
    made[f"{name}_cap"] = np.broadcast_to(np.log2(n_texts), _shape(found)).astype(np.float64)
    if found.record.contrast == STUDY:
        made |= _surprisal(found, "grid_entropy", mixture)
        made |= _surprisal(found, "grid_conditional", own)
    return made


def _own_of_study(found: Rescored) -> Array:
    """Weights (condition, prompt, sample, path) of the own prompt, as it stands among the contrasts.

    Of a condition with several wordings that is their mixture.
    """
    place = {name: number for number, name in enumerate(found.record.contrasts)}
    own = [place[str(name)] for name in found.data["prompt"].values]
    weights = found.data["log_weight"].values
    chosen = np.array(own)[None, :, None, None, None]
    return np.take_along_axis(weights, chosen, axis=-1)[..., 0]


def _of_population(found: Rescored) -> Bits:
    """Of prompts that the contrasts are drawn from, as the own one was."""
    weights, own = found.data["log_weight"].values, found.data["own_log_weight"].values
    others = log2_mean(weights)
    beside = log2_mean(np.concatenate([weights, own[..., None]], axis=-1))
    made = _differences(found, "prompt_information", own, beside, others)
    if not has_path(found):  # the law is known, yet not the mean over all prompts
        exact = made.pop("prompt_information")
        made["prompt_information_lower"] = exact
        made["prompt_information_upper"] = (own - others)[..., :1]
    cap = np.log2(weights.shape[-1] + 1)
    made["prompt_information_cap"] = np.full(_shape(found), cap)
    return made | _surprisal(found, "grid_conditional", own)


def _differences(found: Rescored, name: str, own: Array, least: Array, most: Array) -> Bits:
    """log2 q(z|own) less that of a mixture, which counts as `least` below and as `most` above.

    Weights (condition, prompt, sample, path).
    """
    if not has_path(found):
        return {name: (own - least)[..., :1]}
    low, high = [], []
    for k in numbers_of_paths(found.record.n_paths):
        low.append(below(own[..., 1:], k) - above(least[..., 0], least[..., 1:], k + 1))
        high.append(above(own[..., 0], own[..., 1:], k + 1) - below(most[..., 1:], k))
    return {f"{name}_lower": np.stack(low, -1), f"{name}_upper": np.stack(high, -1)}


def _surprisal(found: Rescored, name: str, weights: Array) -> Bits:
    """-log2 q(z) under what the weights (condition, prompt, sample, path) are of, in bits."""
    if not has_path(found):
        return {name: 0.0 - weights[..., :1]}
    low, high = [], []
    for k in numbers_of_paths(found.record.n_paths):
        low.append(-above(weights[..., 0], weights[..., 1:], k + 1))
        high.append(-below(weights[..., 1:], k))
    return {f"{name}_lower": np.stack(low, -1), f"{name}_upper": np.stack(high, -1)}


def _mean_of_known(weights: Array) -> Array:
    """log2 of the mean of 2**w over the contrasts that a prompt has, those that are not NaN."""
    known = ~np.isnan(weights)
    absent_is_zero = np.where(known, weights, -np.inf)
    n_all, n_known = weights.shape[-1], known.sum(axis=-1)
    with np.errstate(divide="ignore"):
        return np.asarray(log2_mean(absent_is_zero) + np.log2(n_all / n_known))


def _shape(found: Rescored) -> tuple[int, ...]:
    """(condition, prompt, sample, paths)."""
    n = len(numbers_of_paths(found.record.n_paths)) if has_path(found) else 1
    return (*found.data["own_log_weight"].shape[:3], n)
