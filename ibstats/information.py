"""What saved tokens say about the codebook: H(Z), H(Z|X), I(X;Z), per position, with coverage (paper, eq. 2).

All entropies are per token, in bits. The unit of resampling is the prompt, never the token. H(Z) is the entropy of a
cell's pooled codes; as a statement about prompts in general it is biased low, by about (spread between prompts) / n,
because a few prompts show fewer codes than all would. Jackknife values per prompt remove that bias and carry its
standard error: intervals, contrasts and tests over prompts are made from them, the estimate shown is the pooled one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError, StoreContractError
from ibstats.kernels import entropy
from ibstats.variables import INFORMATION

LOW_COVERAGE = 0.8
"""Good-Turing coverage below which an entropy leans on its estimator's guess about unseen codes."""

_GRID = ("sample", "row", "col")


def code_counts(tokens: xr.DataArray, n_codes: int, over: tuple[str, ...] = _GRID) -> xr.DataArray:
    """How often each code occurs, counted over the dims named: `(..., code)`."""
    moved = tokens.transpose(..., *over)
    values = moved.values.reshape(*moved.shape[: moved.ndim - len(over)], -1).astype(np.int64)
    if values.size == 0 or values.max() >= n_codes:
        seen = "none" if values.size == 0 else str(values.max())
        raise StoreContractError(
            f"`tokens` holds code {seen}, but codes run 0..{n_codes - 1}; were the special-token offsets removed "
            "before writing?"
        )
    rows = values.reshape(-1, values.shape[-1])
    offset = n_codes * np.arange(len(rows))[:, None]
    counts = np.bincount((rows + offset).ravel(), minlength=len(rows) * n_codes)
    dims = moved.dims[: moved.ndim - len(over)]
    coords = {name: c for name, c in tokens.coords.items() if set(c.dims) <= set(dims)}
    return xr.DataArray(counts.reshape(*values.shape[:-1], n_codes), dims=(*dims, "code"), coords=coords)


def per_prompt(tokens: xr.DataArray, n_codes: int, estimator: str = entropy.DEFAULT) -> xr.Dataset:
    """Per-prompt values of H(Z), H(Z|X), I(X;Z) and utilisation, for intervals and tests over prompts.

    `tokens (condition, prompt, sample, row, col) -> each (condition, prompt)`. Every condition has the same token
    budget by the design of the store; see `rarefy` for stores where it has not.
    """
    counts = code_counts(tokens, n_codes).transpose("condition", "prompt", "code")
    conditional = xr.DataArray(
        entropy.estimate(counts.values, estimator, n_codes),
        dims=("condition", "prompt"),
        coords=_without_code(counts),
    )
    marginal = conditional.copy(data=pooled_values(counts.values, lambda c: entropy.estimate(c, estimator, n_codes)))
    used = conditional.copy(data=pooled_values(counts.values, lambda c: (c > 0).mean(axis=-1)))
    seen = (counts.values.sum(axis=1) > 0).mean(axis=-1)
    used = used - used.mean("prompt") + seen[:, None]  # codes seen are a fact of this sample: nothing to correct
    values = {
        "codebook_entropy": marginal,
        "conditional_entropy": conditional,
        "mutual_information": marginal - conditional,
        "utilisation": used,
    }
    return xr.Dataset(
        {
            name: value.assign_attrs(units=INFORMATION[name].units, long_name=INFORMATION[name].long_name)
            for name, value in values.items()
        },
        attrs={"estimator": estimator},
    )


def _without_code(counts: xr.DataArray) -> dict[str, xr.DataArray]:
    return {str(name): c for name, c in counts.coords.items() if "code" not in c.dims}


