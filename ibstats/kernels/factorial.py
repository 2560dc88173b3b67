"""The 2^k within-prompt design: every quantity is a linear map on the 2^k cells of one prompt.

Cells are arrays with one axis of length 2 per factor, index 0 = low, 1 = high, C order when flattened. Because each
quantity is linear, its per-prompt values follow from per-prompt cells, and intervals and tests of the mean apply.
"""

from __future__ import annotations

from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError, unknown
from ibstats.kernels.resampling import is_constant

Array = NDArray[np.float64]
Attribution = Literal["marginal", "simple"]

FACTORS = ("sampling", "prompt_type", "codebook")
MAX_FACTORS = 5
ROUNDING = 32 * np.finfo(np.float64).eps


class Anova(NamedTuple):
    """One row of a repeated-measures ANOVA."""

    F: float
    df1: int
    df2: int
    p: float
    partial_eta_squared: float


def subsets(k: int) -> list[tuple[int, ...]]:
    """Non-empty subsets of k factors: main effects first, then pairs, and so on."""
    if not 1 <= k <= MAX_FACTORS:
        raise IbstatsError(f"k is {k}, but a design has 1 to {MAX_FACTORS} factors")
    return [subset for size in range(1, k + 1) for subset in combinations(range(k), size)]


def names(k: int = 3, factors: tuple[str, ...] | None = None) -> list[str]:
    """Names of the 2^k - 1 effects, in the order of `contrasts`; an interaction joins its factors with ':'."""
    labels = factors or (FACTORS if k == len(FACTORS) else tuple("ABCDE"[:k]))
    if len(labels) != k:
        raise IbstatsError(f"{len(labels)} factor names were given for k = {k}")
    return [":".join(labels[i] for i in subset) for subset in subsets(k)]


def _levels(k: int) -> NDArray[np.int64]:
    """Level of each factor in each cell, `(2^k, k)`, C order."""
    return np.array(np.unravel_index(np.arange(2**k), (2,) * k), dtype=np.int64).T


def contrast_matrix(k: int) -> Array:
    """Weights of the cells in each contrast, `(2^k, 2^k - 1)`: product of +-1 codes over 2^(k-1)."""
    signs = 2 * _levels(k) - 1
    return np.stack([signs[:, subset].prod(axis=1) for subset in subsets(k)], axis=1) / 2.0 ** (
        k - 1
    )


def _cells(y: ArrayLike, leading: int) -> tuple[Array, int]:
    """Flattened cells `(..., 2^k)` and k, of an array with `leading` axes before the factors."""
    values = np.asarray(y, dtype=np.float64)
    k = values.ndim - leading
    if not 1 <= k <= MAX_FACTORS or values.shape[leading:] != (2,) * k:
        raise IbstatsError(
            f"cells have shape {values.shape[leading:]}, but need 1 to {MAX_FACTORS} axes of length 2"
        )
    return values.reshape(*values.shape[:leading], 2**k), k


