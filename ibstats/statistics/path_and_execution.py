"""The entropy ledger: path and execution, from saved surprisals and from crossed noise (paper, eq. 2-8).

With P the path (which positions change at each step) and Z the tokens, a trace measures the joint entropy
`H(P,Z|X) = A + B`, A the causal path entropy `sum_t H(S_t | s_t)` and B the causal execution entropy
`sum_t H(z_{S_t} | S_t, s_t)`. A is at most H(P|X), by the directed information from tokens to path, and B at least
H(Z|P,X). Everything is per image, in bits, and conditional on the text a sample was made from.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError
from ibstats.kernels import crossed as components
from ibstats.statistics.uncertainty import Resampling, mean_interval
from ibstats.statistics.windows import under_argmax
from ibstats.variables import Quantity

if TYPE_CHECKING:
    from schemas.provenance import ModelIdentity

LEDGER: dict[str, Quantity] = {
    "path_causal": Quantity("A, causal path entropy; at most H(P|X)", "bit"),
    "path_given_candidates": Quantity(
        "A', path entropy given the candidate tokens; at most A", "bit"
    ),
    "execution_causal": Quantity("B, causal execution entropy; at least H(Z|P,X)", "bit"),
    "execution_marginal": Quantity(
        "B', surprisal of tokens when they are drawn; at least B", "bit"
    ),
    "joint": Quantity("A + B, joint entropy of path and tokens H(P,Z|X)", "bit"),
    "tokens": Quantity("H(Z|X) by surprisal", "bit"),
    "tokens_rao_blackwell": Quantity("H(Z|X) by the entropies of the laws drawn from", "bit"),
    "tokens_lower": Quantity("H(Z|X) is at least this, by rescored paths", "bit"),
    "tokens_upper": Quantity("H(Z|X) is at most this, by rescored paths", "bit"),
    "path_upper_fitted": Quantity(
        "upper bound on H(P|X): held-out code length of a fitted path model", "bit"
    ),
    "path_upper_schedule": Quantity(
        "upper bound on H(P|X): log2 of the paths the schedule allows", "bit"
    ),
    "path_upper_trajectory": Quantity(
        "upper bound on H(P|X): the whole trajectory, which fixes the path", "bit"
    ),
    "residual_lower": Quantity("lower bound on the residual H(P|Z,X), by rescored paths", "bit"),
    "residual_upper": Quantity(
        "upper bound on the residual H(P|Z,X): the smaller bound on H(P|X)", "bit"
    ),
    "directed_upper": Quantity("upper bound on the directed information H(P|X) - A", "bit"),
    "trajectory_path": Quantity("path entropy if the whole trajectory z_T..z_1 is the path", "bit"),
    "trajectory_execution": Quantity(
        "execution entropy H(z_0|z_1,X) if the trajectory is the path", "bit"
    ),
}
"""Quantities of the ledger by name; a model has those that its traces allow."""

SHARES = ("path", "execution", "interaction", "path_total", "execution_total")
"""Sobol indices of crossed noise: first order, their interaction, and totals (with the interaction)."""

REVISED = 0.05
"""Bits of execution that the last tokens of an image may miss by rounding."""
ROUNDING = 1e-3
"""Bits of an image that single precision may miss."""
PRIOR = 2.0
"""Images' worth of the schedule in the fitted path model."""


