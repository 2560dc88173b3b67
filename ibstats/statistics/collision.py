"""Collision entropies of saved tokens: unbiased from two images a prompt on.

H2(Z|X), H2(Z), I2 and the Hill number of order two rest on the chance that tokens of two different
images coincide: of one prompt (W), of two prompts (U). Unseen codes add nothing to it, so these
numbers do not move with the number of images, as Shannon's do. They see frequent codes, and are at
most Shannon's. There is no chain rule: none of them is a term of eq. 3 of the paper.

Images must be independent given their prompt. Where the wording of a prompt varies, images of one
wording share more than their prompt, and so do images that share noise: such pairs are kept apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import unknown
from ibstats.kernels import collision as kernel
from ibstats.kernels import entropy
from ibstats.statistics import counting, significance
from ibstats.statistics.counting import Counted, labelled
from ibstats.statistics.uncertainty import Resampling, mean_interval

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Pairs = Literal["apart", "together", "all"]

PAIRS = ("apart", "together", "all")
"""Pairs of a prompt's images: that share no label, that share the first one, or whatever."""

QUANTITIES = {
    "collision_within": "within",
    "collision_between": "between",
    "collision_excess": "excess",
    "collision_conditional": "conditional",
    "collision_entropy": "entropy",
    "collision_information": "information",
    "hill_2": "hill",
}
"""By the name in results, the field of the kernel."""

FEW_PROMPTS = 12
"""Below so many prompts the excess W - U is to be shown beside I2, whose logarithm is biased."""

REASONS = {
    "images": "two images of one prompt are needed, of different wordings where wordings vary",
    "prompts": f"{kernel.FEWEST} prompts are needed",
    "coincidence": "no code was seen twice in different images, so a logarithm is of zero",
}
"""Why a number may be NaN."""


@dataclass(frozen=True)
class Sharing:
    """What images of one condition share besides their prompt, and which pairs of them are taken.

    Labels are `(label, prompt, sample)`; images of a prompt with equal labels share what it is of.
    """

    labels: Labels
    pairs: Pairs

    def part(self, prompts: NDArray[np.int64], samples: NDArray[np.int64]) -> Sharing:
        """What some prompts and some of each one's images share, with the same pairs taken.

        `prompts` and `samples` are their numbers here.
        """
        some = self.labels[:, prompts][:, :, samples]
        labels = np.empty_like(some)
        for i, label in enumerate(some):
            labels[i] = _separating(label)
        return Sharing(labels, self.pairs)

    def total(self, of_groups: Callable[[Labels], Array]) -> Array:
        """Sum over the pairs taken, from sums over all pairs inside groups `(prompt, sample)`.

        Pairs that share no label are all pairs, less those that share the first, less those that
        share the second, plus those that share both, and so on.
        """
        n_labels, n_prompts, n_samples = self.labels.shape
        alone = np.tile(np.arange(n_samples), (n_prompts, 1))
        whole = np.zeros_like(alone)
        if self.pairs == "together" and n_labels:
            return of_groups(self.labels[0]) - of_groups(alone)
        if self.pairs != "apart" or not n_labels:
            return of_groups(whole) - of_groups(alone)
        total = of_groups(whole)
        for size in range(1, n_labels + 1):
            for chosen in combinations(range(n_labels), size):
                total = total + (-1) ** size * of_groups(_joined(self.labels[list(chosen)]))
        return total


def _joined(labels: Labels) -> Labels:
    """Groups that agree in every one of `(label, prompt, sample)`, from 0 in each prompt."""
    joined: Labels = labels[0]
    for label in labels[1:]:
        joined = _numbered(joined * (label.max() + 1) + label)
    return joined


def _numbered(values: NDArray[np.int64]) -> Labels:
    """Values `(prompt, sample)` numbered from 0 in each prompt."""
    numbered = np.empty(values.shape, np.int64)
    for prompt, row in enumerate(values):
        numbered[prompt] = np.unique(row, return_inverse=True)[1]
    return numbered


def _separating(values: NDArray[np.int64]) -> Labels:
    """Labels `(prompt, sample)` from 0; one that all images of a prompt have tells none apart."""
    numbered = _numbered(values)
    same = (numbered == 0).all(axis=1)
    numbered[same] = np.arange(values.shape[1])
    return numbered


