"""The 2^k design within prompts: every quantity is a linear map on the 2^k cells of one prompt.

Cells are arrays with one axis of length 2 per factor, index 0 = low, 1 = high, C order when
flattened. Because each quantity is linear, its per-prompt values follow from per-prompt cells, and
intervals and tests of the mean apply. Factors have no names here; the caller gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from string import ascii_uppercase
from typing import Literal, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError, unknown
from ibstats.kernels.resampling import is_constant

Array = NDArray[np.float64]
Attribution = Literal["marginal", "simple"]

ATTRIBUTIONS = ("marginal", "simple", "shapley")
MAX_FACTORS = 10
"""Matrices are 2^k by 2^k."""
ROUNDING = 32 * np.finfo(np.float64).eps
"""Sums of cells below this share of their absolute terms are rounding, and exactly zero."""


class Anova(NamedTuple):
    """One row of a repeated-measures ANOVA: an effect's F test and its size.

    `partial_eta_squared` is F / (F + df2) for one degree of freedom, from 0 to 1.
    """

    F: float
    df1: int
    df2: int
    p: float
    partial_eta_squared: float


def subsets(k: int) -> list[tuple[int, ...]]:
    """Non-empty subsets of k factors: main effects first, then pairs, and so on.

    Raises IbstatsError unless k is 1 to 10.

    >>> subsets(2)
    [(0,), (1,), (0, 1)]
    """
    if not 1 <= k <= MAX_FACTORS:
        raise IbstatsError(f"k is {k}, but a design has 1 to {MAX_FACTORS} factors")
    found: list[tuple[int, ...]] = []
    for size in range(1, k + 1):
        found += combinations(range(k), size)
    return found


def names(k: int, factors: Sequence[str] | None = None) -> list[str]:
    """Names of the 2^k - 1 effects, in the order of `contrasts`; ':' joins interacting factors.

    `factors` are k names, by default A, B, ... Raises IbstatsError for another number of them.

    >>> names(2, ("sampling", "codebook"))
    ['sampling', 'codebook', 'sampling:codebook']
    """
    labels = ascii_uppercase[:k] if factors is None else factors
    if len(labels) != k:
        raise IbstatsError(f"{len(labels)} factor names were given for k = {k}")
    found = []
    for subset in subsets(k):
        found.append(":".join(labels[i] for i in subset))
    return found


def _levels(k: int) -> NDArray[np.int64]:
    """Level of each factor in each cell, `(2^k, k)`, C order."""
    return np.array(np.unravel_index(np.arange(2**k), (2,) * k), dtype=np.int64).T


def contrast_matrix(k: int) -> Array:
    """Weights of the cells in each contrast, `(2^k, 2^k - 1)`: product of +-1 codes over 2^(k-1).

    >>> contrast_matrix(1)
    array([[-1.],
           [ 1.]])
    """
    signs = 2 * _levels(k) - 1
    columns = []
    for subset in subsets(k):
        columns.append(signs[:, subset].prod(axis=1))
    return np.stack(columns, axis=1) / 2.0 ** (k - 1)


def simple_weights(k: int, factor: int, held: Mapping[int, int]) -> Array:
    """Weights of the cells in the effect of a factor with others at one level, `(2^k,)`.

    `held` has the level of each such factor, 0 low or 1 high, by its number; over the rest the mean
    is taken.

    >>> simple_weights(2, 0, {1: 0})
    array([-1.,  0.,  1.,  0.])
    """
    levels = _levels(k)
    there = np.ones(len(levels), dtype=bool)
    for other, level in held.items():
        there &= levels[:, other] == level
    return there * (2 * levels[:, factor] - 1) / 2.0 ** (k - 1 - len(held))


def _cells(y: ArrayLike, leading: int) -> tuple[Array, int]:
    """Flattened cells `(..., 2^k)` and k, of an array with `leading` axes before the factors."""
    values = np.asarray(y, dtype=np.float64)
    k = values.ndim - leading
    if not 1 <= k <= MAX_FACTORS or values.shape[leading:] != (2,) * k:
        raise IbstatsError(
            f"cells have shape {values.shape[leading:]}, "
            f"but need 1 to {MAX_FACTORS} axes of length 2"
        )
    return values.reshape(*values.shape[:leading], 2**k), k


def linear(cells: ArrayLike, weights: ArrayLike) -> Array:
    """Weighted sums of cells, `(..., cell) x (cell, m) -> (..., m)`.

    Sums that are only rounding are exactly zero: without this, an effect that is zero by
    construction would be tested on the noise of the last digit.

    >>> linear([0.1, 0.2, 0.3], [[1], [1], [-1]])
    array([0.])
    """
    values, matrix = np.asarray(cells, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    total = values @ matrix
    return np.where(np.abs(total) <= ROUNDING * (np.abs(values) @ np.abs(matrix)), 0.0, total)


def contrasts(y: ArrayLike) -> Array:
    """Contrast of each effect in each prompt, in the unit of the cells.

    `(n_prompts, 2, ..., 2) -> (n_prompts, 2^k - 1)`, in the order of `names`. A main effect is the
    mean at high minus the mean at low; an interaction of two is half the difference of the simple
    effects; and so on (product of +-1 codes, divided by 2^(k-1)).

    >>> contrasts([[[0, 1], [2, 5]]])
    array([[3., 2., 1.]])
    """
    cells, k = _cells(y, leading=1)
    return linear(cells, contrast_matrix(k))


def rm_anova(y: ArrayLike, factors: Sequence[str] | None = None) -> dict[str, Anova]:
    """Repeated-measures ANOVA of `(n_prompts, 2, ..., 2)`, a row an effect, by its name.

    Two levels per factor, so every effect has one degree of freedom and F(1, n-1) is the squared t
    of its contrast; sphericity is no question. `factors` as in `names`. NaN where the contrast is
    constant over prompts or n < 2. Equal to statsmodels' AnovaRM.

    >>> table = rm_anova([[1.0, 2.0], [1.0, 4.0], [2.0, 3.0]], ["codebook"])
    >>> round(table["codebook"].F, 3), table["codebook"].df2
    (6.25, 2)
    """
    values = contrasts(y)
    n, n_effects = values.shape
    k = int(np.log2(n_effects + 1))
    table: dict[str, Anova] = {}
    for name, column in zip(names(k, factors), values.T, strict=True):
        F = np.nan
        if n > 1 and not bool(is_constant(column)):
            F = float(n * column.mean() ** 2 / column.var(ddof=1))
        p = float(scipy.special.fdtrc(1, max(n - 1, 1), F))
        table[name] = Anova(F, 1, n - 1, p, F / (F + n - 1))
    return table


def dividends(cell_means: ArrayLike) -> Array:
    """Moebius dividends m_S: what the high levels in S add beyond all proper subsets of S.

    Shape `(2, ..., 2)` like the cells; index 1 on an axis means the factor is in S, and `m` at all
    zeros is the baseline. Sums of m over subsets of S give back the cell with S high.

    >>> dividends([[0, 1], [2, 5]])
    array([[0., 1.],
           [2., 2.]])
    """
    cells, k = _cells(cell_means, leading=0)
    values = cells.reshape((2,) * k)
    for axis in range(k):
        low, high = np.split(values, 2, axis=axis)
        values = np.concatenate([low, high - low], axis=axis)
    return values


def dividend_matrix(k: int) -> Array:
    """Weights of the cells in each Moebius dividend, `(2^k cells, 2^k subsets)`, both in C order.

    >>> dividend_matrix(1)
    array([[ 1., -1.],
           [ 0.,  1.]])
    """
    rows = []
    for unit in np.eye(2**k):
        rows.append(dividends(unit.reshape((2,) * k)).ravel())
    return np.stack(rows)


def attribution_matrix(k: int, effects: str) -> Array:
    """Weights of the cells in each factor's share of the waterfall, `(2^k, k)`.

    `effects`: `marginal` (averaged over the other factors), `simple` (one factor at a time from
    the baseline) or `shapley` (order-free); IbstatsError for another name.

    >>> attribution_matrix(2, "simple").T
    array([[-1.,  0.,  1.,  0.],
           [-1.,  1.,  0.,  0.]])
    """
    dividend, levels = dividend_matrix(k), _levels(k)
    order = levels.sum(axis=1)
    if effects == "marginal":
        return contrast_matrix(k)[:, :k]
    if effects == "simple":
        columns = []
        for i in range(k):
            alone = (order == 1) & (levels[:, i] == 1)
            columns.append(dividend[:, alone].sum(axis=1))
        return np.stack(columns, axis=1)
    if effects == "shapley":
        share = levels / np.maximum(order, 1)[:, None]
        return np.asarray(dividend @ share)
    raise unknown("attribution", effects, ATTRIBUTIONS)


def gap_weights(k: int, effects: str) -> Array:
    """Weights of the cells in the synergy gap, `(2^k,)`: (high - low) minus the factors' shares.

    `effects` as in `attribution_matrix`; of `shapley` the gap is zero by definition.

    >>> gap_weights(2, "simple")
    array([ 1., -1., -1.,  1.])
    """
    weights: Array = -attribution_matrix(k, effects).sum(axis=1)
    weights[-1] += 1.0
    weights[0] -= 1.0
    return weights


def synergy_gap(cell_means: ArrayLike, effects: Attribution = "marginal") -> float:
    """All-high cell minus the additive prediction, in the unit of the cells; paper, A.1.

    The prediction is the all-low cell of `(2, ..., 2)` plus one effect per factor. `marginal`
    effects (averaged over the other factors): the gap is the sum of the interaction contrasts of
    odd order >= 3, so with two factors it is zero by algebra. `simple` effects (one factor at a
    time from the baseline): the gap is the sum of the Moebius dividends of order >= 2, informative
    for any k. Another name raises IbstatsError.

    >>> cells = [[0, 1], [2, 5]]
    >>> synergy_gap(cells), synergy_gap(cells, "simple")
    (0.0, 2.0)
    """
    cells, k = _cells(cell_means, leading=0)
    if effects not in ("marginal", "simple"):
        raise unknown("effects", effects, ("marginal", "simple"))
    return float(linear(cells, gap_weights(k, effects)[:, None])[0])


def shapley(cell_means: ArrayLike) -> Array:
    """Order-free share of each factor in (all-high - all-low), `(2, ..., 2) -> (k,)`.

    The sum over subsets S that contain the factor of the dividend m_S over the size of S; the
    shares add up to high minus low. Source: Shapley (1953); Harsanyi (1963) for the dividends.

    >>> shapley([[0, 1], [2, 5]])
    array([3., 2.])
    """
    cells, k = _cells(cell_means, leading=0)
    return linear(cells, attribution_matrix(k, "shapley"))
