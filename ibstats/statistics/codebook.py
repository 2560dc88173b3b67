"""How a codebook is used: entropies, digits, neighbours and codes seen, the image as unit.

A share of codes used means nothing without the number of tokens behind it, and tokens of one image
are alike: so every number here says how many images and tokens it is of, intervals are jackknifed
over images (over prompts where a run has several, whose images are alike too), and codes not seen
are counted from what images show, not tokens. An entropy is to be relied on where units show all but
little of the mass, and where it has settled: half of the units say the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from ibstats.errors import IbstatsError, StoreContractError
from ibstats.kernels import grouped
from ibstats.kernels.grouped import LeftOut
from ibstats.kernels.resampling import bootstrap_mean, default_method
from ibstats.statistics.unseen import MOST_UNSEEN

Array = NDArray[np.float64]
Tokens = NDArray[np.integer[Any]]

MOST_GROUPS = 100
"""Units are left out in at most so many groups of neighbours."""
N_RESAMPLES = 2000
"""Resamples of units behind the interval of a mean."""
SETTLED = 0.5
"""Share of its half-width by which an entropy may move from half of the units to all.

Where half of the tokens of an image are alike, of 16384 codes, 5000 images leave 2 % of the mass
unseen, and intervals of H(Z) cover never: the jackknife takes the bias for one in one over n.
"""
NO_MATTER = 0.01
"""Bits by which an entropy may always move: near the most it can be, intervals are that narrow."""
CURVE = 24
"""Points of a rarefaction curve, the images in equal ratios."""


class Estimate(NamedTuple):
    """An estimate with its interval; the bounds are None where there is one unit.

    It is `weak` where it rests on codes that were not seen, or has not settled.
    """

    value: float
    low: float | None = None
    high: float | None = None
    weak: bool = False

    def through(self, function: Any) -> Estimate:
        """The same of an increasing function of the number.

        >>> Estimate(1.0, 0.0, 2.0).through(lambda x: 2**x)
        Estimate(value=2.0, low=1.0, high=4.0, weak=False)
        """

        def taken(bound: float | None) -> float | None:
            return None if bound is None else float(function(bound))

        return Estimate(float(function(self.value)), taken(self.low), taken(self.high), self.weak)


@dataclass(frozen=True)
class Codes:
    """The ids of some images and what is known of their codebook.

    `tokens` are (unit, image, row, col): a unit is what was drawn independently, an image of its
    own or a prompt with its images. `recovered` is like `tokens`, `squared_error` (unit, image);
    None where nobody measured them. Raises StoreContractError for ids of `n_codes` or more, and for
    levels whose product is not `n_codes`.

    >>> codes = Codes(np.arange(8).reshape(2, 1, 2, 2) % 4, 4, levels=(2, 2))
    >>> round(codes.entropy.value, 6), codes.used
    (2.0, 4)
    """

    tokens: Tokens
    n_codes: int
    levels: tuple[int, ...] = ()
    recovered: NDArray[np.bool_] | None = None
    squared_error: Array | None = None
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.tokens.size == 0:
            raise StoreContractError("no tokens: nothing can be said of the codebook")
        if int(self.tokens.max()) >= self.n_codes:
            raise StoreContractError(
                f"`tokens` holds code {int(self.tokens.max())}, but codes run 0..{self.n_codes - 1}"
                "; were the special-token offsets removed before writing?"
            )
        if self.levels and math.prod(self.levels) != self.n_codes:
            raise StoreContractError(
                f"levels {list(self.levels)} have {math.prod(self.levels)} codes, but the codebook "
                f"has {self.n_codes}"
            )

    @property
    def n_images(self) -> int:
        """Images of all units."""
        return int(self.tokens.shape[0] * self.tokens.shape[1])

    @property
    def n_positions(self) -> int:
        """Tokens of an image."""
        return int(self.tokens.shape[2] * self.tokens.shape[3])

    @property
    def n_tokens(self) -> int:
        """Tokens of all images."""
        return int(self.tokens.size)

    @cached_property
    def _group_of_unit(self) -> NDArray[np.int64]:
        n = len(self.tokens)
        return np.arange(n) * min(n, MOST_GROUPS) // n

    @property
    def _sizes(self) -> NDArray[np.int64]:
        """Units of each group."""
        return np.bincount(self._group_of_unit)

    def _groups(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """The group of each of the values (unit, ...), flat."""
        return np.repeat(self._group_of_unit, values[0].size)

    def _table(self, symbols: NDArray[Any]) -> grouped.Table:
        """Counts of symbols (unit, ...) by group."""
        return grouped.table(symbols.ravel(), self._groups(symbols), len(self._sizes))

    def _entropy(self, symbols: NDArray[Any]) -> LeftOut:
        return grouped.entropy(self._table(symbols))

    def _unseen(self, symbols: NDArray[Any]) -> float:
        """Mass of the symbols (unit, ...) that the other units do not show."""
        n = len(self.tokens)
        units = np.repeat(np.arange(n), symbols[0].size)
        return grouped.unseen(symbols.ravel(), units, n)

    @cached_property
    def _halves(self) -> list[Codes]:
        """The codes of every other unit, and of those between."""
        parts = (self.tokens[::2], self.tokens[1::2])
        return [Codes(part, self.n_codes, self.levels, level=self.level) for part in parts]

    def _estimate(
        self, found: LeftOut, least: float = -math.inf, most: float = math.inf
    ) -> Estimate:
        """Jackknifed, with a t interval, both within what is possible."""
        made = grouped.jackknife(found, self._sizes)
        value = float(np.clip(made.value, least, most))
        if not np.isfinite(made.error):
            return Estimate(value)
        half = scipy.special.stdtrit(made.n_groups - 1, (1 + self.level) / 2) * made.error
        low, high = np.clip([made.value - half, made.value + half], least, most)
        return Estimate(value, float(low), float(high))

    def _of_counts(
        self,
        statistic: Callable[[Codes], LeftOut],
        unseen: float,
        least: float = -math.inf,
        most: float = math.inf,
    ) -> Estimate:
        """The estimate of a statistic of counts: `weak` where it cannot be relied on.

        `unseen` is the mass of symbols not seen that it rests on.
        """
        found = statistic(self)
        made = self._estimate(found, least, most)
        weak = unseen > MOST_UNSEEN or not self._has_settled(statistic, found)
        return made._replace(weak=weak)

    def _has_settled(self, statistic: Callable[[Codes], LeftOut], found: LeftOut) -> bool:
        """Whether the halves of the units say, on average, what all of them say."""
        made = grouped.jackknife(found, self._sizes)
        if len(self.tokens) < 4 or not np.isfinite(made.error):
            return True
        halves = [grouped.jackknife(statistic(one), one._sizes).value for one in self._halves]
        half = scipy.special.stdtrit(made.n_groups - 1, (1 + self.level) / 2) * made.error
        return bool(abs(made.value - np.mean(halves)) <= max(SETTLED * half, NO_MATTER))

    @property
    def capacity(self) -> float:
        """log2 of the codes, in bits."""
        return math.log2(self.n_codes)

    @cached_property
    def _ids(self) -> NDArray[np.int32]:
        """The tokens as numbers of the codes seen: what is counted does not grow with the codebook."""
        if self.n_codes > self.tokens.size:
            _, number = np.unique(self.tokens, return_inverse=True)
            return number.reshape(self.tokens.shape).astype(np.int32)
        seen = np.bincount(self.tokens.ravel()) > 0
        return (np.cumsum(seen) - 1).astype(np.int32)[self.tokens]

    @cached_property
    def used(self) -> int:
        """Codes seen."""
        return int(self._ids.max()) + 1

    @cached_property
    def _counts(self) -> grouped.Table:
        return self._table(self._ids)

    @cached_property
    def _plain(self) -> LeftOut:
        return grouped.entropy(self._counts)

    @cached_property
    def unseen(self) -> float:
        """Mass of the codes that the other units do not show: the tokens on codes of a single one.

        1 for a single unit. Source: Good (1953), doi:10.1093/biomet/40.3-4.237, applied to units.
        """
        return self._unseen(self._ids)

    @cached_property
    def entropy(self) -> Estimate:
        """H(Z) of a token at any position, in bits."""
        return self._of_counts(lambda one: one._plain, self.unseen, 0, self.capacity)

    @property
    def perplexity(self) -> Estimate:
        """2^H(Z), in codes."""
        return self.entropy.through(lambda bits: 2**bits)

    @cached_property
    def collision_entropy(self) -> Estimate:
        """-log2 of the chance that tokens of two units agree, in bits.

        NaN where none do, or for fewer than three units.
        """
        found = grouped.collision(self._counts)
        if not found.whole > 0 or len(self._sizes) < 3:
            return Estimate(math.nan)
        if not (found.without > 0).all():
            return Estimate(float(-np.log2(found.whole)))
        return self._estimate(LeftOut(-np.log2(found.whole), -np.log2(found.without)), 0)

    def _placed(self) -> NDArray[np.int64]:
        """Tokens of different positions as different symbols, (unit, image, position)."""
        place = np.arange(self.n_positions) * self.used
        return self._ids.reshape(*self.tokens.shape[:2], -1) + place

    @cached_property
    def _at_positions(self) -> LeftOut:
        whole, without = self._entropy(self._placed())
        shift = math.log2(self.n_positions)  # every position is equally often
        return LeftOut(whole - shift, without - shift)

    @cached_property
    def entropy_given_position(self) -> Estimate:
        """H(Z|position), the mean over positions, in bits."""
        unseen = self._unseen(self._placed())
        return self._of_counts(lambda one: one._at_positions, unseen, 0, self.capacity)

    def _neighbours(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Tokens that have a neighbour, and their neighbours."""
        axis = 3 if self.tokens.shape[3] > 1 else 2
        ids = np.moveaxis(self._ids, axis, -1)
        return ids[..., :-1], ids[..., 1:]

    def _pairs(self) -> NDArray[np.int64]:
        """Tokens and their neighbours as one symbol."""
        one, other = self._neighbours()
        return one.astype(np.int64) * self.used + other

    @cached_property
    def _shared(self) -> LeftOut:
        one, other = map(self._entropy, self._neighbours())
        both = self._entropy(self._pairs())
        whole, without = (a + b - c for a, b, c in zip(one, other, both, strict=True))
        return LeftOut(whole, without)

    @cached_property
    def neighbour_information(self) -> Estimate:
        """I of a token and that to its right, or below it in a grid of one column, in bits.

        NaN for a single position.
        """
        if self.n_positions < 2:
            return Estimate(math.nan)
        unseen = self._unseen(self._pairs())
        return self._of_counts(lambda one: one._shared, unseen, 0, self.capacity)

    def _digit(self, number: int) -> Tokens:
        """A digit of the tokens; 0 is the most significant."""
        below = math.prod(self.levels[number + 1 :])
        return self.tokens // self.tokens.dtype.type(below) % self.levels[number]

    @cached_property
    def _of_digits(self) -> list[LeftOut]:
        return [self._entropy(self._digit(number)) for number in range(len(self.levels))]

    @cached_property
    def digit_entropies(self) -> list[Estimate]:
        """H of each digit of an id, most significant first, in bits; none without levels."""
        made = []
        for number, level in enumerate(self.levels):
            statistic, unseen = partial(_of_digit, number=number), self._unseen(self._digit(number))
            made.append(self._of_counts(statistic, unseen, 0, math.log2(level)))
        return made

    @cached_property
    def _together(self) -> LeftOut:
        whole = np.sum([found.whole for found in self._of_digits]) - self._plain.whole
        without = np.sum([found.without for found in self._of_digits], axis=0)
        return LeftOut(np.asarray(whole), without - self._plain.without)

    @cached_property
    def total_correlation(self) -> Estimate:
        """Bits of the digits together, less H(Z); 0 when digits are independent, NaN without levels.

        Source: Watanabe (1960), doi:10.1147/rd.41.0066.
        """
        if not self.levels:
            return Estimate(math.nan)
        return self._of_counts(lambda one: one._together, self.unseen)

    @cached_property
    def n_showing(self) -> NDArray[np.int64]:
        """How many images show each code seen, in the order of the codes, (code,)."""
        image = np.arange(self.n_images, dtype=np.int64) * self.used
        pairs = (self._ids.reshape(self.n_images, -1) + image[:, None]).ravel()
        pairs.sort()
        first = np.concatenate([[True], pairs[1:] != pairs[:-1]])
        return np.bincount(pairs[first] % self.used)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Tokens of each code seen, in the order of the codes, (code,)."""
        return np.bincount(self._ids.ravel())

    @property
    def expected_in_all(self) -> float:
        """Codes that ever more images would show: Chao's lower bound, at most the codebook."""
        return min(float(self.n_codes), grouped.chao(self.n_showing, self.n_images))

    def expected(self, sizes: Sequence[int]) -> Array:
        """Codes that so many images would show, on average, (size,)."""
        return grouped.expected_codes(self.n_showing, self.n_images, sizes)

    def curve(self) -> tuple[NDArray[np.int64], Array]:
        """The rarefaction curve: numbers of images, and the codes they show on average."""
        sizes = np.unique(np.geomspace(1, self.n_images, CURVE).round().astype(np.int64))
        return sizes, self.expected(sizes.tolist())

    @cached_property
    def recovery(self) -> Estimate:
        """Share of positions whose decoded image is encoded as the same code; NaN unmeasured.

        A mean over units, with the interval that means over prompts have: that of t promises too
        much of a few shares near 1.
        """
        if self.recovered is None:
            return Estimate(math.nan)
        of_unit = self.recovered.reshape(len(self.recovered), -1).mean(axis=1)
        value, n = float(of_unit.mean()), len(of_unit)
        if n == 1:
            return Estimate(value)
        rng = np.random.default_rng(0)
        bounds = bootstrap_mean(of_unit, default_method(n), N_RESAMPLES, self.level, rng)
        low, high = np.clip(bounds, 0, 1)
        return Estimate(value, float(low), float(high))

    @cached_property
    def decibels(self) -> Estimate:
        """Peak signal-to-noise ratio over all pixels together, in dB; NaN unmeasured."""
        if self.squared_error is None:
            return Estimate(math.nan)
        found = self._mean(self.squared_error.reshape(len(self.squared_error), -1))
        if not found.whole > 0:
            return Estimate(math.inf)
        with np.errstate(divide="ignore"):
            return self._estimate(
                LeftOut(-10 * np.log10(found.whole), -10 * np.log10(found.without))
            )

    def _mean(self, values: NDArray[Any]) -> LeftOut:
        return grouped.mean(values.ravel(), self._groups(values), len(self._sizes))

    def of_images(self, n_images: int, rng: np.random.Generator) -> Codes:
        """The same of at most `n_images` images, drawn without replacement.

        As many of each unit, from as many units as there can be. Raises IbstatsError for more
        images than there are.
        """
        n_units, each = self.tokens.shape[:2]
        if not 1 <= n_images <= n_units * each:
            raise IbstatsError(f"{n_images} images were asked for, but there are {n_units * each}")
        units = np.sort(rng.permutation(n_units)[:n_images])
        images = np.sort(rng.permutation(each)[: max(1, n_images // n_units)])
        chosen = np.ix_(units, images)
        return Codes(
            self.tokens[chosen],
            self.n_codes,
            self.levels,
            None if self.recovered is None else self.recovered[chosen],
            None if self.squared_error is None else self.squared_error[chosen],
            self.level,
        )


def _of_digit(codes: Codes, number: int) -> LeftOut:
    return codes._of_digits[number]
