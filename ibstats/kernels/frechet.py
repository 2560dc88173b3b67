"""Distances between distributions of features: Frechet (FID) and kernel (KID), and what leaving groups out changes.

Frechet distance of two Gaussians with the moments of the features: `|m - m'|^2 + tr S + tr S' - 2 tr (S S')^(1/2)`.
The last trace is the sum of the square roots of the eigenvalues of `C S' C^T / (n - 1)`, C the centred features, an
n x n symmetric matrix: for few images far smaller than `S S'`, and never unsymmetric.

It is biased: with n images it is too large by about b / n, and worse where n is not above the number of features
(the covariance is singular). `pseudo_values` remove the term in 1 / n; the kernel distance has no bias.

Sources: Heusel et al. (2017), arXiv:1706.08500; Binkowski et al. (2018), arXiv:1801.01401 (KID, bias of FID); Chong &
Forsyth (2020), arXiv:1911.07023 (extrapolation to infinitely many images).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError

Array = NDArray[np.float64]

CHUNK = 1 << 24
"""Kernel values held at once."""


@dataclass(frozen=True)
class Target:
    """The distribution compared with: moments, and a sample of its features where there is one."""

    mean: Array
    """(d,)"""
    covariance: Array
    """(d, d), unbiased."""
    features: Array | None = None
    """(m, d)"""

    @cached_property
    def root(self) -> Array:
        """A factor with `root @ root.T` the covariance, (d, rank)."""
        with suppress(np.linalg.LinAlgError):  # singular: fewer images than features
            return np.asarray(np.linalg.cholesky(self.covariance))
        value, vector = np.linalg.eigh(self.covariance)
        kept = value > value[-1] * len(value) * np.finfo(np.float64).eps
        return np.asarray(vector[:, kept] * np.sqrt(value[kept]))

    @cached_property
    def self_kernel(self) -> float:
        """Mean kernel of two different members of the sample."""
        assert self.features is not None
        n = len(self.features)
        total = _kernel_sums(self.features, self.features, np.arange(n)).sum()
        own = ((self.features**2).sum(axis=1) / self.features.shape[1] + 1) ** 3
        return float((total - own.sum()) / (n * (n - 1)))


def moments(features: ArrayLike) -> Target:
    """The distribution of a sample `(n, d)`; at least two."""
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise IbstatsError(f"features are {x.shape}, but moments need two or more rows of (n, d)")
    return Target(x.mean(axis=0), np.cov(x, rowvar=False).reshape(x.shape[1], x.shape[1]), x)


class LeftOut(NamedTuple):
    """A statistic of all groups, and without each of them in turn."""

    whole: float
    without: Array
    """(groups,)"""


def frechet(features: ArrayLike, target: Target) -> float:
    """Frechet distance of `(n, d)` from the target, as FID is; NaN for fewer than two images."""
    value, n = _frechet(features, target)
    return value(np.ones(n, dtype=bool))


def frechet_left_out(features: ArrayLike, target: Target, group: ArrayLike) -> LeftOut:
    """The same, and without each group in turn; `group (n,)` numbers the groups from 0."""
    value, n = _frechet(features, target)
    member = np.asarray(group)
    without = [value(member != g) for g in range(member.max() + 1)]
    return LeftOut(value(np.ones(n, dtype=bool)), np.array(without))


def _frechet(
    features: ArrayLike, target: Target
) -> tuple[Callable[[NDArray[np.bool_]], float], int]:
    """The distance as a function of the images kept: products of all images are formed once."""
    x = np.asarray(features, dtype=np.float64) - target.mean
    n, d = x.shape
    centre = x.mean(axis=0) if n else np.zeros(d)
    c = x - centre
    few = n < d
    z = c if few else c @ target.root
    product = c @ target.covariance @ c.T if few else z.T @ z
    square = (c**2).sum(axis=1)
    spread = float(np.trace(target.covariance))

    def value(kept: NDArray[np.bool_]) -> float:
        """Distance of the images kept; NaN below two of them."""
        size = int(kept.sum())
        if size < 2:
            return np.nan
        shift = c[kept].mean(axis=0)
        if few:
            inner = product if size == n else product[np.ix_(kept, kept)]
            inner = inner - inner.mean(axis=0) - inner.mean(axis=1)[:, None] + inner.mean()
        else:
            gone, shifted = z[~kept], z[kept].mean(axis=0)
            inner = product - gone.T @ gone - size * np.outer(shifted, shifted)
        root = np.sqrt(np.linalg.eigvalsh(inner).clip(0)).sum() / np.sqrt(size - 1)
        own = (square[kept].sum() - size * (shift**2).sum()) / (size - 1)
        return float(((centre + shift) ** 2).sum() + own + spread - 2 * root)

    return value, n


def kernel_distance(features: ArrayLike, target: Target) -> float:
    """Squared maximum mean discrepancy under the kernel `(x.y / d + 1)^3`, unbiased, as KID of all images is."""
    n = len(np.asarray(features))
    return kernel_left_out(features, target, np.arange(n)).whole


def kernel_left_out(features: ArrayLike, target: Target, group: ArrayLike) -> LeftOut:
    """Unbiased kernel distance over pairs of images of different groups, and without each group in turn.

    Images of one prompt are no independent draws of the model's images, so pairs inside a prompt would bias it.
    NaN where no pair is left.
    """
    if target.features is None:
        raise IbstatsError(
            "the kernel distance needs the features of the reference set, not its moments alone"
        )
    x, member = np.asarray(features, dtype=np.float64), np.asarray(group)
    if len(x) == 0:
        raise IbstatsError("the kernel distance of no image is undefined")
    count = np.bincount(member).astype(np.float64)
    within = _grouped(_kernel_sums(x, x, member), member)
    across = _grouped(
        _kernel_sums(x, target.features, np.zeros(len(target.features), dtype=int)), member
    )[:, 0]
    np.fill_diagonal(within, 0.0)
    pairs = np.outer(count, count)
    np.fill_diagonal(pairs, 0.0)
    n_target = len(target.features)

    def value(total: ArrayLike, n_pairs: ArrayLike, cross: ArrayLike, n: ArrayLike) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            inside = np.asarray(total) / np.asarray(n_pairs)
            return np.asarray(
                inside + target.self_kernel - 2 * np.asarray(cross) / (np.asarray(n) * n_target)
            )

    whole = value(within.sum(), pairs.sum(), across.sum(), count.sum())
    rest = (within.sum() - 2 * within.sum(axis=1), pairs.sum() - 2 * pairs.sum(axis=1))
    return LeftOut(float(whole), value(*rest, across.sum() - across, count.sum() - count))


def _kernel_sums(x: Array, y: Array, member: NDArray[np.int64]) -> Array:
    """Kernel of each row of x with the rows of y, summed over the groups of y: (n, groups)."""
    out = np.zeros((len(x), int(member.max()) + 1))
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(out.shape[1]))
    rows = max(1, CHUNK // len(y))
    for start in range(0, len(x), rows):
        kernel = (x[start : start + rows] @ y[order].T / x.shape[1] + 1) ** 3
        out[start : start + rows] = np.add.reduceat(kernel, starts, axis=1)
    return out


def _grouped(rows: Array, member: NDArray[np.int64]) -> Array:
    """Rows added up by group."""
    out = np.zeros((int(member.max()) + 1, rows.shape[1]))
    np.add.at(out, member, rows)
    return out


def pseudo_values(statistic: LeftOut) -> Array:
    """Jackknife pseudo-values, one a group: their mean is the statistic less its bias in 1 / n, their spread its error.

    That mean extrapolates the statistic linearly in 1 / n to infinitely many groups.
    """
    groups = len(statistic.without)
    return np.asarray(groups * statistic.whole - (groups - 1) * statistic.without)