def _of_images(counted: Counted) -> tuple[Callable[[Labels], Array], Array]:
    """Coinciding pairs of tokens inside groups of images, by prompt, and with other prompts.

    A pair with another prompt counts by the other one's weight, see `_weights`.
    """
    n_prompts, n_samples = counted.n_prompts, counted.n_samples
    of_prompt = counted.prompt_of_image

    def inside(groups: Labels) -> Array:
        """Sum of squared counts of the groups of each prompt."""
        number = of_prompt * n_samples + groups[counted.there]
        sums = counted.by_group(number)
        squares = np.asarray(sums.multiply(sums).sum(axis=1), dtype=np.float64)
        owner = np.arange(len(squares)) // n_samples
        by_prompt = np.bincount(owner, weights=squares, minlength=n_prompts)
        return np.asarray(by_prompt / counted.n_positions**2)

    sums, weight = counted.by_prompt, _weights(counted)
    own = np.asarray(sums.multiply(sums).sum(axis=1), dtype=np.float64)
    shared = sums @ (sums.T @ weight)
    return inside, (shared - weight * own) / counted.n_positions**2


def _weights(counted: Counted) -> Array:
    """Weight of the images of each prompt, so that all prompts weigh as much; 1 of the most."""
    n = counted.n_of_prompt
    return np.asarray(n.max() / n)


