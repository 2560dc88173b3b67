"""Hall's transformed t: what skewed values do to the t of a mean, and how to take it out.

Of n values of that skewness, t leans to one side by terms of order 1 / root n; a cubic of it, which
rises everywhere, has the t law but for terms of order 1 / n. All is told by the `lean` c, the
skewness over root n. Source: Hall (1992), doi:10.1111/j.2517-6161.1992.tb01872.x.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

NO_LEAN = 1e-6
"""Lean below which the transformed t is shifted alone."""
MOST_UNEQUAL = 4.0
"""The most that one arm of an interval can be of the other, whatever the lean."""


def transformed(t: ArrayLike, lean: ArrayLike) -> Array:
    """The cubic of t, whose law is nearly the t law: any shapes that go together.

    >>> float(transformed(-2.0, 0.0)), round(float(transformed(-2.0, 0.3)), 3)
    (-2.0, -1.577)
    """
    x, c = np.asarray(t, dtype=np.float64), np.asarray(lean, dtype=np.float64)
    return np.asarray(x + c * x**2 / 3 + c**2 * x**3 / 27 + c / 6)


def untransformed(value: ArrayLike, lean: ArrayLike) -> Array:
    """The t whose cubic is that value.

    >>> round(float(untransformed(-1.577, 0.3)), 2)
    -2.0
    """
    c = np.asarray(lean, dtype=np.float64)
    shifted = np.asarray(value, dtype=np.float64) - c / 6
    with np.errstate(divide="ignore", invalid="ignore"):
        root = 3 * (np.cbrt(1 + c * shifted) - 1) / c
    return np.asarray(np.where(np.abs(c) < NO_LEAN, shifted, root))


def lean_of(ratio: float, reach: float) -> float:
    """The lean that makes the longer arm of an interval so many times the shorter one, of `reach`.

    `reach` is the quantile of the t law at the interval's level, which the shorter arm is in standard
    errors. At least 0; a ratio above `MOST_UNEQUAL` counts as that.

    >>> round(lean_of(float(-untransformed(-2.0, 0.3)) / 2.0, 2.0), 6), lean_of(1.0, 2.0)
    (0.3, 0.0)
    """
    if ratio <= 1:
        return 0.0
    arm = min(ratio, MOST_UNEQUAL) * reach
    # the cubic of -arm is -reach: a quadratic equation for c, of which the smaller root counts
    square, linear, rest = arm**3 / 27, arm**2 / 3 + 1 / 6, arm - reach
    return float((linear - np.sqrt(linear**2 - 4 * square * rest)) / (2 * square))
