"""Two straight segments that meet at a knot: where a curve changes its slope.

The knot is where least squares of `y = level + below * min(x - knot, 0) + above * max(x - knot, 0)` is smallest over a
grid of knots; for a fixed knot the fit is linear. Source: Hinkley (1971), doi:10.1093/biomet/58.3.525 (two-phase
regression); Muggeo (2003), doi:10.1002/sim.1545.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError

Array = NDArray[np.float64]

PER_SEGMENT = 2
"""Points that each segment has at least, counting one at the knot itself."""
MIN_POINTS = 5
"""Level, two slopes and a knot leave nothing to judge the fit by in fewer."""
N_KNOTS = 200


class BrokenLine(NamedTuple):
    """Best two-segment line of each curve."""

    knot: Array
    slope_below: Array
    slope_above: Array


def knots(x: ArrayLike, n: int = N_KNOTS) -> Array:
    """The knots that are tried, `(n,)`: even between the second and the second to last of the points `x`, ascending."""
    points = np.asarray(x, dtype=np.float64)
    if len(points) < MIN_POINTS:
        raise IbstatsError(f"{len(points)} points were given, but two slopes and their knot need {MIN_POINTS} or more")
    if (np.diff(points) <= 0).any():
        raise IbstatsError("the points of a broken line must ascend, each once")
    return np.linspace(points[PER_SEGMENT - 1], points[-PER_SEGMENT], n)


def _fits(x: ArrayLike, grid: Array) -> Array:
    """Linear maps from a curve to (level, slope below, slope above) at each knot, `(knot, 3, point)`."""
    offset = np.asarray(x, dtype=np.float64) - grid[:, None]
    basis = np.stack([np.ones_like(offset), np.minimum(offset, 0), np.maximum(offset, 0)], axis=-1)
    return np.linalg.pinv(basis)


def fit(x: ArrayLike, curves: ArrayLike, n_knots: int = N_KNOTS) -> BrokenLine:
    """The best broken line of each curve, `(..., point) -> (...)`."""
    y = np.asarray(curves, dtype=np.float64)
    grid = knots(x, n_knots)
    maps = _fits(x, grid)
    rows = y.reshape(-1, y.shape[-1])
    best = np.full(len(rows), -np.inf)
    found = np.zeros((len(rows), 3))
    for knot, to_line in zip(grid, maps, strict=True):
        line = rows @ to_line.T
        offset = np.asarray(x) - knot
        fitted = line @ np.stack([np.ones_like(offset), np.minimum(offset, 0), np.maximum(offset, 0)])
        explained = -((rows - fitted) ** 2).sum(axis=-1)
        better = explained > best
        best[better] = explained[better]
        found[better] = np.column_stack([np.full(better.sum(), knot), line[better, 1:]])
    return BrokenLine(*(column.reshape(y.shape[:-1]) for column in found.T))


def slope_changes(x: ArrayLike, curves: ArrayLike, n_knots: int = 40) -> Array:
    """Slope above minus slope below at each knot of a grid, `(..., point) -> (..., knot)`: linear in the curve.

    All are zero in the mean exactly if the mean curve is a straight line, so their max-T test asks whether there is a
    knot at all.
    """
    maps = _fits(x, knots(x, n_knots))
    return np.asarray(curves, dtype=np.float64) @ (maps[:, 2] - maps[:, 1]).T
