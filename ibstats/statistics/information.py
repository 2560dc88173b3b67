"""What saved tokens say about the codebook: H(Z), H(Z|X), I(X;Z), with coverage (paper, eq. 2).

All entropies are per token, in bits. The unit of resampling is the prompt, never the token. Few
prompts show fewer codes than all would, and few images of a prompt fewer than it would in many, so
the entropy of the codes at hand is too low: H(Z) by about (spread between prompts) / n, H(Z|X) by
(spread between a prompt's images) / m. Jackknife values remove the bias in 1/n and 1/m: estimates,
intervals, contrasts and tests over prompts are all made from them. What is left of it depends on
the mass of codes not seen (`ibstats.statistics.unseen`), so questions of the kind "does
information change" go to the collision entropies, which have none
(`ibstats.statistics.collision`).

Each statistic is a function of the tokens; `measure` makes several from one counting of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError, StoreContractError
from ibstats.kernels import entropy
from ibstats.statistics import collision, counting, unseen
from ibstats.statistics.counting import Counted, labelled

Array = NDArray[np.float64]

QUANTITIES = ("codebook_entropy", "conditional_entropy", "mutual_information", "utilisation")


class _Estimated:
    """Entropies of one condition's counts, each made once."""

    def __init__(
        self, counted: Counted, estimator: str, size: int, levels: Sequence[int] = ()
    ) -> None:
        self.counted = counted
        self.estimator = estimator
        self.size = size
        self.levels = tuple(levels)
        self.known: dict[str, Array] = {}

    def entropy(self, counts: NDArray[Any]) -> Array:
        """Entropy of counts over the codes that the condition may use, in bits."""
        return entropy.estimate(counts, self.estimator, self.size)

    @cached_property
    def marginal(self) -> float:
        """H(Z) of the pooled codes."""
        return float(self.entropy(self.counted.total))

    @cached_property
    def used(self) -> float:
        """Share of the codebook seen."""
        return float((self.counted.total > 0).mean())

    @cached_property
    def given(self) -> Array:
        """H(Z|X) of each prompt: jackknife over its images, which are the unit there."""
        found = []
        for images in self.counted.blocks_of_images():
            total = images.sum(axis=1)
            given = self.entropy(total)
            if images.shape[1] > 1:
                without = self.entropy(total[:, None] - images)
                given = _jackknife(given[:, None], without).mean(axis=1)
            found.append(given)
        return np.concatenate(found)

    def each_prompt(self, *wanted: str) -> list[Array]:
        """By prompt: `plain`, `covered`, entropy and coverage of its codes; `without`, `unused`.

        The last two are the entropy of all other prompts, and the share of codes they do not use.
        What is made once is kept; what is new is made in one pass over the counts.
        """
        new = [name for name in wanted if name not in self.known]
        found: dict[str, list[Array]] = {name: [] for name in new}
        if new:
            for counts in self.counted.prompts():
                for name in new:
                    found[name].append(self._of_counts(name, counts))
        for name, parts in found.items():
            self.known[name] = np.concatenate(parts)
        return [self.known[name] for name in wanted]

    def _of_counts(self, name: str, counts: NDArray[Any]) -> Array:
        """One number a prompt, of the counts of some prompts."""
        if name == "plain":
            return self.entropy(counts)
        if name == "covered":
            return entropy.coverage(counts)
        if name == "without":
            return self.entropy(self.counted.total - counts)
        return np.asarray((self.counted.total == counts).mean(axis=-1))


def _jackknife(whole: float | Array, without: Array) -> Array:
    """Pseudo-values of a statistic of all units, from its values without each, `(..., unit)`."""
    n = without.shape[-1]
    return np.asarray(n * whole - (n - 1) * without)


def _per_prompt(one: _Estimated) -> dict[str, Array]:
    n = one.counted.n_prompts
    marginal, used = np.full(n, one.marginal), np.full(n, one.used)
    if n > 1:
        without, unused = one.each_prompt("without", "unused")
        marginal = _jackknife(one.marginal, without)
        used = _jackknife(one.used, 1 - unused)
        # codes seen are a fact of this sample: nothing to correct
        used += one.used - used.mean()
    values = (marginal, one.given, marginal - one.given, used)
    return dict(zip(QUANTITIES, values, strict=True))


