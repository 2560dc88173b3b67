"""What saved tokens say about the codebook: H(Z), H(Z|X), I(X;Z), per position, with coverage (paper, eq. 2).

All entropies are per token, in bits. The unit of resampling is the prompt, never the token. H(Z) is the entropy of a
cell's pooled codes; as a statement about prompts in general it is biased low, by about (spread between prompts) / n,
because a few prompts show fewer codes than all would. Jackknife values per prompt remove that bias and carry its
standard error: intervals, contrasts and tests over prompts are made from them, the estimate shown is the pooled one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError, StoreContractError
from ibstats.kernels import entropy
from ibstats.variables import INFORMATION

LOW_COVERAGE = 0.8
"""Good-Turing coverage below which an entropy leans on its estimator's guess about unseen codes."""

QUANTITIES = ("codebook_entropy", "conditional_entropy", "mutual_information", "utilisation")

POOLED_NOTE = (
    "estimates of H(Z) are of the pooled codes of these prompts, intervals of prompts in general: few prompts show "
    "fewer codes than all would, so an interval may lie above its estimate"
)
"""What is to be known of the pooled quantities, as every output states it."""

CHANGE_NOTE = (
    "a change of H(Z) in prompts in general, from jackknife values: not the difference of the estimates shown, which "
    "are of the pooled codes of these prompts"
)
"""What is to be known of the effects on pooled quantities."""

POOLED = ("codebook_entropy", "mutual_information", "perplexity")

AT_ONCE = 1 << 22
"""Tokens or counts handled at a time. Memory is a few times this, plus one condition's tokens as they are stored."""

Tokens = NDArray[np.integer[Any]]
Counts = NDArray[np.int64]


def _grids(tokens: xr.DataArray, n_codes: int) -> Iterator[Tokens]:
    """Tokens of one condition after another, `(prompt, sample, position)`, read when they are needed."""
    ordered = tokens.transpose("condition", "prompt", "sample", "row", "col")
    for condition in range(ordered.sizes["condition"]):
        values = ordered.isel(condition=condition).values
        if values.size == 0 or values.max() >= n_codes:
            seen = "none" if values.size == 0 else str(values.max())
            raise StoreContractError(
                f"`tokens` holds code {seen}, but codes run 0..{n_codes - 1}; were the special-token offsets removed "
                "before writing?"
            )
        yield values.reshape(*values.shape[:2], -1)


def _allowed(tokens: xr.DataArray, n_codes: int, usable: Sequence[int] | None) -> Sequence[int]:
    """Number of codes that each condition may use: what estimators take for the size of its alphabet."""
    return [n_codes] * tokens.sizes["condition"] if usable is None else usable


def _count(rows: Tokens, n_codes: int) -> Counts:
    """How often each code occurs in each row: `(row, n) -> (row, code)`."""
    offset = n_codes * np.arange(len(rows), dtype=np.int64)[:, None]
    return np.bincount((rows + offset).ravel(), minlength=len(rows) * n_codes).reshape(
        len(rows), n_codes
    )


