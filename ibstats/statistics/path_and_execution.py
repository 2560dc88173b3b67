"""Bits of path and execution, from saved surprisals, and their shares of the diversity.

With P the path (which positions change at each step) and Z the tokens, a trace measures the joint
entropy `H(P,Z|X) = A + B`, A the causal path entropy `sum_t H(S_t | s_t)` and B the causal
execution entropy `sum_t H(z_{S_t} | S_t, s_t)` (paper, eq. 2-8). A is at most H(P|X), by the
directed information from tokens to path, and B at least H(Z|P,X). Everything is per image, in
bits, and conditional on the text a sample was made from.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError
from ibstats.kernels import crossed as components
from ibstats.quantities import of_family
from ibstats.statistics.ratios import ratio_interval
from ibstats.statistics.uncertainty import Resampling, mean_interval
from ibstats.statistics.windows import under_argmax
from schemas.study import FIXED_ORDERS, NOISELESS_ORDERS

if TYPE_CHECKING:
    from schemas.provenance import ModelIdentity

Array = NDArray[np.float64]
Bits = dict[str, xr.DataArray]
"""By quantity, bits `(condition, prompt, sample)`."""

SHARES = ("path", "execution", "interaction", "path_total", "execution_total")
"""Sobol indices of crossed noise: first order, interaction, and totals (with it)."""

RENDERING = "rendering"
"""The share of a decoder that draws noise of its own."""

OF_JOINT = ("path_causal", "execution_causal", "trajectory_path")
"""What is shown as a share of the joint bits."""

REVISED = 0.05
"""Bits of execution that the last tokens of an image may miss by rounding."""
ROUNDING = 1e-3
"""Bits of an image that single precision may miss."""
PRIOR = 2.0
"""Images' worth of the schedule in the fitted path model."""


def ledger(dataset: xr.Dataset, identity: ModelIdentity) -> xr.DataArray:
    """Bits of path and execution of each prompt and condition, `(quantity, condition, prompt)`.

    From one experiment's saved arrays, per image; `quantities.of_family("bits")` says what each
    is, and a model has those that its traces allow. Under argmax a token is fixed by its state, so
    it adds nothing to the execution; tokens outside the argmax window count in full. Where
    `sample_count (condition, prompt)` says that prompts have unequal numbers of samples, a prompt's
    bits are the mean over its own, but for the fitted path, which takes as many of each. The
    attributes hold the tokens of an image, and as JSON the `remarks`.
    """
    drawn = _drawn_bits(dataset, identity)
    if identity.has_fixed_order:
        found = _fixed_order(drawn)
    else:
        found = _recorded(dataset)
    if identity.family in ("masked", ""):
        found["execution_marginal"] = drawn["surprisal"]
    if identity.family == "masked" and "token_step" in dataset:
        same = slice(int(_counts(dataset).min()))  # a path is better told from more others
        fitted = _fitted_path_bits(dataset["token_step"].isel(sample=same), identity.steps)
        room = dataset.sizes["sample"] - fitted.sizes["sample"]
        found["path_upper_fitted"] = fitted.pad(sample=(0, room))
        found["path_upper_schedule"] = _schedule_bits(dataset["token_step"], identity.steps)
    if identity.family == "diffusion" and "joint_surprisal" in dataset:
        found |= _of_trajectory(dataset, found)
    if "order" in dataset.coords:
        found |= _by_order(dataset, found, drawn["surprisal"])
    n_tokens = int(np.prod(identity.grid))
    if found:
        found["image_capacity"] = xr.full_like(drawn["surprisal"], n_tokens * identity.capacity)
    ordered = [record.name for record in of_family("bits")]
    there = xr.DataArray(np.arange(dataset.sizes["sample"]), dims="sample") < _counts(dataset)
    found = {name: value.where(there) for name, value in found.items()}
    bounds = [found[name] for name in ordered if name.startswith("path_upper") and name in found]
    if bounds:
        of_path = _tightest(bounds)
        found["residual_upper"] = of_path
        if "order" in dataset.coords:
            has_noise = ~dataset["order"].isin(NOISELESS_ORDERS)
            found["residual_upper"] = of_path.where(has_noise, 0.0)
        if "path_causal" in found:
            found["directed_upper"] = of_path - found["path_causal"]
    names = [name for name in ordered if name in found]
    values = np.empty((len(names), dataset.sizes["condition"], dataset.sizes["prompt"]))
    for i, name in enumerate(names):
        mean = found[name].mean("sample").transpose("condition", "prompt")
        values[i] = _without_rounding(mean.values)
    by_cell = dataset["token_surprisal"].isel(sample=0, row=0, col=0, drop=True).coords
    coords: dict[Any, Any] = {**by_cell, "quantity": names}
    attrs = {
        "units": "bit",
        "long_name": "entropy per image",
        "n_tokens": n_tokens,
        "remarks": json.dumps(remarks(dataset, identity, found)),
    }
    return xr.DataArray(values, coords, ("quantity", "condition", "prompt"), attrs=attrs)


