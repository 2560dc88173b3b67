"""Entropies and chances of symbols with each group of them left out, for a jackknife over groups.

A group is what was drawn together, an image or some images: symbols of different groups are
independent, those of one are not. Everything is made from one table of (group, symbol) pairs, so
the cost follows from the number of symbols and not from how many there could be.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Whole = NDArray[np.integer[Any]]

LARGEST = 2**63 - 1
"""Largest number of 64 bits."""


class LeftOut(NamedTuple):
    """A statistic of all groups, and without each of them."""

    whole: Array
    """One number."""
    without: Array
    """(group,); NaN where there is one group."""


class Table(NamedTuple):
    """How often each symbol stands in each group, without the zeros.

    Made by `table`.
    """

    group: NDArray[np.int64]
    """Group of each pair."""
    symbol: NDArray[np.int64]
    """Number of its symbol among those seen."""
    times: NDArray[np.int64]
    """How often it does."""
    total: NDArray[np.int64]
    """Counts of the symbols over all groups."""
    size: NDArray[np.int64]
    """Symbols in each group."""


def table(symbols: Whole, groups: Whole, n_groups: int) -> Table:
    """Count symbols (n,) >= 0 by the groups (n,) that they stand in, 0 to `n_groups` - 1.

    >>> found = table(np.array([5, 5, 9]), np.array([0, 1, 1]), 2)
    >>> found.times.tolist(), found.total.tolist(), found.size.tolist()
    ([1, 1, 1], [2, 1], [1, 2])
    """
    symbols = _numbered(symbols, n_groups)
    base = int(symbols.max()) + 1
    pair = groups.astype(np.int64) * base
    pair += symbols
    pair.sort()
    first = np.flatnonzero(np.concatenate([[True], pair[1:] != pair[:-1]]))
    times = np.diff(first, append=len(pair))
    group, symbol = np.divmod(pair[first], base)
    _, number = np.unique(symbol, return_inverse=True)
    total = np.bincount(number, times).astype(np.int64)
    size = np.bincount(group, times, n_groups).astype(np.int64)
    return Table(group, number, times, total, size)


def entropy(counts: Table) -> LeftOut:
    """Plug-in entropy of the symbols, in bits.

    Biased down by about (codes - 1) / 2n nats for independent symbols, by more where those of a
    group are alike; `jackknife` removes the bias in one over the number of groups.

    >>> found = entropy(table(np.array([0, 1, 0, 0]), np.array([0, 0, 1, 1]), 2))
    >>> float(found.whole.round(4)), found.without
    (0.8113, array([0., 1.]))
    """
    n = counts.total.sum()
    of_all = _log_count(counts.total)
    here = counts.total[counts.symbol]
    change = _log_count(here) - _log_count(here - counts.times)
    without = of_all.sum() - np.bincount(counts.group, change, len(counts.size))
    rest = n - counts.size
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(rest > 0, np.log2(rest) - without / rest, np.nan)
    return LeftOut(np.asarray(np.log2(n) - of_all.sum() / n), left)


def _log_count(counts: Whole) -> Array:
    return np.asarray(scipy.special.xlogy(counts, counts) / np.log(2))


def collision(counts: Table) -> LeftOut:
    """Chance that symbols of two different groups coincide: unbiased, whatever a group holds.

    NaN where fewer than two groups are left. Source: Simpson (1949), doi:10.1038/163688a0, of pairs
    of groups in the place of pairs of symbols.

    >>> found = collision(table(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]), 2))
    >>> float(found.whole)
    0.5
    """
    n, sizes = float(counts.total.sum()), counts.size.astype(np.float64)
    here = counts.total[counts.symbol].astype(np.float64)
    own = counts.times.astype(np.float64)
    squares = np.bincount(counts.group, own**2, len(sizes))  # within each group
    met = np.bincount(counts.group, here * own, len(sizes))  # of each group with all of them
    agreeing = (counts.total.astype(np.float64) ** 2).sum() - squares.sum()
    pairs = n**2 - (sizes**2).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.where(pairs > 0, agreeing / pairs, np.nan)
        fewer = pairs - 2 * sizes * (n - sizes)
        left = np.where(fewer > 0, (agreeing - 2 * (met - squares)) / fewer, np.nan)
    return LeftOut(np.asarray(whole), left)


def unseen(symbols: Whole, groups: Whole, n_groups: int) -> float:
    """Mass of the symbols that the other groups do not show, the mean over groups left out.

    Those of the symbols (n,) >= 0 that stand in one of the groups (n,) alone; 1 for one group.
    Source: Good (1953), doi:10.1093/biomet/40.3-4.237, applied to groups.

    >>> unseen(np.array([0, 1, 0, 0]), np.array([0, 0, 1, 1]), 2)
    0.25
    """
    pair = _numbered(symbols, n_groups).astype(np.int64)
    pair *= n_groups
    pair += groups
    pair.sort()
    symbol = pair // n_groups
    first = np.flatnonzero(np.concatenate([[True], symbol[1:] != symbol[:-1]]))
    times = np.diff(first, append=len(pair))
    alone = pair[first] == pair[first + times - 1]
    return float(times[alone].sum() / len(pair))


def _numbered(symbols: Whole, n_groups: int) -> Whole:
    """The symbols, or numbers of those seen where pairs with groups would not fit into 64 bits."""
    if int(symbols.max()) + 1 <= LARGEST // n_groups:
        return symbols
    number: NDArray[np.int64] = np.unique(symbols, return_inverse=True)[1]
    return number


def mean(values: ArrayLike, groups: Whole, n_groups: int) -> LeftOut:
    """Mean of values (n,), and without each group of them.

    >>> mean([1.0, 2.0, 6.0], np.array([0, 0, 1]), 2).without
    array([6. , 1.5])
    """
    x = np.asarray(values, dtype=np.float64)
    sums, sizes = np.bincount(groups, x, n_groups), np.bincount(groups, minlength=n_groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        return LeftOut(np.asarray(x.mean()), (sums.sum() - sums) / (len(x) - sizes))


class Estimate(NamedTuple):
    """A statistic less its bias in one over the number of groups, with its standard error.

    The error is NaN where there is one group.
    """

    value: float
    error: float
    n_groups: int


def jackknife(found: LeftOut, sizes: ArrayLike) -> Estimate:
    """The delete-a-group jackknife, for groups of unequal `sizes` (group,).

    With one group the statistic stays as it is. Source: Busing, Meijer & van der Leeden (1999),
    doi:10.1023/A:1008800423698.

    >>> values = np.array([1.0, 2.0, 4.0])
    >>> made = jackknife(mean(values, np.arange(3), 3), np.ones(3))
    >>> round(made.value, 6), round(made.error, 6) == round(float(values.std(ddof=1) / 3**0.5), 6)
    (2.333333, True)
    """
    m = np.asarray(sizes, dtype=np.float64)
    whole, n_groups = float(found.whole), len(m)
    if n_groups < 2:
        return Estimate(whole, np.nan, n_groups)
    h = m.sum() / m
    pseudo = h * whole - (h - 1) * found.without
    value = float((pseudo / h).sum())
    variance = ((pseudo - value) ** 2 / (h - 1)).mean()
    return Estimate(value, float(np.sqrt(variance)), n_groups)


def expected_codes(n_showing: ArrayLike, n_images: int, sizes: ArrayLike) -> Array:
    """Codes that so many of the images would show, on average over all choices of them, (size,).

    `n_showing` (code,) are the images that show each code, of `n_images`. Source: Hurlbert (1971),
    doi:10.2307/1934145, in the form for incidences of Colwell et al. (2012), doi:10.1093/jpe/rtr044.

    >>> expected_codes([2, 1], 2, [1, 2])
    array([1.5, 2. ])
    """
    shown = np.asarray(n_showing, dtype=np.int64)
    images, number = np.unique(shown[shown > 0], return_counts=True)
    found = []
    for size in np.asarray(sizes, dtype=np.int64):
        left = n_images - images
        with np.errstate(invalid="ignore"):
            log_missed = _log_choose(left, size) - _log_choose(n_images, size)
        missed = np.where(left >= size, np.exp(log_missed), 0.0)
        found.append((number * (1 - missed)).sum())
    return np.array(found)


def _log_choose(n: ArrayLike, k: ArrayLike) -> Array:
    n, k = np.asarray(n, dtype=np.float64), np.asarray(k, dtype=np.float64)
    log_factorial = scipy.special.gammaln
    rest = np.maximum(n - k, 0)
    return np.asarray(log_factorial(n + 1) - log_factorial(k + 1) - log_factorial(rest + 1))


def chao(n_showing: ArrayLike, n_images: int) -> float:
    """At least so many codes would be shown by ever more images: Chao's lower bound.

    From the codes that one image shows and those that two show. Source: Chao (1987),
    doi:10.2307/2531532, bias-corrected, for incidences (Chao2); Chao1 is the same of single tokens,
    which are not independent here.

    >>> chao([1, 1, 2, 5], 10)
    4.45
    """
    shown = np.asarray(n_showing)
    once, twice = int((shown == 1).sum()), int((shown == 2).sum())
    share = (n_images - 1) / n_images
    return float((shown > 0).sum() + share * once * (once - 1) / (2 * (twice + 1)))