def ledger(dataset: xr.Dataset, identity: ModelIdentity) -> xr.DataArray:
    """Entropies of each prompt and condition, `(quantity, condition, prompt)`, from one experiment's saved arrays.

    Under argmax a token is fixed by its state, so it adds nothing to the execution; tokens outside the argmax window
    count in full.
    """
    drawn = _drawn_bits(dataset, identity)
    found: dict[str, xr.DataArray] = {}
    if identity.family == "autoregressive":
        zero = xr.zeros_like(drawn["surprisal"])
        found = dict.fromkeys(("path_causal", "path_given_candidates", "path_upper_schedule"), zero)
        found |= dict.fromkeys(
            ("execution_causal", "execution_marginal", "joint", "tokens"), drawn["surprisal"]
        )
        found["tokens_rao_blackwell"] = drawn["entropy"]
    else:
        if "path_surprisal" in dataset:
            given = dataset["path_surprisal"].attrs.get("given", "state")
            path = dataset["path_surprisal"].astype(np.float64).sum("step")
            found["path_causal" if given == "state" else "path_given_candidates"] = path
        if "joint_surprisal" in dataset:
            joint = dataset["joint_surprisal"].astype(np.float64).sum("step")
            found |= {"joint": joint, "execution_causal": joint - found["path_causal"]}
        if identity.family == "masked":
            found["execution_marginal"] = drawn["surprisal"]
            found["path_upper_fitted"] = _fitted_path_bits(dataset["token_step"], identity.steps)
            found["path_upper_schedule"] = _schedule_bits(dataset["token_step"], identity.steps)
        if identity.family == "diffusion" and "joint_surprisal" in dataset:
            last = dataset["joint_surprisal"].isel(step=-1).astype(np.float64)
            found |= {"trajectory_execution": last, "trajectory_path": found["joint"] - last}
            if _revises(dataset, found["execution_causal"]):
                found["path_upper_trajectory"] = found["joint"]
            else:  # the path does not depend on the tokens
                found["path_upper_schedule"] = found["path_causal"]
    bounds = [found[name] for name in LEDGER if name.startswith("path_upper") and name in found]
    if bounds:
        found["residual_upper"] = _tightest(bounds)
        if "path_causal" in found:
            found["directed_upper"] = found["residual_upper"] - found["path_causal"]
    names = [name for name in LEDGER if name in found]
    bits = [
        _without_rounding(found[name].mean("sample").transpose("condition", "prompt").values)
        for name in names
    ]
    by_cell = {
        name: c
        for name, c in dataset["text_index"].coords.items()
        if set(c.dims) <= {"condition", "prompt"}
    }
    return xr.DataArray(
        np.stack(bits)
        if bits
        else np.empty((0, dataset.sizes["condition"], dataset.sizes["prompt"])),
        dims=("quantity", "condition", "prompt"),
        coords=by_cell | {"quantity": names},
        attrs={
            "units": "bit",
            "long_name": "entropy per image",
            "n_tokens": int(np.prod(identity.grid)),
            "remarks": json.dumps(remarks(dataset, identity, found)),
        },
    )