def _counts(dataset: xr.Dataset) -> xr.DataArray:
    """Samples of each prompt in each condition, `(condition, prompt)`."""
    n_samples = dataset.sizes["sample"]
    if "sample_count" not in dataset:
        like = dataset["token_surprisal"].isel(sample=0, row=0, col=0, drop=True)
        return xr.full_like(like, n_samples, dtype=np.int64)
    return dataset["sample_count"].clip(max=n_samples)


def _fixed_order(drawn: Mapping[str, xr.DataArray]) -> Bits:
    """The bits of an order that is fixed: the path has none, all is execution."""
    zero = xr.zeros_like(drawn["surprisal"])
    found = dict.fromkeys(("path_causal", "path_given_candidates", "path_upper_schedule"), zero)
    for name in ("execution_causal", "execution_marginal", "joint", "tokens"):
        found[name] = drawn["surprisal"]
    if "entropy" in drawn:
        found["tokens_rao_blackwell"] = drawn["entropy"]
    return found


def _recorded(dataset: xr.Dataset) -> Bits:
    """The bits of the path, and of path and tokens together, that the traces record."""
    found = {}
    if "path_surprisal" in dataset:
        path = dataset["path_surprisal"].astype(np.float64).sum("step")
        if dataset["path_surprisal"].attrs.get("given", "state") == "state":
            found["path_causal"] = path
        else:
            found["path_given_candidates"] = path
    if "joint_surprisal" in dataset:
        found["joint"] = dataset["joint_surprisal"].astype(np.float64).sum("step")
    if "joint" in found and "path_causal" in found:
        found["execution_causal"] = found["joint"] - found["path_causal"]
    return found


def _by_order(dataset: xr.Dataset, found: Bits, drawn: xr.DataArray) -> Bits:
    """What the order of a masked model changes.

    Of one without path noise the tokens say the path, so that their bits are exact; H(P|X) is 0 of a
    fixed one, else at most those bits. Where the samples of a prompt share their path noise, paths
    of other images say more of a path than the model does, so none is fitted to them.
    """
    is_fixed = dataset["order"].isin(FIXED_ORDERS)
    is_exact = dataset["order"].isin(NOISELESS_ORDERS)
    is_own = dataset["path_noise"] == "own"
    more = {}
    if "path_upper_fitted" in found:
        more["path_upper_fitted"] = found["path_upper_fitted"].where(is_own)
    if "path_upper_schedule" in found:
        of_order = drawn.where(~is_fixed, 0.0)
        more["path_upper_schedule"] = found["path_upper_schedule"].where(~is_exact, of_order)
    if is_exact.any():
        more["tokens"] = drawn.where(is_exact)
    return more


def _of_trajectory(dataset: xr.Dataset, found: Bits) -> Bits:
    """What diffusion adds: the trajectory as the path, and a bound on the path's entropy."""
    last = dataset["joint_surprisal"].isel(step=-1).astype(np.float64)
    more = {"trajectory_execution": last, "trajectory_path": found["joint"] - last}
    if _revises(dataset, found["execution_causal"]):
        more["path_upper_trajectory"] = found["joint"]
    else:  # the path does not depend on the tokens
        more["path_upper_schedule"] = found["path_causal"]
    return more


def _without_rounding(bits: Array) -> Array:
    """Bits `(condition, prompt)`, made equal where they differ by rounding alone."""
    spread = bits.max(axis=1, keepdims=True) - bits.min(axis=1, keepdims=True)
    return np.where(spread < ROUNDING, bits.mean(axis=1, keepdims=True), bits)


def remarks(dataset: xr.Dataset, identity: ModelIdentity, found: Collection[str]) -> dict[str, str]:
    """By quantity, why it is undefined or means something else than its name says.

    `found` are the quantities that could be made from the dataset of the experiment.
    """
    said: dict[str, str] = {}
    if not identity.has_fixed_order and "joint" not in found:
        reason = "no path surprisal was recorded"
        if "path_given_candidates" in found:
            reason = "only the path given the candidates was recorded"
        sampled = "path_key" in dataset
        if sampled and ("path_given_candidates" in found or identity.family == "masked"):
            reason += ": sample with `path_surprisal: exact`, or use `ibgenerate rescore`"
        said |= dict.fromkeys(("path_causal", "execution_causal", "joint"), reason)
    if "tokens" in found and identity.family == "masked":
        said["tokens"] = (
            "exact where the tokens say the path; `ibgenerate rescore` bounds it where noise chooses it"
        )
    if "path_upper_trajectory" in found:
        said["joint"] = (
            "tokens are revised after their reveal, and A + B counts every revision: "
            "it is the entropy of the whole trajectory and at least H(P,Z|X)"
        )
        loose = (
            "tokens are revised, so the path depends on them and no closed form of H(P|X) exists; "
            "the bound is loose"
        )
        said["path_upper_trajectory"] = said["residual_upper"] = loose
    return said


