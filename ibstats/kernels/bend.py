"""Does a curve have a corner, or only bend? The broken line against smooth curves that level off too.

Three smooth families: the quadratic `a + b x + c x^2`, the saturating `a + b exp(-x / c)`, and the power
`a + b (x^c - 1) / c`, which is the logarithm at c = 0 and the root at 1/2. Of two models, neither a case of
the other, one is refused if what the other adds to it is more than chance: the J test, whose chance is taken
from resamples under the first. Source: Davidson & MacKinnon (1981), doi:10.2307/1911522 (J test), and (2002),
Journal of Econometrics 109, 167-193 (by resampling); Box & Cox (1964),
doi:10.1111/j.2517-6161.1964.tb00553.x (power).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ibstats.kernels import broken_line

Array = NDArray[np.float64]

RATES = np.geomspace(0.02, 20.0, 161)
"""Rates of the saturating curve that are tried, in units of the range of x."""
POWERS = np.linspace(-2.0, 4.0, 121)
"""Powers that are tried; 0 is the logarithm."""
POWER = 0.8
"""Share of studies in which the units that are counted would refuse a family."""


@dataclass(frozen=True)
class Model:
    """A family of curves over some points.

    `fit` gives the least-squares curves `(curve, point)` to curves of that shape; `plane` what a curve
    `(point,)` of the family can become by small changes of its parameters, `(point, direction)`.
    """

    fit: Callable[[Array], Array]
    plane: Callable[[Array], Array]


def corner(x: Array) -> Model:
    """The broken line over points `(point,)`; raises IbstatsError as `broken_line.fit` does."""

    def fit(curves: Array) -> Array:
        return broken_line.fitted(x, curves)

    def plane(curve: Array) -> Array:
        offset = x - float(broken_line.fit(x, curve).knot)
        return np.stack(
            [np.ones_like(x), np.minimum(offset, 0), np.maximum(offset, 0), offset > 0], axis=1
        )

    return Model(fit, plane)


def smooth(x: Array) -> dict[str, Model]:
    """The smooth families over points `(point,)` above 0, by name."""
    square = np.stack([np.ones_like(x), x, x**2], axis=1)
    offset = (x - x[0]) / np.ptp(x)
    saturating = []
    for rate in RATES:
        falling = np.exp(-offset / rate)
        saturating.append(np.stack([np.ones_like(x), falling, offset * falling], axis=1))
    scaled = np.log(x / x[-1])
    power = []
    for exponent in POWERS:
        if abs(exponent) < 1e-9:
            columns = [np.ones_like(x), scaled, scaled**2]
        else:
            raised = np.exp(exponent * scaled)
            columns = [np.ones_like(x), raised, raised * scaled]
        power.append(np.stack(columns, axis=1))
    families = {"saturating": saturating, "power": power}
    made = {"quadratic": Model(lambda curves: curves @ _onto(square), lambda curve: square)}
    for name, planes in families.items():
        made[name] = _of_shapes(planes)
    return made


def _of_shapes(planes: list[Array]) -> Model:
    """A family with a shape: `planes` of level, slope and the change by the shape, one a shape tried."""
    bases = np.stack([np.linalg.qr(plane[:, :2])[0] for plane in planes])
    columns = bases.transpose(1, 0, 2).reshape(bases.shape[1], -1)

    def best(curves: Array) -> NDArray[np.intp]:
        """The shape whose curves explain most of each curve."""
        explained = ((curves @ columns) ** 2).reshape(len(curves), -1, 2).sum(axis=2)
        return np.asarray(explained.argmax(axis=1))

    def fit(curves: Array) -> Array:
        basis = bases[best(curves)]
        return np.asarray(np.einsum("cp,cpk,cqk->cq", curves, basis, basis, optimize=True))

    def plane(curve: Array) -> Array:
        return planes[int(best(curve[None])[0])]

    return Model(fit, plane)


def _onto(plane: Array) -> Array:
    """The projection onto a plane `(point, direction)`, `(point, point)`."""
    basis, sizes, _ = np.linalg.svd(plane.astype(np.float64), full_matrices=False)
    basis = basis[:, sizes > 1e-10 * sizes[0]]
    return np.asarray(basis @ basis.T)


class Refusal(NamedTuple):
    """A test of one family of curves against another one.

    `p` is small where the other family follows the mean in what the first cannot, by more than in
    resamples whose mean is of the first. `units`: how many would refuse the first family with power
    .8, were the mean the curve of the other one that comes nearest to it; infinite where what that one
    adds is no more than noise adds by itself.
    """

    p: float
    units: float


def refusal(
    curves: ArrayLike, null: Model, other: Model, weights: ArrayLike, alpha: float = 0.05
) -> Refusal:
    """Whether the mean of curves `(unit, point)` is of one family, `null`, against another one.

    `weights (resample, unit)`: how often each unit is drawn. `alpha`: the level at which units refuse.
    """
    y, drawn = np.asarray(curves, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    n = len(y)
    mean = y.mean(axis=0)
    under_null = null.fit(mean[None])[0]
    outside = np.eye(len(mean)) - _onto(null.plane(mean))
    centred = y - mean
    direction = other.fit(mean[None]) @ outside
    observed = _t(direction, y, np.ones((1, n)))
    resampled = under_null + drawn @ centred / n
    chance = _t(other.fit(resampled) @ outside, under_null + centred, drawn)
    p = float((1 + (chance >= observed).sum()) / (1 + len(chance)))
    if observed[0] == 0:
        return Refusal(p, np.inf)
    error = float((centred @ direction[0]).std(ddof=1))
    # the squared t of one unit, less what the noise of n adds to it
    shown = max((float(direction[0] @ direction[0]) / error) ** 2 - 1 / n, 0.0)
    reach = float(np.quantile(chance, 1 - alpha) + scipy.special.ndtri(POWER))
    return Refusal(p, reach**2 / shown if shown > 0 else np.inf)


def _t(directions: Array, y: Array, weights: Array) -> Array:
    """t of the mean along a direction, of each resample `(resample,)`; 0 where nothing is added."""
    n = len(y)
    along = directions @ y.T
    mean = (weights * along).sum(axis=1) / n
    square = (weights * along**2).sum(axis=1) / n
    error = np.sqrt(np.maximum(square - mean**2, 0.0) / (n - 1))
    nothing = error <= 1e-12 * np.abs(y).max() * np.abs(directions).max(axis=1)
    return np.where(nothing, 0.0, mean / np.where(nothing, 1.0, error))
