"""Bounds on the log of a sum over paths, from importance weights of a few."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def log2_mean(log_weight: ArrayLike) -> Array:
    """log2 of the mean of 2**w over the last axis, in bits; -inf where all weights are zero.

    >>> float(log2_mean([0.0, -np.inf]))
    -1.0
    """
    w = np.asarray(log_weight, dtype=np.float64)
    top = w.max(axis=-1, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        found: Array = np.log2(np.exp2(w - shift).mean(axis=-1)) + shift[..., 0]
    return found


def below(proposed: ArrayLike, k: int) -> Array:
    """Below log2 q(Z) in expectation: log2 of the mean weight of k proposed paths, in bits.

    `(..., path) -> (...)`, averaged over the disjoint groups of k that the paths make. Of one set
    of weights it grows from k to 2k, by Jensen's inequality, as long as all paths are used.
    Source: Burda, Grosse & Salakhutdinov (2016), arXiv:1509.00519.

    >>> weights = np.log2([0.5, 0.125, 0.25, 0.25])
    >>> float(below(weights, 1)), float(below(weights, 4).round(3))
    (-2.0, -1.83)
    """
    groups = _groups(proposed, k)
    return np.asarray(log2_mean(groups).mean(axis=-1))


def above(own: ArrayLike, proposed: ArrayLike, k: int) -> Array:
    """Above log2 q(Z) in expectation, in bits: the path that made Z beside k - 1 proposed ones.

    `(...), (..., path) -> (...)`, averaged over the disjoint groups of k - 1; for k = 1 the weight
    of the own path. Source: Sobolev & Vetrov (2019), arXiv:1905.03290; exact samples of the
    posterior from simulated data are an idea of Grosse, Ghahramani & Adams (2015),
    arXiv:1511.02543.

    >>> float(above(-1.0, [-1.0, -1.0], 3))
    -1.0
    """
    mine = np.asarray(own, dtype=np.float64)
    if k == 1:
        return mine
    groups = _groups(proposed, k - 1)
    beside = np.broadcast_to(mine[..., None, None], (*groups.shape[:-1], 1))
    return np.asarray(log2_mean(np.concatenate([beside, groups], axis=-1)).mean(axis=-1))


def _groups(values: ArrayLike, size: int) -> Array:
    """The last axis cut into as many whole groups as there are, `(..., group, size)`."""
    x = np.asarray(values, dtype=np.float64)
    n = x.shape[-1] // size
    return x[..., : n * size].reshape(*x.shape[:-1], n, size)