def linear(cells: ArrayLike, weights: ArrayLike) -> Array:
    """Weighted sums of cells, `(..., cell) x (cell, m) -> (..., m)`; sums that are only rounding are exactly zero.

    Without this, an effect that is zero by construction would be tested on the noise of the last digit.
    """
    values, matrix = np.asarray(cells, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    total = values @ matrix
    return np.where(np.abs(total) <= ROUNDING * (np.abs(values) @ np.abs(matrix)), 0.0, total)


def contrasts(y: ArrayLike) -> Array:
    """Contrast of each effect in each prompt: `(n_prompts, 2, ..., 2) -> (n_prompts, 2^k - 1)`, order of `names`.

    A main effect is the mean at high minus the mean at low; an interaction of two is half the difference of the
    simple effects; and so on (product of +-1 codes, divided by 2^(k-1)).
    """
    cells, k = _cells(y, leading=1)
    return linear(cells, contrast_matrix(k))


def rm_anova(y: ArrayLike, factors: tuple[str, ...] | None = None) -> dict[str, Anova]:
    """Repeated-measures ANOVA of `(n_prompts, 2, ..., 2)`: effect -> (F, df1, df2, p, partial eta squared).

    Two levels per factor, so every effect has one degree of freedom and F(1, n-1) is the squared t of its contrast;
    sphericity is no question. NaN where the contrast is constant over prompts or n < 2.
    """
    values = contrasts(y)
    n, n_effects = values.shape
    k = int(np.log2(n_effects + 1))
    table: dict[str, Anova] = {}
    for name, column in zip(names(k, factors), values.T, strict=True):
        undefined = n < 2 or bool(is_constant(column[:, None])[0])
        F = np.nan if undefined else float(n * column.mean() ** 2 / column.var(ddof=1))
        table[name] = Anova(
            F, 1, n - 1, float(scipy.special.fdtrc(1, max(n - 1, 1), F)), F / (F + n - 1)
        )
    return table


def dividends(cell_means: ArrayLike) -> Array:
    """Moebius dividends m_S, same shape as the cells: what the high levels in S add beyond all proper subsets.

    Index 1 on an axis means the factor is in S; `m` at all zeros is the baseline. Sums of m over subsets of S give
    back the cell with S high.
    """
    cells, k = _cells(cell_means, leading=0)
    values = cells.reshape((2,) * k)
    for axis in range(k):
        low, high = np.split(values, 2, axis=axis)
        values = np.concatenate([low, high - low], axis=axis)
    return values


def dividend_matrix(k: int) -> Array:
    """Weights of the cells in each Moebius dividend, `(2^k cells, 2^k subsets)`."""
    return np.stack([dividends(unit.reshape((2,) * k)).ravel() for unit in np.eye(2**k)])


def attribution_matrix(k: int, effects: str) -> Array:
    """Weights of the cells in each factor's share of the waterfall, `(2^k, k)`: marginal, simple or shapley."""
    dividend, levels = dividend_matrix(k), _levels(k)
    order = levels.sum(axis=1)
    if effects == "marginal":
        return contrast_matrix(k)[:, :k]
    if effects == "simple":
        return np.stack(
            [dividend[:, (order == 1) & (levels[:, i] == 1)].sum(axis=1) for i in range(k)], axis=1
        )
    if effects == "shapley":
        share = levels / np.maximum(order, 1)[:, None]
        return np.asarray(dividend @ share)
    raise unknown("attribution", effects, ("marginal", "simple", "shapley"))


def gap_weights(k: int, effects: str) -> Array:
    """Weights of the cells in the synergy gap: (high - low) minus the sum of the factors' shares, `(2^k,)`."""
    weights: Array = -attribution_matrix(k, effects).sum(axis=1)
    weights[-1] += 1.0
    weights[0] -= 1.0
    return weights


def synergy_gap(cell_means: ArrayLike, effects: Attribution = "marginal") -> float:
    """All-high cell minus the additive prediction (all-low cell plus one effect per factor); paper, A.1.

    `marginal` effects (averaged over the other factors): the gap is the sum of the interaction contrasts of odd
    order >= 3, so with two factors it is zero by algebra. `simple` effects (one factor at a time from the
    baseline): the gap is the sum of the Moebius dividends of order >= 2, informative for any k.
    """
    cells, k = _cells(cell_means, leading=0)
    if effects not in ("marginal", "simple"):
        raise unknown("effects", effects, ("marginal", "simple"))
    return float(linear(cells, gap_weights(k, effects)[:, None])[0])


def shapley(cell_means: ArrayLike) -> Array:
    """Order-free share of each factor in (all-high - all-low): `sum over S containing i of m_S / |S|`; `(k,)`."""
    cells, k = _cells(cell_means, leading=0)
    return linear(cells, attribution_matrix(k, "shapley"))