def ledger_intervals(bits: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Means of `ledger` over prompts with intervals, `(quantity, condition)` in bits.

    Where the joint entropy is known, `share_estimate`, `share_low`, ... `(part, condition)` are the
    shares of it that A and B make, and the trajectory where it is the path: the ratio of the means.
    """
    result = mean_interval(bits, how).assign_attrs(bits.attrs)
    if "joint" not in bits["quantity"]:
        return result
    joint = bits.sel(quantity="joint", drop=True)
    known = [name for name in OF_JOINT if name in bits["quantity"]]
    parts = bits.sel(quantity=known).rename(quantity="part")
    shares = ratio_interval(parts.drop_attrs(), joint, how)
    for name in ("estimate", "low", "high", "degenerate"):
        result[f"share_{name}"] = shares[name]
    return result


def crossed_components(
    distance: xr.DataArray, n_paths: int, n_executions: int, n_renderings: int = 1
) -> xr.DataArray:
    """Variance components of a crossed-noise experiment, `(component, condition, prompt)`.

    Of path, execution and their interaction, in halves of the distance, which is a squared one of
    an embedding; an estimate can be negative. Grid g has path g // n_executions and execution g %
    n_executions, sample s is of grid s // n_renderings. Where a grid has several images, those are
    components of what it is rendered as in expectation, and `rendering` is one more.
    """
    values = distance.transpose("condition", "prompt", "sample", "sample_other").values
    grids = components.rendered(values, n_renderings)
    found = components.crossed(grids.expected, n_paths, n_executions)._asdict()
    if n_renderings > 1:
        found[RENDERING] = grids.within.mean(axis=-1) / 2
    coords = {
        "component": list(found),
        "condition": distance["condition"].values,
        "prompt": distance["prompt"].values,
    }
    stacked = np.stack(list(found.values()))
    return xr.DataArray(stacked, coords, ("component", "condition", "prompt"))


def sobol_shares(variance: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Sobol indices over `share` and condition, with intervals: shares of the variance in [0, 1].

    From `crossed_components`, pooled over prompts: mean components, then their ratio; an estimate
    of a share near 0 can be negative. The rendering, where it draws, is the last of the shares: it
    follows on the tokens, so its interactions are its own. NaN where nothing varies. Source: Sobol' (2001),
    doi:10.1016/S0378-4754(00)00270-6.
    """
    path, execution, interaction = (
        variance.sel(component=name, drop=True) for name in components.Crossed._fields
    )
    whole = path + execution + interaction
    tops = [path, execution, interaction, path + interaction, execution + interaction]
    names = list(SHARES)
    if RENDERING in variance["component"]:
        tops.append(variance.sel(component=RENDERING, drop=True))
        names.append(RENDERING)
        whole = whole + tops[-1]
    stacked = xr.concat(tops, "share", coords="minimal").assign_coords(share=names)
    return ratio_interval(stacked.assign_attrs(units="1"), whole, how)


def paraphrase_budget(
    distance: xr.DataArray, text_index: xr.DataArray, how: Resampling
) -> xr.Dataset:
    """Share of the diversity between paraphrases, of conditions that spread samples over texts.

    `estimate (part, condition)` with interval, of `within` and `between` (mean distances of images
    of one wording and of two), `component` (variance due to the wording) and `share` (component
    over component plus half of `within`). Distances `(condition, prompt, sample, sample_other)`
    are squared ones of an embedding; `text_index (condition, prompt, sample)` says which wording a
    sample was given. Raises IbstatsError where no condition has two wordings in every prompt, or a
    prompt has one image a wording.
    """
    groups = text_index.transpose("condition", "prompt", "sample").values
    several = (groups != groups[..., :1]).any(axis=-1)
    spread = np.flatnonzero(several.all(axis=1))
    if not len(spread):
        raise IbstatsError(
            "no condition spreads the samples of every prompt over two or more paraphrases"
        )
    for prompt, name in enumerate(distance["prompt"].values):
        if any(_all_differ(row) for row in groups[spread, prompt]):
            raise IbstatsError(
                f"prompt '{name}' has one image a paraphrase, so nothing varies within one; sample "
                "more images than paraphrases, for instance twice as many"
            )
    values = distance.transpose("condition", "prompt", "sample", "sample_other").values[spread]
    found = components.grouped(values, groups[spread])
    coords = {"part": list(found._fields), "condition": distance["condition"].values[spread]}
    parts = xr.DataArray(np.stack(found), coords, ("part", "condition", "prompt"))
    component = parts.sel(part=["component"]).assign_coords(part=["share"])
    whole = parts.sel(part="component", drop=True) + parts.sel(part="within", drop=True) / 2
    shares = ratio_interval(component, whole, how)
    return xr.concat([mean_interval(parts, how), shares], "part", combine_attrs="override")


def _all_differ(labels: NDArray[Any]) -> bool:
    """Whether no label stands twice."""
    return len(np.unique(labels)) == len(labels)


def _tightest(bounds: list[xr.DataArray]) -> xr.DataArray:
    """In each condition the bound that is smaller on average: any of them holds in expectation."""
    chosen = bounds[0]
    for bound in bounds[1:]:
        smaller = chosen.mean(("prompt", "sample")) <= bound.mean(("prompt", "sample"))
        chosen = chosen.where(smaller, bound)
    return chosen


def _revises(dataset: xr.Dataset, execution: xr.DataArray) -> bool:
    """Whether tokens change after their reveal.

    Then those that remain cannot account for the whole execution.
    """
    free = dataset["argmax_window"].values == ""
    kept = dataset["token_surprisal"].astype(np.float64).sum(("row", "col"))
    return bool((abs(execution - kept).isel(condition=free) > REVISED).any())


def _drawn_bits(dataset: xr.Dataset, identity: ModelIdentity) -> dict[str, xr.DataArray]:
    """Surprisal and entropy of an image's tokens, summed over those that were drawn.

    `(condition, prompt, sample)`, in bits.
    """
    drawn = ~under_argmax(dataset, identity)
    found = {}
    for name in ("surprisal", "entropy"):
        if f"token_{name}" not in dataset:
            continue
        bits = dataset[f"token_{name}"].astype(np.float64)
        found[name] = bits.where(drawn, 0.0).sum(("row", "col"))
    return found


def _step_counts(token_step: xr.DataArray, n_steps: int) -> NDArray[np.int64]:
    """Images whose position is committed at each step, `(condition, prompt, position, step)`."""
    steps = token_step.transpose("condition", "prompt", "row", "col", "sample").values
    steps = steps.reshape(*steps.shape[:2], -1, steps.shape[-1]).astype(np.int64)
    counts = np.empty((*steps.shape[:-1], n_steps), np.int64)
    for step in range(n_steps):
        counts[..., step] = (steps == step).sum(axis=-1)
    return counts


def _schedule_bits(token_step: xr.DataArray, n_steps: int) -> xr.DataArray:
    """log2 of the number of ordered partitions with the schedule's sizes, N! / (n_1! n_2! ...)."""
    sizes = _step_counts(token_step.isel(sample=slice(0, 1)), n_steps).sum(axis=-2)
    whole = scipy.special.gammaln(sizes.sum(axis=-1) + 1)
    bits = (whole - scipy.special.gammaln(sizes + 1).sum(axis=-1)) / np.log(2)
    like = _by_image(token_step)
    return like.copy(data=np.broadcast_to(bits[..., None], like.shape))


def _by_image(token_step: xr.DataArray) -> xr.DataArray:
    """An array `(condition, prompt, sample)` with the coordinates of these tokens."""
    one = token_step.isel(row=0, col=0, drop=True).astype(np.float64)
    return one.transpose("condition", "prompt", "sample")


def _fitted_path_bits(token_step: xr.DataArray, n_steps: int) -> xr.DataArray:
    """-log2 of each image's path under a model fitted to the prompt's other images.

    An upper bound on H(P|X) in expectation. Positions choose their step independently, each from
    its frequencies in the other images and `PRIOR` images' worth of the schedule. Any model's code
    length bounds the entropy; images of a prompt under the same text share their law, other texts
    make it a looser bound.
    """
    counts = _step_counts(token_step, n_steps)
    n_positions, n_images = counts.shape[-2], token_step.sizes["sample"]
    schedule = counts.sum(axis=-2, keepdims=True) / (n_positions * n_images)
    ordered = token_step.transpose("condition", "prompt", "row", "col", "sample").values
    steps = ordered.astype(np.int64).reshape(*counts.shape[:3], n_images)
    others = np.take_along_axis(counts, steps, axis=-1) - 1
    expected = np.take_along_axis(np.broadcast_to(schedule, counts.shape), steps, axis=-1)
    chance = (others + PRIOR * expected) / (n_images - 1 + PRIOR)
    return _by_image(token_step).copy(data=-np.log2(chance).sum(axis=-2))
