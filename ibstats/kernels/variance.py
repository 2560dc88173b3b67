"""Sampling variance of a mean over pairs, as a U-statistic of order two.

With n images of one prompt and a symmetric kernel h(i, j), the mean over pairs has variance
`4 (n-2) / (n (n-1)) * zeta1 + 2 / (n (n-1)) * zeta2`, zeta1 = Cov(h(1,2), h(1,3)), zeta2 =
Var(h(1,2)). Source: Hoeffding (1948), doi:10.1214/aoms/1177730196. A contrast of cells with shared
noise is again such a mean, with the contrast of the cells' distances as its kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FEWEST = 4
"""Images that the components need: two pairs that share no image."""


class PairVariance(NamedTuple):
    """Hoeffding's components of one mean over pairs, in squares of the kernel's unit.

    They are unbiased, so an estimate can be negative.
    """

    zeta1: Array
    zeta2: Array

    def at(self, n: ArrayLike) -> Array:
        """Variance of the mean over the pairs of n images, in squares of the kernel's unit.

        >>> float(PairVariance(np.array(0.5), np.array(2.0)).at(5))
        0.5
        """
        size = np.asarray(n, dtype=np.float64)
        return np.asarray((4 * (size - 2) * self.zeta1 + 2 * self.zeta2) / (size * (size - 1)))


def pair_variance(h: ArrayLike) -> PairVariance:
    """Unbiased components from one symmetric matrix per prompt, `(..., n, n) -> (...)` each.

    Products of entries that share no image estimate the squared mean, those that share one or two
    give the rest. NaN for n < 4. The diagonal is not read.

    >>> pair_variance(np.ones((4, 4)))
    PairVariance(zeta1=array(0.), zeta2=array(0.))
    """
    kernel = np.asarray(h, dtype=np.float64)
    n = kernel.shape[-1]
    if n < FEWEST:
        undefined = np.full(kernel.shape[:-2], np.nan)
        return PairVariance(undefined, undefined)
    off = kernel * (1 - np.eye(n))
    row = off.sum(axis=-1)
    same_pair = (off**2).sum(axis=(-2, -1))
    one_shared = (row**2).sum(axis=-1) - same_pair
    none_shared = row.sum(axis=-1) ** 2 - 2 * same_pair - 4 * one_shared
    pairs = n * (n - 1)
    squared_mean = none_shared / (pairs * (n - 2) * (n - 3))
    return PairVariance(
        np.asarray(one_shared / (pairs * (n - 2)) - squared_mean),
        np.asarray(same_pair / pairs - squared_mean),
    )
