"""Two straight segments that meet at a knot: where a curve changes its slope.

The knot is where least squares of `y = level + below * min(x - knot, 0) + above * max(x - knot,
0)` is smallest. For a fixed knot the fit is linear. Between two points of `x` the best knot is
where the lines of the points on either side meet, if they meet there, and else one of the two
points, so the best of finitely many knots is exact. Source: Hudson (1966),
doi:10.1080/01621459.1966.10482198; Hinkley (1971), doi:10.1093/biomet/58.3.525 (two-phase
regression).
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
    """Best two-segment line of each curve: its knot on x, and its slopes in units of y over x.

    Each has the shape of the curves without their points.
    """

    knot: Array
    slope_below: Array
    slope_above: Array


def knots(x: ArrayLike, n: int) -> Array:
    """The n knots that are tried: even from the second to the second to last point, ascending.

    Raises IbstatsError for fewer than five points, or points `(m,)` that do not ascend.

    >>> knots([0, 1, 2, 3, 4], 3)
    array([1., 2., 3.])
    """
    points = np.asarray(x, dtype=np.float64)
    _check(points)
    return np.linspace(points[PER_SEGMENT - 1], points[-PER_SEGMENT], n)


def _check(points: Array) -> None:
    if len(points) < MIN_POINTS:
        raise IbstatsError(
            f"{len(points)} points were given, "
            f"but two slopes and their knot need {MIN_POINTS} or more"
        )
    if (np.diff(points) <= 0).any():
        raise IbstatsError("the points of a broken line must ascend, each once")


def _basis(offset: Array) -> Array:
    """What level, slope below and slope above are multiplied with, `(..., 3)`, by offset."""
    below, above = np.minimum(offset, 0), np.maximum(offset, 0)
    return np.stack([np.ones_like(offset), below, above], axis=-1)


def _fits(x: ArrayLike, grid: Array) -> Array:
    """Maps from a curve to (level, slope below, slope above) at each knot, `(knot, 3, point)`."""
    offset = np.asarray(x, dtype=np.float64) - grid[:, None]
    return np.asarray(np.linalg.pinv(_basis(offset)), dtype=np.float64)


class _Best:
    """The best knot found so far for each curve."""

    def __init__(self, n_curves: int) -> None:
        self.found = np.zeros((n_curves, 3))
        self.least = np.full(n_curves, np.inf)

    def offer(self, squares: Array, knot: Array, below: Array, above: Array) -> None:
        """Take a fit where its sum of squares is smaller."""
        better = squares < self.least
        self.least[better] = squares[better]
        self.found[better] = np.column_stack([knot, below, above])[better]


def fit(x: ArrayLike, curves: ArrayLike) -> BrokenLine:
    """The best broken line of each curve over points x `(point,)`: `(..., point) -> (...)` each.

    The knot lies from the second to the second to last point. Raises IbstatsError as `knots` does.

    >>> line = fit([0, 1, 2, 3, 4], [0, 2, 4, 5, 6])
    >>> [float(value.round(6)) for value in line]
    [2.0, 2.0, 1.0]
    """
    points, y = np.asarray(x, dtype=np.float64), np.asarray(curves, dtype=np.float64)
    _check(points)
    rows = y.reshape(-1, y.shape[-1])
    best = _Best(len(rows))
    at_points = points[PER_SEGMENT - 1 : len(points) - PER_SEGMENT + 1]
    for knot, to_line in zip(at_points, _fits(points, at_points), strict=True):
        line = rows @ to_line.T
        fitted = line @ _basis(points - knot).T
        squares = ((rows - fitted) ** 2).sum(axis=1)
        best.offer(squares, np.full(len(rows), knot), line[:, 1], line[:, 2])
    for n_left in range(PER_SEGMENT, len(points) - PER_SEGMENT + 1):
        left, low = _line(points[:n_left], rows[:, :n_left])
        right, high = _line(points[n_left:], rows[:, n_left:])
        with np.errstate(divide="ignore", invalid="ignore"):
            meeting = (right[0] - left[0]) / (left[1] - right[1])
        between = (points[n_left - 1] < meeting) & (meeting < points[n_left])
        best.offer(np.where(between, low + high, np.inf), meeting, left[1], right[1])
    knot, below, above = (column.reshape(y.shape[:-1]) for column in best.found.T)
    return BrokenLine(knot, below, above)


def fitted(x: ArrayLike, curves: ArrayLike) -> Array:
    """The best broken line of each curve at its points, `(..., point)` as the curves.

    Raises IbstatsError as `knots` does.

    >>> fitted([0, 1, 2, 3, 4], [0, 2, 4, 5, 6]).round(6)
    array([0., 2., 4., 5., 6.])
    """
    points, y = np.asarray(x, dtype=np.float64), np.asarray(curves, dtype=np.float64)
    line = fit(points, y)
    bent = _basis(points - np.asarray(line.knot)[..., None])
    rise = np.stack([line.slope_below, line.slope_above], axis=-1)
    shape = (bent[..., 1:] @ rise[..., None])[..., 0]
    return np.asarray(shape + (y - shape).mean(axis=-1, keepdims=True))


def _line(x: Array, y: Array) -> tuple[tuple[Array, Array], Array]:
    """Least-squares line of each row: intercept at zero and slope, and the squares left over."""
    centred = x - x.mean()
    slope = y @ centred / (centred @ centred)
    level = y.mean(axis=1)
    rest = y - level[:, None] - slope[:, None] * centred
    return (level - slope * x.mean(), slope), (rest**2).sum(axis=1)


def slope_changes(x: ArrayLike, curves: ArrayLike, n_knots: int = 40) -> Array:
    """Slope above minus slope below at each knot of a grid, `(..., point) -> (..., knot)`.

    Linear in the curve. All are zero in the mean exactly if the mean curve is a straight line, so
    their max-T test asks whether there is a knot at all.

    >>> slope_changes([0, 1, 2, 3, 4], [0, 2, 4, 5, 6], n_knots=3).round(6)
    array([-1., -1., -1.])
    """
    maps = _fits(x, knots(x, n_knots))
    return np.asarray(curves, dtype=np.float64) @ (maps[:, 2] - maps[:, 1]).T
