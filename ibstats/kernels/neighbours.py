"""Nearest neighbours of two sets of features: precision, recall, density, coverage, and their jackknife.

A set's manifold is the union of balls around its members, each as large as the distance to the
member's k-th nearest neighbour in the set. Precision and density ask where generated images lie in
the manifold of real ones; recall how many real ones lie in that of generated ones; coverage how many
real ones have a generated one in their own ball.

Sources: Kynkaanniemi et al. (2019), arXiv:1904.06991, equations 1 and 2 (precision, recall; they take
k = 3); Naeem et al. (2020), arXiv:2002.09797, equations 3 and 4 (density, coverage; they take k = 5).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError
from ibstats.kernels.frechet import LeftOut

Array = NDArray[np.float64]

CHUNK = 1 << 24
"""Distances held at once."""

ROUNDING = 1e-12
"""Share of their squared norms below which two vectors count as equal."""


def radii(features: ArrayLike, k: int) -> Array:
    """Distance of each member of `(n, d)` from its k-th nearest other member, `(n,)`.

    Raises IbstatsError where there are not more than k members.

    >>> radii([[0.0], [1.0], [3.0]], k=1)
    array([1., 1., 2.])
    """
    x = np.asarray(features, dtype=np.float64)
    if len(x) <= k:
        raise IbstatsError(f"{len(x)} images have no {k}th nearest neighbour; take {k + 1} or more")
    found = np.empty(len(x))
    for rows in _chunks(len(x), len(x)):
        squared = _squared(x[rows], x)
        found[rows] = np.partition(squared, k, axis=1)[:, k]  # the nearest of all is itself
    return np.sqrt(found)


def held(features: ArrayLike, centres: ArrayLike, radius: Array) -> NDArray[np.int64]:
    """Number of balls, bounds included, that hold each of `(n, d)`: `(n,)`.

    `centres (m, d)` and `radius (m,)` are those of the balls. Above 0 is precision's answer for an
    image; divided by k it is density's.

    >>> held([[0.5], [9.0]], [[0.0], [1.0]], np.array([1.0, 2.0]))
    array([2, 0])
    """
    x, c = np.asarray(features, dtype=np.float64), np.asarray(centres, dtype=np.float64)
    found = np.empty(len(x), dtype=np.int64)
    for rows in _chunks(len(x), len(c)):
        found[rows] = (_squared(x[rows], c) <= radius**2).sum(axis=1)
    return found


def coverage_left_out(
    features: ArrayLike, real: ArrayLike, radius: Array, group: ArrayLike
) -> LeftOut:
    """Share of real images whose ball holds a generated one, and without each group of these.

    `features (n, d)` are generated, `group (n,)` numbers their groups from 0; `real (m, d)` have
    balls of `radius (m,)`. NaN where no generated image is left.

    >>> coverage_left_out([[0.0], [5.0]], [[0.1], [9.0]], np.array([1.0, 1.0]), [0, 1]).whole
    0.5
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(real, dtype=np.float64)
    member = np.asarray(group)
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(member.max() + 1))
    within = np.empty((len(y), len(starts)), dtype=bool)
    for rows in _chunks(len(y), len(x)):
        inside = _squared(y[rows], x[order]) <= radius[rows, None] ** 2
        within[rows] = np.logical_or.reduceat(inside, starts, axis=1)
    groups = within.sum(axis=1)
    without = (groups[:, None] - within > 0).mean(axis=0)
    if len(starts) == 1:
        without = np.array([np.nan])
    return LeftOut(float((groups > 0).mean()), without)


def recall_left_out(features: ArrayLike, real: ArrayLike, k: int, group: ArrayLike) -> LeftOut:
    """Share of real images in the manifold of generated ones, and without each group of these.

    `features (n, d)` are generated, `group (n,)` numbers their groups from 0; `real` is `(m, d)`.
    The balls of the images that are left grow when a group goes. NaN where not more than k are
    left; memory holds the distances of all pairs.

    >>> recall_left_out([[0.0], [1.0], [2.0]], [[0.5], [9.0]], 1, [0, 1, 2]).without
    array([0.5, 0.5, 0.5])
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(real, dtype=np.float64)
    member = np.asarray(group)
    among, across = _squared(x, x), _squared(y, x)

    def share(kept: NDArray[np.bool_]) -> float:
        """Recall of the images kept."""
        if kept.sum() <= k:
            return np.nan
        squared = np.partition(among[np.ix_(kept, kept)], k, axis=1)[:, k]
        return float((across[:, kept] <= squared).any(axis=1).mean())

    without = []
    for left in range(member.max() + 1):
        without.append(share(member != left))
    return LeftOut(share(np.ones(len(x), dtype=bool)), np.array(without))


def _squared(x: Array, y: Array) -> Array:
    """Squared distances (n, m), exactly 0 of equal vectors."""
    centre = y.mean(axis=0)
    a, b = x - centre, y - centre
    norms = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)
    squared = norms - 2 * (a @ b.T)
    squared[squared < ROUNDING * norms] = 0.0
    return np.asarray(squared)


def _chunks(n: int, width: int) -> list[slice]:
    """Runs of rows whose distances to `width` others fit in memory."""
    size = max(1, CHUNK // width)
    return [slice(start, start + size) for start in range(0, n, size)]