def pooled_values(
    counts: NDArray[np.int64], statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Jackknife values of a statistic of pooled counts: `(condition, prompt, code) -> (condition, prompt)`.

    `v_i = n s - (n - 1) s_without_i`. Their mean is s less its bias from the finite number of prompts, their
    spread over root n its standard error. Source: Efron & Tibshirani (1993), chapter 11.
    """
    total = counts.sum(axis=1)
    n = counts.shape[1]
    whole = np.asarray(statistic(total), dtype=np.float64)[:, None]
    if n < 2:
        return whole
    left_out = np.stack([statistic(total - counts[:, i]) for i in range(n)], axis=1)
    return np.asarray(n * whole - (n - 1) * left_out)


def pooled(tokens: xr.DataArray, n_codes: int, estimator: str = entropy.DEFAULT) -> xr.Dataset:
    """H(Z), H(Z|X), I(X;Z) and utilisation of each condition, from the pooled codes of the prompts at hand."""
    counts = code_counts(tokens, n_codes).transpose("condition", "prompt", "code")
    total = counts.values.sum(axis=1)
    marginal = entropy.estimate(total, estimator, n_codes)
    conditional = entropy.estimate(counts.values, estimator, n_codes).mean(axis=1)
    return xr.Dataset(
        {
            "codebook_entropy": ("condition", marginal),
            "conditional_entropy": ("condition", conditional),
            "mutual_information": ("condition", marginal - conditional),
            "utilisation": ("condition", (total > 0).mean(axis=-1)),
        },
        coords={name: c for name, c in _without_code(counts).items() if "prompt" not in c.dims},
        attrs={"estimator": estimator},
    )


def coverage(tokens: xr.DataArray, n_codes: int) -> xr.Dataset:
    """Good-Turing coverage of each condition's pooled codes, and the mean of that of its prompts."""
    counts = code_counts(tokens, n_codes).transpose("condition", "prompt", "code")
    single = entropy.coverage(counts.values).mean(axis=-1)
    pooled = entropy.coverage(counts.values.sum(axis=1))
    return xr.Dataset(
        {"coverage": ("condition", pooled), "coverage_per_prompt": ("condition", single)},
        coords={k: c for k, c in _without_code(counts).items() if "prompt" not in c.dims},
    )


def by_position(tokens: xr.DataArray, n_codes: int, estimator: str = entropy.DEFAULT) -> xr.Dataset:
    """H(Z), H(Z|X) and I(X;Z) of each grid position, and its coverage: `(condition, row, col)`.

    H(Z|X) at one position rests on the few images of a prompt; look at the coverage before reading it.
    """
    pooled = code_counts(tokens, n_codes, over=("prompt", "sample"))
    single = code_counts(tokens, n_codes, over=("sample",)).transpose("prompt", ...)
    dims = pooled.dims[:-1]
    marginal = entropy.estimate(pooled.values, estimator, n_codes)
    conditional = entropy.estimate(single.values, estimator, n_codes).mean(axis=0)
    return xr.Dataset(
        {
            "codebook_entropy": (dims, marginal),
            "conditional_entropy": (dims, conditional),
            "mutual_information": (dims, marginal - conditional),
            "coverage": (dims, entropy.coverage(pooled.values)),
        },
        coords=_without_code(pooled),
        attrs={"estimator": estimator, "units": "bit"},
    )


def shuffle_test(tokens: xr.DataArray, n_codes: int, *, n_shuffles: int, seed: int) -> xr.Dataset:
    """Label-shuffle test of I(X;Z) = 0 per condition: images change prompts at random, all else stays.

    The statistic is the plug-in I, which has the same bias in every shuffle. `null_mean` is the size of that bias
    when I = 0; subtracting it from an estimate over-corrects when I > 0, so nothing here does.
    """
    rng = np.random.default_rng(seed)
    values = tokens.transpose("condition", "prompt", "sample", ...).values
    n_conditions, n_prompts, n_samples = values.shape[:3]
    images = values.reshape(n_conditions, n_prompts * n_samples, -1).astype(np.int64)
    labels = np.repeat(np.arange(n_prompts), n_samples)
    p, mean = np.empty(n_conditions), np.empty(n_conditions)
    for condition, codes in enumerate(images):
        observed = _mean_plugin_conditional(codes, labels, n_prompts, n_codes)
        null = np.array(
            [_mean_plugin_conditional(codes, rng.permutation(labels), n_prompts, n_codes) for _ in range(n_shuffles)]
        )
        pooled = float(entropy.estimate(np.bincount(codes.ravel(), minlength=n_codes), "plugin"))
        # H(Z) is the same in every shuffle, so a large I is a small H(Z|X)
        p[condition] = (1 + (null <= observed + 1e-12).sum()) / (1 + n_shuffles)
        mean[condition] = pooled - null.mean()
    coords = {name: c for name, c in tokens.coords.items() if set(c.dims) <= {"condition"}}
    return xr.Dataset(
        {"p": ("condition", p), "null_mean": ("condition", mean)},
        coords=coords,
        attrs={"n_shuffles": n_shuffles, "seed": seed},
    )


def _mean_plugin_conditional(
    codes: NDArray[np.int64], labels: NDArray[np.int64], n_prompts: int, n_codes: int
) -> float:
    """Plug-in H(Z|X) in bits of codes (image, position) under a labelling of the images; prompts weigh alike."""
    counts = np.bincount((codes + n_codes * labels[:, None]).ravel(), minlength=n_prompts * n_codes)
    seen = counts[counts > 0].astype(float)
    per_prompt = codes.size / n_prompts
    return float(np.log2(per_prompt) - (seen * np.log2(seen)).sum() / codes.size)


def rarefy(tokens: xr.DataArray, n_samples: int, seed: int) -> xr.DataArray:
    """The same number of images from every prompt and condition, drawn without replacement: equal token budgets."""
    have = tokens.sizes["sample"]
    if not 1 <= n_samples <= have:
        raise IbstatsError(f"{n_samples} images per prompt were asked for, but the store has {have}")
    chosen = np.sort(np.random.default_rng(seed).permutation(have)[:n_samples])
    return tokens.isel(sample=chosen)


def coverage_warnings(coverages: xr.Dataset, where: str) -> list[str]:
    """One line per condition whose coverage is too low to trust an entropy."""
    lines = []
    for name in ("coverage", "coverage_per_prompt"):
        for condition, value in zip(coverages["condition"].values, coverages[name].values, strict=True):
            if value < LOW_COVERAGE:
                lines.append(
                    f"{where}: {INFORMATION[name].long_name} is {value:.2f} in '{condition}', below {LOW_COVERAGE}: "
                    "its entropy leans on unseen codes; use more images or prompts"
                )
    return lines
