"""Chance that two tokens coincide, and the entropies of order two that follow from it.

With f the code frequencies of one image, of m images of each of n prompts,

    within(p) = mean over pairs of images s, t of prompt p of f_ps . f_pt
    other(p)  = mean over other prompts q of F_p . F_q,      F_p = mean over s of f_ps

are unbiased for the chance that tokens of two different images of one prompt, and of two different
prompts, coincide, for any number of images from two on: each product is of independent images, and
codes that nobody saw add nothing. Their means over prompts are W and U; from these H2(Z|X) = -log2
W, H2(Z) = -log2 U, the Hill number 1 / U, and the collision information I2 = log2 (W / U).

Sources: Simpson (1949), doi:10.1038/163688a0 (a chance that two coincide, without bias), here of
images in the place of single tokens; Renyi (1961), entropy of order two; Hill (1973),
doi:10.2307/1934352.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FEWEST = 3
"""Prompts that pseudo-values need: leaving one out must leave a pair of them."""


class Collision(NamedTuple):
    """One number each, or their pseudo-values by prompt; chances, bits, and a number of codes.

    NaN where a logarithm would be of zero.
    """

    within: Array
    """W, chance that tokens of two images of one prompt coincide."""
    between: Array
    """U, chance that tokens of two prompts coincide."""
    excess: Array
    """W - U: its mean is exactly 0 where prompt and code are unrelated."""
    conditional: Array
    """H2(Z|X) = -log2 W, in bits."""
    entropy: Array
    """H2(Z) = -log2 U, in bits."""
    information: Array
    """I2 = log2 (W / U), in bits; the estimate can be negative."""
    hill: Array
    """1 / U, effective number of codes."""


def of_chances(within: ArrayLike, between: ArrayLike) -> Collision:
    """Everything that follows from W and U, same shape; NaN where a logarithm is of zero.

    >>> found = of_chances(0.5, 0.25)
    >>> float(found.conditional), float(found.entropy), float(found.information)
    (1.0, 2.0, 1.0)
    """
    W, U = np.asarray(within, dtype=np.float64), np.asarray(between, dtype=np.float64)
    given, whole = _bits(W), _bits(U)
    with np.errstate(divide="ignore", invalid="ignore"):
        hill = np.where(U > 0, 1 / U, np.nan)
    return Collision(W, U, W - U, given, whole, whole - given, hill)


def _bits(chance: Array) -> Array:
    """-log2 of a chance, NaN of none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(chance > 0, -np.log2(chance), np.nan)


def estimate(within: ArrayLike, other: ArrayLike) -> Collision:
    """Everything from the chances of each prompt `(n, ...) -> (...)`, by their means.

    Logarithms are of the mean over prompts, never means of logarithms. `within` and `other` as in
    the module's head. The log of an estimate is biased by about var / (2 chance^2 ln 2):
    `pseudo_values` remove that.

    >>> float(estimate([0.5, 0.5], [0.25, 0.25]).information)
    1.0
    """
    w, h = np.asarray(within, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return of_chances(w.mean(axis=0), h.mean(axis=0))


def pseudo_values(within: ArrayLike, other: ArrayLike) -> Collision:
    """Jackknife pseudo-values over prompts, `(n, ...)` each.

    Their mean is the estimate less its bias in 1 / n, their spread over root n its standard error;
    those of W, U and W - U average to the estimate itself. NaN for fewer than three prompts, and,
    of a logarithm, where a prompt left out leaves no coincidence. Source: Efron & Tibshirani
    (1993), chapter 11; U is a U-statistic of order two of the prompts.

    >>> values = pseudo_values([0.6, 0.5, 0.4], [0.2, 0.3, 0.25])
    >>> values.within.round(6), float(values.excess.mean().round(6))
    (array([0.6, 0.5, 0.4]), 0.25)
    """
    w, h = np.asarray(within, dtype=np.float64), np.asarray(other, dtype=np.float64)
    n = len(w)
    if n < FEWEST:
        return Collision(*([np.full(w.shape, np.nan)] * len(Collision._fields)))
    W, U = w.mean(axis=0), h.mean(axis=0)
    whole = of_chances(W, U)
    without = of_chances((n * W - w) / (n - 1), (n * U - 2 * h) / (n - 2))
    found = []
    for value, left in zip(whole, without, strict=True):
        pseudo = n * value - (n - 1) * left
        undefined = np.isnan(left).any(axis=0)
        found.append(np.where(undefined, np.nan, pseudo))
    return Collision(*found)