def _of_positions(counted: Counted) -> tuple[Callable[[Labels], Array], Array]:
    """As `_of_images`, of tokens at one position: `(prompt, position)`."""
    n_prompts, n_samples, n_positions = counted.tokens.shape
    step = max(1, counting.AT_ONCE // (n_samples * n_positions))
    alone = n_samples + np.arange(n_samples)
    n_groups = 2 * n_samples

    def inside(groups: Labels) -> Array:
        """Sum of squared counts of the groups of each prompt, at each position.

        An image that is not there is a group of its own, and adds 1 whatever the groups are.
        """
        found = np.empty((n_prompts, n_positions))
        groups = np.where(counted.there, groups, alone)
        together = not groups.any()
        for start in range(0, n_prompts, step):
            some = slice(start, start + step)
            codes = np.moveaxis(counted.tokens[some], 1, 2)
            if not together:
                codes = codes.astype(np.int64) * n_groups + groups[some, None, :]
            found[some] = (entropy.group_counts(codes) ** 2).sum(axis=-1)
        return found

    weight = _weights(counted)
    absent = n_samples - counted.n_of_prompt
    own = inside(np.zeros((n_prompts, n_samples), np.int64)) - absent[:, None]
    shared = np.zeros((n_prompts, n_positions))
    position = 0
    for counts in counted.positions(weight):
        for row in counts:
            coinciding = row[counted.rows[:, position]]
            shared[:, position] = np.bincount(counted.prompt_of_image, coinciding)
            position += 1
    return inside, shared - weight[:, None] * own


def chances(
    counted: Counted, sharing: Sharing, *, at_positions: bool = False
) -> tuple[Array, Array]:
    """Chance that tokens coincide: of two images of a prompt, and of it and other prompts.

    `(prompt,)` each, of tokens anywhere in their images, or `(prompt, position)`, of tokens at one
    position. NaN for a prompt without a pair of the images that `sharing` takes.
    """
    if at_positions:
        inside, with_others = _of_positions(counted)
    else:
        inside, with_others = _of_images(counted)

    def sizes(groups: Labels) -> Array:
        """Pairs of images inside groups, by prompt."""
        found = np.empty(len(groups))
        for prompt, row in enumerate(groups):
            own = row[counted.there[prompt]]
            found[prompt] = (np.bincount(own).astype(np.float64) ** 2).sum()
        return found

    coinciding, number = sharing.total(inside), sharing.total(sizes)
    if at_positions:
        number = number[:, None]
    within = np.where(number > 0, coinciding / np.maximum(number, 1), np.nan)
    n = counted.n_of_prompt
    pairs = max(counted.n_prompts - 1, 1) * n * float(n.max())
    return within, with_others / (pairs[:, None] if at_positions else pairs)


class Agreeing:
    """How often tokens of one condition coincide, each counted once."""

    def __init__(self, counted: Counted, sharing: Sharing) -> None:
        """The counts of a condition, and what its images share."""
        self.counted = counted
        self.sharing = sharing

    @cached_property
    def anywhere(self) -> tuple[Array, Array]:
        """`chances` of tokens anywhere in their images, `(prompt,)` each."""
        return chances(self.counted, self.sharing)

    @cached_property
    def at_positions(self) -> tuple[Array, Array]:
        """`chances` of tokens at one position, `(prompt, position)` each."""
        return chances(self.counted, self.sharing, at_positions=True)


def shared(
    tokens: xr.DataArray,
    share: Sequence[xr.DataArray],
    pairs: Pairs,
    counts: NDArray[np.int64] | None = None,
) -> Callable[[int], Sharing]:
    """What the images of each condition share: a function of the condition's number.

    `share` are labels `(condition, prompt, sample)`, or of fewer dims, of which the first
    `counts (condition, prompt)` of each prompt are looked at, by default all. Raises IbstatsError
    for other `pairs` than those of `PAIRS`.
    """
    if pairs not in PAIRS:
        raise unknown("kind of pairs", pairs, PAIRS)
    shape = tuple(tokens.sizes[dim] for dim in ("condition", "prompt", "sample"))
    found = []
    for label in share:
        whole = label.broadcast_like(tokens.isel(row=0, col=0, drop=True))
        values = whole.transpose("condition", "prompt", "sample").values
        if counts is not None:
            there = np.arange(shape[2]) < counts[..., None]
            values = np.where(there, values, values[..., :1])
        found.append(values)

    def of_condition(number: int) -> Sharing:
        """Its labels, numbered from 0 in each prompt, but for those that no two images share."""
        labels = []
        for values in found:
            label = _separating(values[number])
            if pairs == "together" or (label.max(axis=1) < shape[2] - 1).any():
                labels.append(label)
        return Sharing(np.array(labels, np.int64).reshape(-1, *shape[1:]), pairs)

    return of_condition


def values_of(agreeing: Agreeing) -> dict[str, Array]:
    """Pseudo-values `(prompt,)` of one condition, by the names of quantities.

    What they are, and when NaN, is said at `per_prompt`.
    """
    return _named(kernel.pseudo_values(*agreeing.anywhere))


def values_at_positions(agreeing: Agreeing) -> dict[str, Array]:
    """As `values_of`, of tokens at one and the same position, by the names of quantities."""
    within, other = agreeing.at_positions
    return _named(kernel.pseudo_values(within.mean(axis=1), other.mean(axis=1)))


def maps_of(agreeing: Agreeing) -> dict[str, Array]:
    """Estimates at each position of one condition, `(position,)`, by the names of quantities.

    NaN without a pair of images in some prompt.
    """
    return _named(kernel.estimate(*agreeing.at_positions))


def _named(found: kernel.Collision) -> dict[str, Array]:
    return {name: getattr(found, part) for name, part in QUANTITIES.items()}


def per_prompt(
    tokens: xr.DataArray,
    n_codes: int,
    share: Sequence[xr.DataArray] = (),
    *,
    pairs: Pairs = "apart",
    at_positions: bool = False,
    counts: NDArray[np.int64] | None = None,
) -> xr.Dataset:
    """Pseudo-values by prompt of the collision quantities, each `(condition, prompt)`.

    `collision_within` (W), `collision_between` (U) and `collision_excess` (W - U) are chances,
    `collision_conditional` H2(Z|X), `collision_entropy` H2(Z) and `collision_information` I2 bits,
    `hill_2` the Hill number 1 / U. Means over prompts estimate them, differences of conditions are
    differences of these values, and intervals and tests of the mean apply.

    `tokens (condition, prompt, sample, row, col)`. `share` are labels of what images share, for
    instance the wording `text_index (condition, prompt, sample)`; W is then of pairs that share
    none of them (`apart`), of those that share the first (`together`), or of `all`. A label that
    all images of a prompt have tells none apart and is not counted. `at_positions`: of tokens at
    one and the same position, averaged over positions before the logarithm; else of tokens
    anywhere in their images. `counts (condition, prompt)` says how many images there are where
    prompts have unequal numbers: W of a prompt is then of all its own pairs, and in U every prompt
    weighs as much. NaN without such a pair in some prompt, for fewer than three prompts, and for
    the logarithm of no coincidence. Raises StoreContractError for codes of `n_codes` or
    more.

    >>> codes = np.array([0, 0, 1, 1, 0, 0]).reshape(1, 3, 2, 1, 1)
    >>> tokens = xr.DataArray(codes, dims=("condition", "prompt", "sample", "row", "col"))
    >>> found = per_prompt(tokens, 2)
    >>> found["collision_within"].values
    array([[1., 1., 1.]])
    """
    of_condition = shared(tokens, share, pairs, counts)
    rows: list[Mapping[str, Array]] = []
    values = values_at_positions if at_positions else values_of
    for number, counted in enumerate(counting.conditions(tokens, n_codes, counts)):
        rows.append(values(Agreeing(counted, of_condition(number))))
    return labelled(tokens, rows, ("condition", "prompt"), {"pairs": pairs})


def by_position(
    tokens: xr.DataArray,
    n_codes: int,
    share: Sequence[xr.DataArray] = (),
    *,
    pairs: Pairs = "apart",
    counts: NDArray[np.int64] | None = None,
) -> xr.Dataset:
    """Maps of the collision quantities, each `(condition, row, col)`: estimates at one position.

    Parameters are those of `per_prompt`. W and U of each position are unbiased; their logarithms
    are biased where there are few prompts. NaN without a pair of images in some prompt.

    >>> codes = np.array([0, 0, 1, 1, 0, 0]).reshape(1, 3, 2, 1, 1)
    >>> tokens = xr.DataArray(codes, dims=("condition", "prompt", "sample", "row", "col"))
    >>> float(by_position(tokens, 2)["collision_information"][0, 0, 0].round(3))
    1.585
    """
    of_condition = shared(tokens, share, pairs, counts)
    rows: list[Mapping[str, Array]] = []
    for number, counted in enumerate(counting.conditions(tokens, n_codes, counts)):
        rows.append(maps_of(Agreeing(counted, of_condition(number))))
    return labelled(tokens, rows, ("condition", "row", "col"), {"pairs": pairs})


def summary(values: xr.Dataset, how: Resampling) -> xr.Dataset:
    """Means of `per_prompt` with intervals, `(quantity, condition)`, and the test of I = 0.

    `estimate`, `low`, `high` and `degenerate` as `mean_interval` gives them, of pseudo-values: the
    estimate is the jackknifed one, and the centre that the interval is made around. `p (condition)`
    is of the two-sided t test that W - U, whose mean is exactly 0 where prompt and code are
    unrelated, is 0; `reason (condition)` says why numbers are NaN.

    >>> codes = np.arange(12).reshape(1, 6, 2, 1, 1) // 4
    >>> tokens = xr.DataArray(codes, dims=("condition", "prompt", "sample", "row", "col"))
    >>> found = summary(per_prompt(tokens, 3), Resampling(n_resamples=99))
    >>> float(found["estimate"].sel(quantity="collision_between").round(3)[0])
    0.2
    """
    names = [str(name) for name in values.data_vars]
    stacked = values.to_array("quantity").drop_attrs(deep=False)
    found = mean_interval(stacked, how).assign_attrs(pairs=values.attrs["pairs"])
    units = [values[name].attrs.get("units", "1") for name in names]
    test = significance.t_test(values["collision_excess"].transpose("prompt", "condition").values)
    return found.assign_coords(units=("quantity", np.array(units, dtype=object))).assign(
        p=("condition", test.p), reason=("condition", _reasons(values))
    )


def _reasons(values: xr.Dataset) -> NDArray[np.object_]:
    """By condition, why its numbers are NaN; empty where none is."""
    reasons = np.full(values.sizes["condition"], "", dtype=object)
    few = values.sizes["prompt"] < kernel.FEWEST
    for number in range(len(reasons)):
        one = values.isel(condition=number)
        if few:
            reasons[number] = REASONS["prompts"]
        elif bool(one["collision_within"].isnull().any()):
            reasons[number] = REASONS["images"]
        elif bool(one["collision_information"].isnull().any()):
            reasons[number] = REASONS["coincidence"]
    return reasons