def _count_rows(rows: Tokens, n_codes: int) -> Iterator[Counts]:
    """Counts of each row, as many rows at a time as memory allows."""
    step = max(1, AT_ONCE // max(n_codes, rows.shape[1]))
    for start in range(0, len(rows), step):
        yield _count(rows[start : start + step], n_codes)


def _pooled_counts(grids: Tokens, n_codes: int) -> Counts:
    """Counts over everything, `(code,)`."""
    total = np.zeros(n_codes, dtype=np.int64)
    for prompt in grids:
        total += np.bincount(prompt.ravel(), minlength=n_codes)
    return total


def _labelled(
    tokens: xr.DataArray, columns: dict[str, list[Any]], dims: tuple[str, ...], **attrs: Any
) -> xr.Dataset:
    """Columns of values as variables, with the coordinates of the tokens that fit their dims."""
    coords = {name: c for name, c in tokens.coords.items() if set(c.dims) <= set(dims)}
    variables = {}
    for name, column in columns.items():
        meaning = INFORMATION.get(name)
        described = {"units": meaning.units, "long_name": meaning.long_name} if meaning else {}
        variables[name] = (dims, np.stack(column), described)
    return xr.Dataset(variables, coords, attrs)


def per_prompt(
    tokens: xr.DataArray,
    n_codes: int,
    estimator: str = entropy.DEFAULT,
    usable: Sequence[int] | None = None,
) -> xr.Dataset:
    """Per-prompt values of H(Z), H(Z|X), I(X;Z) and utilisation, for intervals and tests over prompts.

    `tokens (condition, prompt, sample, row, col) -> each (condition, prompt)`. Every condition has the same token
    budget by the design of the store; see `rarefy` for stores where it has not. H(Z) and utilisation are jackknife
    values `v_i = n s - (n - 1) s_without_i` of the pooled statistic s: their mean is s less its bias from the finite
    number of prompts, their spread over root n its standard error. Source: Efron & Tibshirani (1993), chapter 11.
    `usable` is the number of codes that each condition may use, where a subset has fewer than the codebook: estimators
    that know the size of the alphabet would else put mass on codes that cannot occur. Utilisation is of all `n_codes`.
    """
    columns: dict[str, list[Any]] = {name: [] for name in QUANTITIES}
    for grids, size in zip(_grids(tokens, n_codes), _allowed(tokens, n_codes, usable), strict=True):
        n = len(grids)
        total = _pooled_counts(grids, n_codes)
        conditional, without, unused = [], [], []
        for counts in _count_rows(grids.reshape(n, -1), n_codes):
            conditional.append(entropy.estimate(counts, estimator, size))
            if n > 1:
                without.append(entropy.estimate(total - counts, estimator, size))
                unused.append((total == counts).mean(axis=-1))
        given = np.concatenate(conditional)
        marginal = np.full(n, entropy.estimate(total, estimator, size))
        used = np.full(n, (total > 0).mean())
        if n > 1:
            marginal = n * marginal - (n - 1) * np.concatenate(without)
            used = n * used - (n - 1) * (1 - np.concatenate(unused))
            used += (
                total > 0
            ).mean() - used.mean()  # codes seen are a fact of this sample: nothing to correct
        for name, column in zip(QUANTITIES, (marginal, given, marginal - given, used), strict=True):
            columns[name].append(column)
    return _labelled(tokens, columns, ("condition", "prompt"), estimator=estimator)


def pooled(
    tokens: xr.DataArray,
    n_codes: int,
    estimator: str = entropy.DEFAULT,
    usable: Sequence[int] | None = None,
) -> xr.Dataset:
    """H(Z), H(Z|X), I(X;Z) and utilisation of each condition, from the pooled codes of the prompts at hand.

    `usable` as in `per_prompt`.
    """
    columns: dict[str, list[Any]] = {name: [] for name in QUANTITIES}
    for grids, size in zip(_grids(tokens, n_codes), _allowed(tokens, n_codes, usable), strict=True):
        total = _pooled_counts(grids, n_codes)
        marginal = float(entropy.estimate(total, estimator, size))
        single = [
            entropy.estimate(c, estimator, size)
            for c in _count_rows(grids.reshape(len(grids), -1), n_codes)
        ]
        given = float(np.concatenate(single).mean())
        for name, value in zip(
            QUANTITIES, (marginal, given, marginal - given, (total > 0).mean()), strict=True
        ):
            columns[name].append(value)
    return _labelled(tokens, columns, ("condition",), estimator=estimator)


def coverage(tokens: xr.DataArray, n_codes: int) -> xr.Dataset:
    """Good-Turing coverage of each condition's pooled codes, and the mean of that of its prompts."""
    columns: dict[str, list[Any]] = {"coverage": [], "coverage_per_prompt": []}
    for grids in _grids(tokens, n_codes):
        single = [
            entropy.coverage(counts)
            for counts in _count_rows(grids.reshape(len(grids), -1), n_codes)
        ]
        columns["coverage"].append(entropy.coverage(_pooled_counts(grids, n_codes)))
        columns["coverage_per_prompt"].append(np.concatenate(single).mean())
    return _labelled(tokens, columns, ("condition",))


def by_position(
    tokens: xr.DataArray,
    n_codes: int,
    estimator: str = entropy.DEFAULT,
    usable: Sequence[int] | None = None,
) -> xr.Dataset:
    """H(Z), H(Z|X) and I(X;Z) of each grid position, and its coverage: `(condition, row, col)`.

    H(Z|X) at one position rests on the few images of a prompt; look at the coverage before reading it.
    `usable` as in `per_prompt`.
    """
    shape = (tokens.sizes["row"], tokens.sizes["col"])
    columns: dict[str, list[Any]] = {name: [] for name in (*QUANTITIES[:3], "coverage")}
    for grids, size in zip(_grids(tokens, n_codes), _allowed(tokens, n_codes, usable), strict=True):
        marginal, covered = [], []
        for counts in _count_rows(np.moveaxis(grids, 2, 0).reshape(grids.shape[2], -1), n_codes):
            marginal.append(entropy.estimate(counts, estimator, size))
            covered.append(entropy.coverage(counts))
        given = np.zeros(grids.shape[2])
        step = max(1, AT_ONCE // grids[0].size)
        for start in range(0, len(grids), step):
            groups = entropy.group_counts(np.moveaxis(grids[start : start + step], 1, 2))
            given += entropy.estimate(groups, estimator, size).sum(axis=0)
        given /= len(grids)
        total = np.concatenate(marginal)
        values = (total, given, total - given, np.concatenate(covered))
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value.reshape(shape))
    return _labelled(tokens, columns, ("condition", "row", "col"), estimator=estimator, units="bit")


def by_bit(
    tokens: xr.DataArray,
    n_codes: int,
    estimator: str = entropy.DEFAULT,
    usable: Sequence[int] | None = None,
) -> xr.Dataset:
    """H of each bit of the codes, and how far their sum exceeds H(Z): for quantizers whose bits are channels (LFQ).

    Jackknife values per prompt, as `per_prompt` has them: `bit_0_entropy` (the most significant bit), ...,
    `bit_redundancy`, each `(condition, prompt)` in bits. Redundancy is the total correlation of the bits (Watanabe
    1960), 0 when they are independent; below 0 only by estimation error. Paper, section 3.3.
    `usable` as in `per_prompt`.
    """
    n_bits = (n_codes - 1).bit_length()
    if n_codes != 1 << n_bits:
        raise StoreContractError(
            f"a codebook of {n_codes} codes has no bits of its own: LFQ has a power of two"
        )
    marginal = per_prompt(tokens, n_codes, estimator, usable)["codebook_entropy"]
    bits = {
        f"bit_{bit}_entropy": per_prompt(tokens >> (n_bits - 1 - bit) & 1, 2, estimator)[
            "codebook_entropy"
        ]
        for bit in range(n_bits)
    }
    total = sum(bits.values(), xr.zeros_like(marginal))
    return xr.Dataset(bits | {"bit_redundancy": total - marginal}, attrs={"estimator": estimator})


def shuffle_test(tokens: xr.DataArray, n_codes: int, *, n_shuffles: int, seed: int) -> xr.Dataset:
    """Label-shuffle test of I(X;Z) = 0 per condition: images change prompts at random, all else stays.

    The statistic is the plug-in I, which has the same bias in every shuffle. `null_mean` is the size of that bias
    when I = 0; subtracting it from an estimate over-corrects when I > 0, so nothing here does.
    """
    rng = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {"p": [], "null_mean": []}
    for grids in _grids(tokens, n_codes):
        counts = _image_counts(grids.reshape(-1, grids.shape[2]), n_codes)
        in_place = np.arange(counts.shape[0])
        observed = _mean_plugin_conditional(counts, in_place, len(grids))
        null = np.array(
            [
                _mean_plugin_conditional(counts, rng.permutation(in_place), len(grids))
                for _ in range(n_shuffles)
            ]
        )
        total = float(entropy.estimate(np.asarray(counts.sum(axis=0)).ravel(), "plugin"))
        # H(Z) is the same in every shuffle, so a large I is a small H(Z|X)
        columns["p"].append((1 + (null <= observed + 1e-12).sum()) / (1 + n_shuffles))
        columns["null_mean"].append(total - null.mean())
    return _labelled(tokens, columns, ("condition",), n_shuffles=n_shuffles, seed=seed)


def _image_counts(images: Tokens, n_codes: int) -> Any:
    """How often each code occurs in each image, a sparse `(image, code)`."""
    parts = []
    step = max(1, AT_ONCE // images.shape[1])
    for start in range(0, len(images), step):
        rows = images[start : start + step]
        ends = np.arange(0, rows.size + 1, rows.shape[1])
        part = scipy.sparse.csr_array(
            (np.ones(rows.size, np.int32), rows.ravel(), ends), shape=(len(rows), n_codes)
        )
        part.sum_duplicates()
        parts.append(part)
    return scipy.sparse.vstack(parts, format="csr")


def _mean_plugin_conditional(counts: Any, order: NDArray[np.int64], n_prompts: int) -> float:
    """Plug-in H(Z|X) in bits when images with these codes are dealt, in that order, to the prompts in turn."""
    dealt = order.reshape(n_prompts, -1)
    per_prompt = int(counts.sum()) // n_prompts
    count = np.arange(per_prompt + 1)
    count_log_count = scipy.special.xlogy(count, count) / np.log(2)
    total = 0.0
    step = max(1, n_prompts * AT_ONCE // counts.nnz)
    for start in range(0, n_prompts, step):
        images = dealt[start : start + step]
        ends = np.arange(0, images.size + 1, images.shape[1])
        ones = np.ones(images.size, np.int32)
        deal = scipy.sparse.csr_array(
            (ones, images.ravel(), ends), shape=(len(images), counts.shape[0])
        )
        total += float(count_log_count[(deal @ counts).data].sum())
    return float(np.log2(per_prompt) - total / (per_prompt * n_prompts))


def rarefy(tokens: xr.DataArray, n_samples: int, seed: int) -> xr.DataArray:
    """The same number of images from every prompt and condition, drawn without replacement: equal token budgets."""
    have = tokens.sizes["sample"]
    if not 1 <= n_samples <= have:
        raise IbstatsError(
            f"{n_samples} images per prompt were asked for, but the store has {have}"
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(have)[:n_samples])
    return tokens.isel(sample=chosen)


def coverage_warnings(coverages: xr.Dataset, where: str) -> list[str]:
    """One line per condition whose coverage is too low to trust an entropy."""
    lines = []
    for name in ("coverage", "coverage_per_prompt"):
        for condition, value in zip(
            coverages["condition"].values, coverages[name].values, strict=True
        ):
            if value < LOW_COVERAGE:
                lines.append(
                    f"{where}: {INFORMATION[name].long_name} is {value:.2f} in '{condition}', below {LOW_COVERAGE}: "
                    "its entropy leans on unseen codes; use more images or prompts"
                )
    return lines
