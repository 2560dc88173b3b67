"""How many codes were seen once, twice, ...: all that an entropy needs of counts, many rows at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Multiplicities(NamedTuple):
    """The different counts of some rows, `(pair,)` each, row after row.

    In row `row[j]`, `number[j]` codes were seen `value[j]` times each; zero counts are left out.
    """

    row: NDArray[np.int64]
    value: Array
    number: Array
    total: Array
    """Tokens of each row, `(row,)`."""
    n_codes: int | None
    """Size of the codebook, where it is known."""

    def sum(self, terms: Array) -> Array:
        """Terms `(pair,)` summed by row, `(row,)`: in the same order whatever other rows there are."""
        return np.bincount(self.row, terms, len(self.total)).astype(np.float64)

    @property
    def seen(self) -> Array:
        """Number of different codes seen, `(row,)`."""
        return self.sum(self.number)

    def seen_exactly(self, times: int) -> Array:
        """Number of codes seen that many times, `(row,)` (f1, f2 of the literature)."""
        return self.sum(np.where(self.value == times, self.number, 0.0))

    def rows(self) -> Iterator[Multiplicities]:
        """Each row on its own."""
        ends = np.searchsorted(self.row, np.arange(len(self.total) + 1))
        for number, total in enumerate(self.total):
            inside = slice(ends[number], ends[number + 1])
            row, value, count = self.row[inside] - number, self.value[inside], self.number[inside]
            yield Multiplicities(row, value, count, total[None], self.n_codes)


def multiplicities(counts: ArrayLike, n_codes: int | None = None) -> Multiplicities:
    """Multiplicities of counts `(row, code)`, of a codebook of `n_codes` where it is known.

    >>> m = multiplicities([[3, 0, 1, 1]])
    >>> m.value, m.number, m.total, m.seen
    (array([1., 3.]), array([2., 1.]), array([5.]), array([3.]))
    """
    ordered: NDArray[Any] = np.sort(np.asarray(counts), axis=1)
    first = np.ones(ordered.shape, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    start = np.flatnonzero(first)
    number = np.diff(start, append=ordered.size).astype(float)
    value = ordered.ravel()[start].astype(float)
    row = start // ordered.shape[1]
    seen = value > 0
    total = np.bincount(row, number * value, len(ordered)).astype(np.float64)
    return Multiplicities(row[seen], value[seen], number[seen], total, n_codes)
