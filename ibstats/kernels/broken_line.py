"""Two straight segments that meet at a knot: where a curve changes its slope.

The knot is where least squares of `y = level + below * min(x - knot, 0) + above * max(x - knot, 0)` is smallest. For a
fixed knot the fit is linear. Between two points of `x` the best knot is where the lines of the points on either side
meet, if they meet there, and else one of the two points, so the best of finitely many knots is exact. Source: Hudson
(1966), doi:10.1080/01621459.1966.10482198; Hinkley (1971), doi:10.1093/biomet/58.3.525 (two-phase regression).
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


class BrokenLine(NamedTuple):
    """Best two-segment line of each curve."""

    knot: Array
    slope_below: Array
    slope_above: Array


def knots(x: ArrayLike, n: int) -> Array:
    """The knots that are tried, `(n,)`: even between the second and the second to last of the points `x`, ascending."""
    points = np.asarray(x, dtype=np.float64)
    _check(points)
    return np.linspace(points[PER_SEGMENT - 1], points[-PER_SEGMENT], n)


def _check(points: Array) -> None:
    if len(points) < MIN_POINTS:
        raise IbstatsError(
            f"{len(points)} points were given, but two slopes and their knot need {MIN_POINTS} or more"
        )
    if (np.diff(points) <= 0).any():
        raise IbstatsError("the points of a broken line must ascend, each once")


def _fits(x: ArrayLike, grid: Array) -> Array:
    """Linear maps from a curve to (level, slope below, slope above) at each knot, `(knot, 3, point)`."""
    offset = np.asarray(x, dtype=np.float64) - grid[:, None]
    basis = np.stack([np.ones_like(offset), np.minimum(offset, 0), np.maximum(offset, 0)], axis=-1)
    return np.linalg.pinv(basis)


def fit(x: ArrayLike, curves: ArrayLike) -> BrokenLine:
    """The best broken line of each curve, `(..., point) -> (...)`, knot from the second to the second to last point."""
    points, y = np.asarray(x, dtype=np.float64), np.asarray(curves, dtype=np.float64)
    _check(points)
    at_points = points[PER_SEGMENT - 1 : len(points) - PER_SEGMENT + 1]
    rows = y.reshape(-1, y.shape[-1])
    found, least = np.zeros((len(rows), 3)), np.full(len(rows), np.inf)

    def offer(squares: Array, knot: Array, below: Array, above: Array) -> None:
        better = squares < least
        least[better] = squares[better]
        found[better] = np.column_stack([knot, below, above])[better]

    for knot, to_line in zip(at_points, _fits(points, at_points), strict=True):
        line = rows @ to_line.T
        offset = points - knot
        fitted = line @ np.stack(
            [np.ones_like(offset), np.minimum(offset, 0), np.maximum(offset, 0)]
        )
        offer(((rows - fitted) ** 2).sum(axis=1), np.full(len(rows), knot), line[:, 1], line[:, 2])
    for n_left in range(PER_SEGMENT, len(points) - PER_SEGMENT + 1):
        (left, low), (right, high) = (
            _line(points[side], rows[:, side]) for side in (slice(n_left), slice(n_left, None))
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            knot = (right[0] - left[0]) / (left[1] - right[1])
        inside = (points[n_left - 1] < knot) & (knot < points[n_left])
        offer(np.where(inside, low + high, np.inf), knot, left[1], right[1])
    return BrokenLine(*(column.reshape(y.shape[:-1]) for column in found.T))


def _line(x: Array, y: Array) -> tuple[tuple[Array, Array], Array]:
    """Least-squares line of each row: intercept at zero and slope, and the squares left over."""
    centred = x - x.mean()
    slope = y @ centred / (centred @ centred)
    level = y.mean(axis=1)
    rest = y - level[:, None] - slope[:, None] * centred
    return (level - slope * x.mean(), slope), (rest**2).sum(axis=1)


def slope_changes(x: ArrayLike, curves: ArrayLike, n_knots: int = 40) -> Array:
    """Slope above minus slope below at each knot of a grid, `(..., point) -> (..., knot)`: linear in the curve.

    All are zero in the mean exactly if the mean curve is a straight line, so their max-T test asks whether there is a
    knot at all.
    """
    maps = _fits(x, knots(x, n_knots))
    return np.asarray(curves, dtype=np.float64) @ (maps[:, 2] - maps[:, 1]).T