def values_of(counted: Counted, estimator: str, size: int) -> dict[str, Array]:
    """Values `(prompt,)` of one condition, by the names of `QUANTITIES`; bits, and a share.

    `size` is the number of codes that the condition may use; see `per_prompt`.
    """
    return _per_prompt(_Estimated(counted, estimator, size))


def _half(one: _Estimated) -> dict[str, Array]:
    """As `_per_prompt`, of the first half of each prompt's images."""
    counted = one.counted
    samples = np.arange(max(1, counted.n_samples // 2))
    return values_of(counted.part(np.arange(counted.n_prompts), samples), one.estimator, one.size)


def _pooled(one: _Estimated) -> dict[str, float]:
    given = float(one.each_prompt("plain")[0].mean())
    values = (one.marginal, given, one.marginal - given, one.used)
    return dict(zip(QUANTITIES, values, strict=True))


def _coverage(one: _Estimated) -> dict[str, float]:
    return {
        "coverage": float(entropy.coverage(one.counted.total)),
        "coverage_per_prompt": float(one.each_prompt("covered")[0].mean()),
    }


def _by_position(one: _Estimated) -> dict[str, Array]:
    marginal, covered = [], []
    for counts in one.counted.positions():
        marginal.append(one.entropy(counts))
        covered.append(entropy.coverage(counts))
    given = np.zeros(one.counted.n_positions)
    for groups in one.counted.positions_of_prompts():
        given += one.entropy(groups).sum(axis=0)
    given /= one.counted.n_prompts
    total = np.concatenate(marginal)
    values = (total, given, total - given, np.concatenate(covered))
    found = dict(zip((*QUANTITIES[:3], "coverage"), values, strict=True))
    return found | unseen.maps_of(one.counted)


def _by_digit(one: _Estimated) -> dict[str, Array]:
    counted, levels = one.counted, one.levels
    if math.prod(levels) != counted.n_codes or not levels:
        raise StoreContractError(
            f"levels {list(levels)} have {math.prod(levels)} codes, but the codebook has "
            f"{counted.n_codes}: they are the values of each digit of an id"
        )
    rest = np.arange(counted.n_codes)
    found: dict[str, Array] = {}
    for digit in reversed(range(len(levels))):
        rest, values = np.divmod(rest, levels[digit])
        found[f"digit_{digit}_entropy"] = _of_digit(
            one, np.eye(levels[digit], dtype=np.int64)[values]
        )
    in_order = {
        f"digit_{digit}_entropy": found[f"digit_{digit}_entropy"] for digit in range(len(levels))
    }
    total = np.sum(list(in_order.values()), axis=0)
    in_order["total_correlation"] = total - _per_prompt(one)["codebook_entropy"]
    return in_order


def _of_digit(one: _Estimated, to_digit: NDArray[np.int64]) -> Array:
    """Jackknife values of the entropy of a digit, whose values are columns (code, value)."""
    counted, n_values = one.counted, to_digit.shape[1]
    whole = counted.total @ to_digit
    marginal = float(entropy.estimate(whole, one.estimator, n_values))
    if counted.n_prompts == 1:
        return np.full(1, marginal)
    without = []
    for counts in counted.prompts():
        without.append(entropy.estimate(whole - counts @ to_digit, one.estimator, n_values))
    return _jackknife(marginal, np.concatenate(without))


def _shuffle_test(counted: Counted, n_shuffles: int, rng: np.random.Generator) -> dict[str, float]:
    in_place = np.arange(counted.images.shape[0])
    observed = _mean_plugin_conditional(counted, in_place)
    null = np.empty(n_shuffles)
    for shuffle in range(n_shuffles):
        null[shuffle] = _mean_plugin_conditional(counted, rng.permutation(in_place))
    total = float(entropy.estimate(counted.total, "plugin"))
    # H(Z) is the same in every shuffle, so a large I is a small H(Z|X)
    p = (1 + (null <= observed + 1e-12).sum()) / (1 + n_shuffles)
    return {"p": p, "null_mean": total - null.mean()}


def _mean_plugin_conditional(counted: Counted, order: NDArray[np.int64]) -> float:
    """Plug-in H(Z|X) in bits when the images are dealt, in that order, to the prompts in turn."""
    n_prompts = counted.n_prompts
    dealt = order.reshape(n_prompts, -1)
    per_prompt = counted.n_samples * counted.n_positions
    times = np.arange(per_prompt + 1)
    log_times = scipy.special.xlogy(times, times) / np.log(2)
    total = float(counted.occurrences(dealt) @ log_times)
    return float(np.log2(per_prompt) - total / (per_prompt * n_prompts))


SHUFFLE = "shuffle_test"

PARTS: dict[str, tuple[Callable[[_Estimated], Mapping[str, Any]], tuple[str, ...]]] = {
    "per_prompt": (_per_prompt, ("condition", "prompt")),
    "pooled": (_pooled, ("condition",)),
    "coverage": (_coverage, ("condition",)),
    "by_position": (_by_position, ("condition", "row", "col")),
    "by_digit": (_by_digit, ("condition", "prompt")),
    "half": (_half, ("condition", "prompt")),
    "unseen": (lambda one: unseen.values_of(one.counted), ("condition", "prompt")),
}
"""By name, what makes a statistic of one condition, and its dims."""

COLLISION = {
    "collision": (collision.values_of, ("condition", "prompt")),
    "collision_at_positions": (collision.values_at_positions, ("condition", "prompt")),
    "collision_by_position": (collision.maps_of, ("condition", "row", "col")),
}
"""The same for those that depend on what images share."""


def measure(
    tokens: xr.DataArray,
    n_codes: int,
    parts: Collection[str],
    *,
    estimator: str = entropy.DEFAULT,
    usable: Sequence[int] | None = None,
    share: Sequence[xr.DataArray] = (),
    levels: Sequence[int] = (),
    counts: NDArray[np.int64] | None = None,
    n_shuffles: int = 0,
    seed: int = 0,
) -> dict[str, xr.Dataset]:
    """Several statistics of the same tokens, by name, from one counting of them.

    `parts` are names of functions of this module (`per_prompt`, `pooled`, `coverage`,
    `by_position`, `by_digit`, `shuffle_test`), whose parameters these are; `half`, which is
    `per_prompt` of the first half of each prompt's images; `unseen` (`unseen.per_prompt`);
    `collision`, `collision_at_positions` (of tokens at one position) and
    `collision_by_position`, which are those of `ibstats.statistics.collision` for pairs of images
    that `share` nothing. Each result equals that of its function.
    `tokens (condition, prompt, sample, row, col)`; one condition is held at a time. `counts
    (condition, prompt)` says how many samples there are where prompts have unequal numbers, for
    parts of collisions alone: IbstatsError for others, which move with that number.
    """
    if counts is not None and not set(parts) <= set(COLLISION):
        raise IbstatsError(
            f"{', '.join(sorted(set(parts) - set(COLLISION)))} would compare prompts of unequal "
            "numbers of images; give as many images of each"
        )
    rng = np.random.default_rng(seed)
    if usable is None:
        usable = [n_codes] * tokens.sizes["condition"]
    of_condition = collision.shared(tokens, share, "apart", counts)
    rows: dict[str, list[Mapping[str, Any]]] = {part: [] for part in parts}
    for number, counted in enumerate(counting.conditions(tokens, n_codes, counts)):
        one = _Estimated(counted, estimator, usable[number], levels)
        agreeing = collision.Agreeing(counted, of_condition(number))
        for part, found in rows.items():
            if part == SHUFFLE:
                found.append(_shuffle_test(counted, n_shuffles, rng))
            elif part in COLLISION:
                found.append(COLLISION[part][0](agreeing))
            else:
                found.append(PARTS[part][0](one))
    made = {}
    for part, found in rows.items():
        dims: tuple[str, ...] = ("condition",)
        attrs: dict[str, Any] = {"n_shuffles": n_shuffles, "seed": seed}
        if part in COLLISION:
            dims, attrs = COLLISION[part][1], {"pairs": "apart"}
        elif part != SHUFFLE:
            dims, attrs = PARTS[part][1], {"estimator": estimator}
        made[part] = labelled(tokens, found, dims, attrs)
    return made


def per_prompt(
    tokens: xr.DataArray,
    n_codes: int,
    estimator: str = entropy.DEFAULT,
    usable: Sequence[int] | None = None,
) -> xr.Dataset:
    """Per-prompt values of H(Z), H(Z|X), I(X;Z) and utilisation, each `(condition, prompt)`.

    For estimates, intervals and tests over prompts, in bits (utilisation: a share). H(Z) and
    utilisation are jackknife values `v_i = n s - (n - 1) s_without_i` of the statistic s of all
    prompts: their mean is s less its bias from the finite number of prompts, their spread over
    root n its standard error. H(Z|X) of a prompt is the mean of such values over its images, if it
    has two or more, I(X;Z) the difference. Source: Efron & Tibshirani (1993), chapter 11.

    `tokens (condition, prompt, sample, row, col)`, equally many in every condition by the design
    of the store; see `rarefy` for stores where they are not. `n_codes` is the size of the
    codebook, `usable` the number of codes that each condition may use, where a subset has fewer:
    estimators that know the size of the alphabet would else put mass on codes that cannot occur.
    Utilisation is of all `n_codes`. Raises StoreContractError for codes of `n_codes` or more.

    >>> codes = np.arange(8).reshape(1, 2, 1, 2, 2) % 2
    >>> tokens = xr.DataArray(codes, dims=("condition", "prompt", "sample", "row", "col"))
    >>> per_prompt(tokens, 2, "plugin")["conditional_entropy"].values
    array([[1., 1.]])
    """
    parts = ("per_prompt",)
    return measure(tokens, n_codes, parts, estimator=estimator, usable=usable)["per_prompt"]


def pooled(
    tokens: xr.DataArray,
    n_codes: int,
    estimator: str = entropy.DEFAULT,
    usable: Sequence[int] | None = None,
) -> xr.Dataset:
    """H(Z), H(Z|X), I(X;Z) and utilisation of each `(condition)`, of the prompts at hand.

    From their pooled codes, in bits (utilisation: a share). Parameters and errors: `tokens
    (condition, prompt, sample, row, col)`, `n_codes` the size of the codebook, `usable` the number
    of codes that each condition may use; StoreContractError for codes of `n_codes` or more.

    >>> codes = np.arange(8).reshape(1, 2, 1, 2, 2) // 4
    >>> tokens = xr.DataArray(codes, dims=("condition", "prompt", "sample", "row", "col"))
    >>> found = pooled(tokens, 2, "plugin")
    >>> found[["codebook_entropy", "mutual_information"]].to_array().values.round(6)
    array([[1.],
           [1.]])
    """
    parts = ("pooled",)
    return measure(tokens, n_codes, parts, estimator=estimator, usable=usable)["pooled"]


def coverage(tokens: xr.DataArray, n_codes: int) -> xr.Dataset:
    """Good-Turing coverage of each condition's pooled codes, and the mean of that of its prompts.

    `coverage` and `coverage_per_prompt`, `(condition)`, shares of the probability mass; of tokens
    as if they were independent. Raises StoreContractError for codes of `n_codes` or more.

    >>> codes = np.array([0, 0, 1, 2]).reshape(1, 1, 1, 2, 2)
    >>> tokens = xr.DataArray(codes, dims=("condition", "prompt", "sample", "row", "col"))
    >>> float(coverage(tokens, 4)["coverage"][0])
    0.5
    """
    return measure(tokens, n_codes, ("coverage",))["coverage"].drop_attrs(deep=False)


def by_position(
    tokens: xr.DataArray,
    n_codes: int,
    estimator: str = entropy.DEFAULT,
    usable: Sequence[int] | None = None,
) -> xr.Dataset:
    """H(Z), H(Z|X) and I(X;Z) of each grid position, in bits, and its coverage: a map each.

    `(condition, row, col)`. H(Z|X) at one position rests on the few images of a prompt; look at
    the coverage before reading it. `tokens (condition, prompt, sample, row, col)`, `n_codes` the
    size of the codebook, `usable` the number of codes that each condition may use. Raises
    StoreContractError for codes of `n_codes` or more.

    >>> codes = np.array([0, 0, 1, 0]).reshape(1, 2, 1, 1, 2)
    >>> tokens = xr.DataArray(codes, dims=("condition", "prompt", "sample", "row", "col"))
    >>> by_position(tokens, 2, "plugin")["codebook_entropy"].values
    array([[[1., 0.]]])
    """
    parts = ("by_position",)
    found = measure(tokens, n_codes, parts, estimator=estimator, usable=usable)["by_position"]
    return found.assign_attrs(units="bit")


def by_digit(
    tokens: xr.DataArray,
    levels: Sequence[int],
    estimator: str = entropy.DEFAULT,
    usable: Sequence[int] | None = None,
) -> xr.Dataset:
    """H of each digit of the codes, and how far their sum exceeds H(Z), in bits.

    For quantizers whose digits are channels (FSQ; LFQ and BSQ, whose digits are bits). Jackknife
    values `(condition, prompt)`, as `per_prompt` has them: `digit_0_entropy` (the most significant
    digit), ..., `total_correlation`, which is 0 when digits are independent; below 0 only by
    estimation error. Source: Watanabe (1960), doi:10.1147/rd.41.0066; paper, section 3.3. `tokens
    (condition, prompt, sample, row, col)`; `levels` are the values of each digit, their product is
    the size of the codebook; `usable`, the number of codes that each condition may use, serves H(Z)
    alone. Raises StoreContractError without levels, and for codes of that size or more.

    >>> codes = np.array([0, 3, 0, 3]).reshape(1, 1, 1, 2, 2)
    >>> tokens = xr.DataArray(codes, dims=("condition", "prompt", "sample", "row", "col"))
    >>> float(by_digit(tokens, (2, 2), "plugin")["total_correlation"][0, 0])
    1.0
    """
    made = measure(
        tokens,
        math.prod(levels),
        ("by_digit",),
        estimator=estimator,
        usable=usable,
        levels=levels,
    )
    return made["by_digit"]


def shuffle_test(tokens: xr.DataArray, n_codes: int, *, n_shuffles: int, seed: int) -> xr.Dataset:
    """Label-shuffle test of I(X;Z) = 0: `p` and `null_mean` (bits) of each `(condition)`.

    Images change prompts at random, all else stays. The statistic is the plug-in I, which has the
    same bias in every shuffle. `null_mean` is the size of that bias when I = 0; subtracting it from
    an estimate over-corrects when I > 0, so nothing here does. `tokens (condition, prompt, sample,
    row, col)`. Raises StoreContractError for codes of `n_codes` or more.

    >>> codes = np.repeat([0, 1], 24).reshape(1, 2, 6, 2, 2)
    >>> tokens = xr.DataArray(codes, dims=("condition", "prompt", "sample", "row", "col"))
    >>> float(shuffle_test(tokens, 2, n_shuffles=19, seed=0)["p"][0])
    0.05
    """
    parts = ("shuffle_test",)
    made = measure(tokens, n_codes, parts, n_shuffles=n_shuffles, seed=seed)
    return made["shuffle_test"]


def rarefy(tokens: xr.DataArray, n_samples: int, seed: int) -> xr.DataArray:
    """The same images of every prompt and condition, `n_samples` of them: equal token budgets.

    Drawn without replacement, in their order. Raises IbstatsError for more than there are.

    >>> rarefy(xr.DataArray(np.zeros((3, 6)), dims=("prompt", "sample")), 4, seed=0).shape
    (3, 4)
    """
    have = tokens.sizes["sample"]
    if not 1 <= n_samples <= have:
        raise IbstatsError(
            f"{n_samples} images per prompt were asked for, but the store has {have}"
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(have)[:n_samples])
    return tokens.isel(sample=chosen)
