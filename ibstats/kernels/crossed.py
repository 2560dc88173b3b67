"""Variance components from squared distances: two crossed factors, and groups.

Distances are squared Euclidean ones of an embedding, up to a common factor, so half a mean distance
is a variance and sums of squares need no embedding: those around a group's mean are the sum of its
distances over pairs, by its size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

ROUNDING = 1e-10
"""Sums of squares below this share of the total are rounding, and exactly zero."""


class Crossed(NamedTuple):
    """Variance components of path, execution and both; half a mean distance is a variance.

    They are unbiased, so an estimate can be negative.
    """

    path: Array
    execution: Array
    interaction: Array


class Pairs(NamedTuple):
    """Mean distances of pairs of samples by what they share, in the unit of the distance."""

    neither: Array
    path_shared: Array
    execution_shared: Array


class Rendered(NamedTuple):
    """Distances of token grids, from those of their images."""

    expected: Array
    """Between what two grids are rendered as in expectation; unbiased for squared distances."""
    others: Array
    """Mean distance of the images of two grids; 0 of a grid to itself."""
    within: Array
    """Mean distance of two images of one grid; 0 where each has one."""


class Grouped(NamedTuple):
    """Mean distances inside a group and between two, and the group's variance component.

    All in the unit of the distance; the component is unbiased, so it can be negative.
    """

    within: Array
    between: Array
    component: Array


def crossed(distance: ArrayLike, n_paths: int, n_executions: int) -> Crossed:
    """Components of `(..., a b, a b)` distances, in halves of the distance; `(...)` each.

    Sample s was made by path s // b and execution s % b. Two-way mean squares without replicates (a
    sample is a function of its two draws): `interaction` is MS_PE, `path` is (MS_P - MS_PE) / b,
    `execution` is (MS_E - MS_PE) / a. Twice their sum is the expected distance of two samples that
    share no draw. Source: Searle, Casella & McCulloch (1992), Variance Components, section 4.3.

    >>> x = np.array([0.0, 0.0, 2.0, 2.0])  # the path alone decides
    >>> [float(part) for part in crossed((x[:, None] - x) ** 2, n_paths=2, n_executions=2)]
    [2.0, 0.0, 0.0]
    """
    a, b = n_paths, n_executions
    values = np.asarray(distance, dtype=np.float64)
    table = values.reshape(*values.shape[:-2], a, b, a, b)
    total = table.sum(axis=(-4, -3, -2, -1)) / (2 * a * b)
    inside_paths = np.einsum("...ijik->...", table) / (2 * b)
    inside_executions = np.einsum("...ijkj->...", table) / (2 * a)
    square_p = _positive(total - inside_paths, total)
    square_e = _positive(total - inside_executions, total)
    interaction = _positive(total - square_p - square_e, total) / ((a - 1) * (b - 1))
    return Crossed(
        np.asarray((square_p / (a - 1) - interaction) / b),
        np.asarray((square_e / (b - 1) - interaction) / a),
        np.asarray(interaction),
    )


def pairs(distance: ArrayLike, n_paths: int, n_executions: int) -> Pairs:
    """Mean distances of `(..., a b, a b)` over pairs that share no draw, or one; `(...)` each.

    Sample s was made by path s // b and execution s % b; any distance will do, with zeros on its
    diagonal. Of squared distances of an embedding with components P, E and PE the means are 2 (P +
    E + PE), 2 (E + PE) and 2 (P + PE) in expectation: shares of the first are 1 less first-order
    indices, and total ones. Means that differ by rounding alone are equal.

    >>> x = np.array([0.0, 0.0, 2.0, 2.0])  # the path alone decides
    >>> [float(part) for part in pairs((x[:, None] - x) ** 2, n_paths=2, n_executions=2)]
    [4.0, 0.0, 4.0]
    """
    a, b = n_paths, n_executions
    values = np.asarray(distance, dtype=np.float64)
    table = values.reshape(*values.shape[:-2], a, b, a, b)
    same_path = np.einsum("...ijik->...", table)
    same_execution = np.einsum("...ijkj->...", table)
    others = table.sum(axis=(-4, -3, -2, -1)) - same_path - same_execution
    neither = _positive(others, others + same_path + same_execution) / (a * b * (a - 1) * (b - 1))
    path = _settled(same_path / (a * b * (b - 1)), neither)
    execution = _settled(same_execution / (a * b * (a - 1)), neither)
    return Pairs(np.asarray(neither), path, execution)


def rendered(distance: ArrayLike, n_renderings: int) -> Rendered:
    """Distances of `n` grids, of `(..., n r, n r)` distances of `r` images of each.

    `expected` and `others` are `(..., n, n)`, `within` is `(..., n)`; sample s is of grid s // r.
    A squared distance of an embedding is, on average, that of the grids' expected images and half of
    what two images of either differ by; `expected` is without the latter, so its components are
    those of the tokens, and half of the mean of `within` is the component of the rendering.

    >>> x = np.array([0.0, 2.0, 4.0, 6.0])  # two grids, each rendered twice
    >>> found = rendered((x[:, None] - x) ** 2, 2)
    >>> float(found.expected[0, 1]), float(found.others[0, 1]), found.within.tolist()
    (14.0, 18.0, [4.0, 4.0])
    """
    values, r = np.asarray(distance, dtype=np.float64), n_renderings
    n = values.shape[-1] // r
    others = values.reshape(*values.shape[:-2], n, r, n, r).mean(axis=(-3, -1))
    own = np.einsum("...ii->...i", others)
    within = own * (r / (r - 1)) if r > 1 else np.zeros_like(own)
    apart = ~np.eye(n, dtype=bool)
    expected = np.where(apart, others - (within[..., :, None] + within[..., None, :]) / 2, 0.0)
    return Rendered(expected, np.where(apart, others, 0.0), within)


def _settled(mean: Array, whole: Array) -> Array:
    """A mean without rounding: 0 or `whole` where it is nearly that."""
    near_zero = np.abs(mean) < ROUNDING * whole
    near_whole = np.abs(mean - whole) < ROUNDING * whole
    return np.where(near_zero, 0.0, np.where(near_whole, whole, mean))


def _positive(square: Array, total: Array) -> Array:
    """A sum of squares without its rounding error: zero where it is nothing beside the total."""
    return np.where(square < ROUNDING * total, 0.0, square)


def grouped(distance: ArrayLike, group: ArrayLike) -> Grouped:
    """Components of `(..., n, n)` distances of samples in groups `(..., n)`; `(...)` each.

    The mean over all pairs is the mean of `within` and `between`, weighted by their numbers of
    pairs; `component` is half of (between - within). NaN without a pair of the kind.

    >>> x = np.array([0.0, 1.0, 4.0, 5.0])
    >>> [float(part) for part in grouped((x[:, None] - x) ** 2, [0, 0, 1, 1])]
    [1.0, 16.5, 7.75]
    """
    values, label = np.asarray(distance, dtype=np.float64), np.asarray(group)
    pair = np.triu(np.ones(values.shape[-2:], dtype=bool), 1)
    same = label[..., :, None] == label[..., None, :]
    within = _mean_where(values, same & pair)
    between = _mean_where(values, ~same & pair)
    return Grouped(within, between, np.asarray((between - within) / 2))


def _mean_where(values: Array, where: NDArray[np.bool_]) -> Array:
    """Mean over the last two axes of what is chosen; NaN where nothing is."""
    count = where.sum(axis=(-2, -1))
    total = np.where(where, values, 0.0).sum(axis=(-2, -1))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def ratio_values(numerator: ArrayLike, denominator: ArrayLike) -> Array:
    """Per-unit values `(n, ...)` whose mean is the ratio of the means, with its standard error.

    The ratio, plus each unit's influence on it (linearisation), so their spread over root n is the
    error of the ratio. NaN where the denominator averages to zero.
    Source: Cochran (1977), Sampling Techniques, section 6.4.

    >>> ratio_values([1.0, 3.0], [2.0, 2.0])
    array([0.5, 1.5])
    """
    x, y = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    mean = y.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(mean == 0, np.nan, x.mean(axis=0) / mean)
        return np.asarray(ratio + (x - ratio * y) / np.where(mean == 0, np.nan, mean))
