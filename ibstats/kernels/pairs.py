"""Pairwise diversity of a set of embeddings, and effective numbers from its similarity matrix.

A squared Euclidean distance of an embedding `phi` needs one Gram product for all pairs, and its
mean over pairs is twice the total variance: `mean_{i<j} ||phi_i - phi_j||^2 = 2/(n-1) * sum_i
||phi_i - mean||^2`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError

Array = NDArray[np.float64]

ROUNDING = 64 * np.finfo(np.float64).eps
"""Squared distances below this share of the squared norms are rounding, and zero."""


def _shifted(phi: ArrayLike) -> Array:
    """Embeddings relative to the first one: distances stay, and equal rows become exactly zero."""
    values = np.asarray(phi, dtype=np.float64)
    shifted: Array = values - values[..., :1, :]
    return shifted


def mean_pairwise_squared(phi: ArrayLike) -> Array:
    """Mean of `||phi_i - phi_j||^2` over unordered pairs, in O(n): `(..., n, d) -> (...)`.

    NaN for n < 2. The mean of `distance_matrix` over pairs, without forming it.

    >>> float(mean_pairwise_squared([[0.0], [1.0], [2.0]]))
    2.0
    """
    shifted = _shifted(phi)
    n = shifted.shape[-2]
    if n < 2:
        return np.full(shifted.shape[:-2], np.nan)
    centred = shifted - shifted.mean(axis=-2, keepdims=True)
    return np.asarray(2.0 / (n - 1) * np.einsum("...nd,...nd->...", centred, centred))


def distance_matrix(phi: ArrayLike) -> Array:
    """Squared Euclidean distances `(..., n, d) -> (..., n, n)`: symmetric, equal rows at exactly 0.

    >>> distance_matrix([[0.0, 0.0], [3.0, 4.0]])
    array([[ 0., 25.],
           [25.,  0.]])
    """
    shifted = _shifted(phi)
    gram = shifted @ np.swapaxes(shifted, -1, -2)
    return distances_from_gram(gram)


def distances_from_gram(gram: ArrayLike) -> Array:
    """Squared distances from inner products, `(..., n, n) -> (..., n, n)`; rounding is exactly 0.

    >>> distances_from_gram(np.eye(2))
    array([[0., 2.],
           [2., 0.]])
    """
    inner = np.asarray(gram, dtype=np.float64)
    norm = np.diagonal(inner, axis1=-2, axis2=-1)
    total = norm[..., :, None] + norm[..., None, :]
    squared = total - (inner + np.swapaxes(inner, -1, -2))
    return np.where(squared <= ROUNDING * total, 0.0, squared)


def mean_upper_triangle(matrix: ArrayLike) -> Array:
    """Mean over unordered pairs of a symmetric matrix: `(..., n, n) -> (...)`; NaN without a pair.

    NaN stands for a pair that there is not, and is left out.

    >>> float(mean_upper_triangle([[0, 1, 2], [1, 0, 3], [2, 3, 0]]))
    2.0
    """
    values = np.asarray(matrix, dtype=np.float64)
    n = values.shape[-1]
    if n < 2:
        return np.full(values.shape[:-2], np.nan)
    rows, columns = np.triu_indices(n, k=1)
    chosen = values[..., rows, columns]
    absent = np.isnan(chosen)
    if not absent.any():
        return np.asarray(chosen.mean(axis=-1))
    number = (~absent).sum(axis=-1)
    total = np.where(absent, 0.0, chosen).sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def cosine_similarity(distance: ArrayLike, squared_norm: ArrayLike) -> Array:
    """Cosine kernel of an embedding from squared distances `(..., n, n)` and norms `(..., n)`.

    Norms are squared ones. NaN in the row and column of an embedding of norm 0.

    >>> cosine_similarity([[0.0, 2.0], [2.0, 0.0]], [1.0, 1.0])
    array([[1., 0.],
           [0., 1.]])
    """
    norm = np.asarray(squared_norm, dtype=np.float64)
    inner = 0.5 * (norm[..., :, None] + norm[..., None, :] - np.asarray(distance, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(inner / np.sqrt(norm[..., :, None] * norm[..., None, :]))


def vendi(K: ArrayLike, q: float = 1) -> Array:
    """Vendi score of order q: effective number of distinct items, `(..., n, n) -> (...)`, 1 to n.

    `K` is a positive semi-definite similarity kernel; it is scaled by its trace. Order 0 counts
    non-zero eigenvalues, 1 is the exponential of their Shannon entropy, infinity is 1 / the
    largest. NaN where K holds NaN; a negative q raises IbstatsError. Source: Friedman & Dieng
    (2023), arXiv:2210.02410; orders: Pasarkar & Dieng (2024), arXiv:2310.12952.

    >>> float(vendi(np.eye(3)).round(6)), float(vendi(np.ones((3, 3))).round(6))
    (3.0, 1.0)
    """
    if not q >= 0:
        raise IbstatsError(f"order q is {q}, but must be >= 0")
    kernel = np.asarray(K, dtype=np.float64)
    n = kernel.shape[-1]
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(kernel).all(axis=(-2, -1)))
    safe = np.where(finite[..., None, None], kernel, np.eye(n))
    weight = np.clip(np.linalg.eigvalsh(safe), 0.0, None)
    weight = weight / weight.sum(axis=-1, keepdims=True)
    weight = np.where(weight < 4 * n * np.finfo(np.float64).eps, 0.0, weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        if q == 1:
            number = np.exp(-np.sum(np.where(weight > 0, weight * np.log(weight), 0.0), axis=-1))
        elif np.isinf(q):
            number = 1.0 / weight.max(axis=-1)
        else:
            number = np.sum(np.where(weight > 0, weight**q, 0.0), axis=-1) ** (1.0 / (1.0 - q))
    return np.asarray(np.where(finite, number, np.nan))


def rke(K: ArrayLike) -> Array:
    """Renyi kernel entropy of order 2 as an effective number, `1 / ||K / tr K||_F^2`.

    `(..., n, n) -> (...)`, equal to `vendi(K, q=2)` without its eigenvalues: quicker for many
    items. Source: Jalali, Li & Farnia (2023), NeurIPS.

    >>> float(rke(np.eye(3)).round(6))
    3.0
    """
    kernel = np.asarray(K, dtype=np.float64)
    trace = np.trace(kernel, axis1=-2, axis2=-1)
    return np.asarray(trace**2 / np.einsum("...ij,...ij->...", kernel, kernel))