def _without_rounding(bits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bits `(condition, prompt)`, made equal where they differ by rounding alone, as in a closed form."""
    spread = bits.max(axis=1, keepdims=True) - bits.min(axis=1, keepdims=True)
    return np.where(spread < ROUNDING, bits.mean(axis=1, keepdims=True), bits)


def remarks(dataset: xr.Dataset, identity: ModelIdentity, found: Collection[str]) -> dict[str, str]:
    """By quantity, why it is undefined or means something else than its name says."""
    said: dict[str, str] = {}
    if identity.family != "autoregressive" and "joint" not in found:
        recorded = "path_given_candidates" in found
        of_masked = "sample with `path_surprisal: exact`, or use `ibgenerate rescore`"
        reason = f"only the path given the candidates was recorded: {of_masked}" if recorded else (
            f"no path surprisal was recorded: {of_masked}" if identity.family == "masked" else
            "no path surprisal was recorded"
        )  # fmt: skip
        said |= dict.fromkeys(("path_causal", "execution_causal", "joint"), reason)
    if "path_upper_trajectory" in found:
        said["joint"] = (
            "tokens are revised after their reveal, and A + B counts every revision: it is the entropy of the whole "
            "trajectory and at least H(P,Z|X)"
        )
        said["path_upper_trajectory"] = said["residual_upper"] = (
            "tokens are revised, so the path depends on them and no closed form of H(P|X) exists; the bound is loose"
        )
    return said


def ledger_intervals(bits: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Means over prompts with intervals, `(quantity, condition)`, and `share` of the joint entropy for A and B."""
    result = mean_interval(bits, how).assign_attrs(bits.attrs)
    if "joint" not in bits["quantity"]:
        return result
    joint = bits.sel(quantity="joint").transpose("prompt", "condition").values
    share = np.stack(
        [
            components.ratio_values(
                bits.sel(quantity=name).transpose("prompt", "condition").values, joint
            )
            for name in ("path_causal", "execution_causal")
        ]
    )
    values = xr.DataArray(
        share,
        dims=("part", "prompt", "condition"),
        coords={"part": ["path_causal", "execution_causal"], "condition": bits["condition"]},
    )
    shares = mean_interval(values, how)
    return result.assign(
        {f"share_{name}": shares[name] for name in ("estimate", "low", "high", "degenerate")}
    )


def crossed_components(distance: xr.DataArray, n_paths: int, n_executions: int) -> xr.DataArray:
    """Variance components `(component, condition, prompt)` of a crossed-noise experiment, in halves of the distance."""
    found = components.crossed(
        distance.transpose("condition", "prompt", "sample", "sample_other").values,
        n_paths,
        n_executions,
    )
    coords = {name: distance[name].values for name in ("condition", "prompt")}
    return xr.DataArray(
        np.stack(found),
        dims=("component", "condition", "prompt"),
        coords={"component": list(found._fields)} | coords,
    )


def sobol_shares(variance: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Sobol indices over `share`, pooled over prompts (mean components, then their ratio), with intervals.

    NaN where nothing varies. Source: Sobol' (2001), doi:10.1016/S0378-4754(00)00270-6.
    """
    part = {str(name): variance.sel(component=name).transpose("prompt", "condition").values
            for name in variance["component"].values}  # fmt: skip
    whole = part["path"] + part["execution"] + part["interaction"]
    tops = {**part, "path_total": part["path"] + part["interaction"]}
    tops["execution_total"] = part["execution"] + part["interaction"]
    values = np.stack([components.ratio_values(tops[name], whole) for name in SHARES])
    shares = xr.DataArray(
        values,
        dims=("share", "prompt", "condition"),
        coords={"share": list(SHARES), "condition": variance["condition"].values},
        attrs={"units": "1"},
    )
    return mean_interval(shares, how)


def paraphrase_budget(
    distance: xr.DataArray, text_index: xr.DataArray, how: Resampling
) -> xr.Dataset:
    """Share of the diversity between paraphrases, of the conditions that spread samples over several texts.

    `estimate (part, condition)` of `within` and `between` (mean distances), `component` (variance due to the wording)
    and `share` (component over component plus half of `within`). Distances are squared ones of an embedding.
    """
    groups = text_index.transpose("condition", "prompt", "sample").values
    spread = [i for i, cell in enumerate(groups) if all(len(set(row.tolist())) > 1 for row in cell)]
    if not spread:
        raise IbstatsError(
            "no condition spreads the samples of every prompt over two or more paraphrases"
        )
    prompts = distance["prompt"].values
    single = [str(prompts[i]) for i in range(len(prompts)) if _all_differ(groups[spread, i])]
    if single:
        raise IbstatsError(
            f"prompt '{single[0]}' has one image a paraphrase, so nothing varies within one; sample more images than "
            "paraphrases, for instance twice as many"
        )
    values = distance.transpose("condition", "prompt", "sample", "sample_other").values[spread]
    found = components.grouped(values, groups[spread])
    share = components.ratio_values(found.component.T, (found.component + found.within / 2).T).T
    parts = xr.DataArray(
        np.stack([*found, share]),
        dims=("part", "condition", "prompt"),
        coords={
            "part": [*found._fields, "share"],
            "condition": distance["condition"].values[spread],
        },
    )
    return mean_interval(parts, how)


def _all_differ(labels: NDArray[Any]) -> bool:
    """Whether in some row (condition, sample) no label stands twice."""
    return any(len(set(row.tolist())) == len(row) for row in labels)


def _tightest(bounds: list[xr.DataArray]) -> xr.DataArray:
    """In each condition the bound that is smaller on average: any of them holds in expectation."""
    chosen = bounds[0]
    for bound in bounds[1:]:
        chosen = chosen.where(
            chosen.mean(("prompt", "sample")) <= bound.mean(("prompt", "sample")), bound
        )
    return chosen


def _revises(dataset: xr.Dataset, execution: xr.DataArray) -> bool:
    """Whether tokens change after their reveal: then those that remain cannot account for the whole execution."""
    free = dataset["argmax_window"].values == ""
    kept = dataset["token_surprisal"].astype(np.float64).sum(("row", "col"))
    return bool((abs(execution - kept).isel(condition=free) > REVISED).any())


def _drawn_bits(dataset: xr.Dataset, identity: ModelIdentity) -> dict[str, xr.DataArray]:
    """Surprisal and entropy of an image's tokens, summed over those that were drawn, `(condition, prompt, sample)`."""
    drawn = ~under_argmax(dataset, identity)
    return {
        name: dataset[f"token_{name}"].astype(np.float64).where(drawn, 0.0).sum(("row", "col"))
        for name in ("surprisal", "entropy")
    }


def _step_counts(token_step: xr.DataArray, n_steps: int) -> NDArray[np.int64]:
    """Images whose position is committed at each step, `(condition, prompt, position, step)`."""
    steps = token_step.transpose("condition", "prompt", "row", "col", "sample").values
    steps = steps.reshape(*steps.shape[:2], -1, steps.shape[-1]).astype(np.int64)
    return np.stack([(steps == step).sum(axis=-1) for step in range(n_steps)], axis=-1)


def _schedule_bits(token_step: xr.DataArray, n_steps: int) -> xr.DataArray:
    """log2 of the number of ordered partitions with the schedule's sizes, N! / (n_1! n_2! ...)."""
    like = token_step.isel(row=0, col=0, drop=True).astype(np.float64)
    sizes = _step_counts(token_step.isel(sample=slice(0, 1)), n_steps).sum(axis=-2)
    bits = (
        scipy.special.gammaln(sizes.sum(axis=-1) + 1)
        - scipy.special.gammaln(sizes + 1).sum(axis=-1)
    ) / np.log(2)
    return like.transpose("condition", "prompt", "sample").copy(
        data=np.broadcast_to(bits[..., None], like.shape)
    )


def _fitted_path_bits(token_step: xr.DataArray, n_steps: int) -> xr.DataArray:
    """-log2 of each image's path under a model fitted to the prompt's other images; an upper bound in expectation.

    Positions choose their step independently, each from its frequencies in the other images and `PRIOR` images' worth
    of the schedule. Any model's code length bounds the entropy; images of a prompt under the same text share their law,
    other texts make it a looser bound.
    """
    counts = _step_counts(token_step, n_steps)
    n_positions, n_images = counts.shape[-2], token_step.sizes["sample"]
    schedule = counts.sum(axis=-2, keepdims=True) / (n_positions * n_images)
    steps = token_step.transpose("condition", "prompt", "row", "col", "sample").values.astype(
        np.int64
    )
    steps = steps.reshape(*counts.shape[:3], n_images)
    others = np.take_along_axis(counts, steps, axis=-1) - 1
    expected = np.take_along_axis(np.broadcast_to(schedule, counts.shape), steps, axis=-1)
    chance = (others + PRIOR * expected) / (n_images - 1 + PRIOR)
    like = token_step.isel(row=0, col=0, drop=True).astype(np.float64)
    return like.transpose("condition", "prompt", "sample").copy(data=-np.log2(chance).sum(axis=-2))
