"""Distances between distributions of features: Frechet (FID), kernel (KID), and their jackknife.

Frechet distance of two Gaussians with the moments of the features: `|m - m'|^2 + tr S + tr S' - 2
tr (S S')^(1/2)`. The last trace is the sum of the square roots of the eigenvalues of `C S' C^T /
(n - 1)`, C the centred features, an n x n symmetric matrix: for few images far smaller than `S
S'`, and never unsymmetric.

It is biased: with n images it is too large by about b / n, and worse where n is not above the
number of features (the covariance is singular). `pseudo_values` remove the term in 1 / n; the
kernel distance has no bias.

Sources: Heusel et al. (2017), arXiv:1706.08500; Binkowski et al. (2018), arXiv:1801.01401 (KID,
bias of FID); Chong & Forsyth (2020), arXiv:1911.07023 (extrapolation to infinitely many images);
Jayasumana et al. (2024), arXiv:2401.09603, equations 3 and 4 (CMMD).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ibstats.errors import IbstatsError

Array = NDArray[np.float64]

CHUNK = 1 << 24
"""Kernel values held at once."""

BANDWIDTH = 10.0
"""Of the Gaussian kernel, for features of unit length."""

Kernel = Callable[[Array, Array], Array]
"""Values `(n, m)` of rows `(n, d)` and `(m, d)`."""


def cubic(x: Array, y: Array) -> Array:
    """KID's kernel, `(x.y / d + 1)^3`: (n, m).

    >>> cubic(np.array([[2.0]]), np.array([[1.0], [0.0]]))
    array([[27.,  1.]])
    """
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def gaussian(x: Array, y: Array) -> Array:
    """CMMD's kernel, `exp(-|x - y|^2 / (2 * 10^2))`: (n, m).

    >>> gaussian(np.zeros((1, 1)), np.array([[0.0], [10.0]])).round(4)
    array([[1.    , 0.6065]])
    """
    squared = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * (x @ y.T)
    return np.asarray(np.exp(-squared / (2 * BANDWIDTH**2)))


@dataclass(frozen=True)
class Target:
    """The distribution compared with: moments, and a sample of its features where there is one.

    `moments` makes one of a sample. The kernel distance needs the sample, the Frechet one does not.
    """

    mean: Array
    """(d,)"""
    covariance: Array
    """(d, d), unbiased."""
    features: Array | None = None
    """(m, d)"""

    @cached_property
    def root(self) -> Array:
        """A factor with `root @ root.T` the covariance, (d, rank).

        Cholesky's, or, where the covariance is singular, of its positive eigenvalues.
        """
        with suppress(np.linalg.LinAlgError):  # singular: fewer images than features
            return np.asarray(np.linalg.cholesky(self.covariance))
        value, vector = np.linalg.eigh(self.covariance)
        kept = value > value[-1] * len(value) * np.finfo(np.float64).eps
        return np.asarray(vector[:, kept] * np.sqrt(value[kept]))

    _self_kernels: dict[Kernel, float] = field(default_factory=dict, repr=False, compare=False)

    def self_kernel(self, kernel: Kernel) -> float:
        """Mean kernel of two different members of the sample; worked out once.

        Defined only where there is a sample of two or more.
        """
        assert self.features is not None
        if kernel not in self._self_kernels:
            n = len(self.features)
            total = _kernel_sums(kernel, self.features, self.features, np.arange(n)).sum()
            own = 0.0
            for row in self.features:
                own += float(kernel(row[None], row[None])[0, 0])
            self._self_kernels[kernel] = float((total - own) / (n * (n - 1)))
        return self._self_kernels[kernel]


def moments(features: ArrayLike) -> Target:
    """The distribution of a sample `(n, d)`: its moments and the sample itself.

    Raises IbstatsError for fewer than two rows.

    >>> moments([[0.0], [2.0]]).covariance
    array([[2.]])
    """
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise IbstatsError(f"features are {x.shape}, but moments need two or more rows of (n, d)")
    return Target(x.mean(axis=0), np.cov(x, rowvar=False).reshape(x.shape[1], x.shape[1]), x)


class LeftOut(NamedTuple):
    """A statistic of all groups, and without each of them in turn.

    `pseudo_values` makes of it one number a group, less the bias in 1 / n.
    """

    whole: float
    without: Array
    """(groups,)"""


def frechet(features: ArrayLike, target: Target) -> float:
    """Frechet distance of `(n, d)` from the target, as FID is; NaN for fewer than two images.

    In squared units of the features; 0 if the moments agree.

    >>> target = moments([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    >>> round(frechet([[3.0, 0.0], [5.0, 0.0], [3.0, 2.0]], target), 6)
    9.0
    """
    products = _Products(features, target)
    return products.distance(np.ones(products.n, dtype=bool))


def frechet_left_out(features: ArrayLike, target: Target, group: ArrayLike) -> LeftOut:
    """Frechet distance of `(n, d)` from the target, and without each group of images in turn.

    `group (n,)` numbers the groups from 0. NaN where fewer than two images are left. Products of
    all images are formed once, so a group left out costs only its eigenvalues.

    >>> target = moments([[0.0], [2.0]])
    >>> frechet_left_out([[0.0], [2.0], [4.0]], target, [0, 1, 2]).without.round(3)
    array([4., 3., 0.])
    """
    products = _Products(features, target)
    member = np.asarray(group)
    without = []
    for left in range(member.max() + 1):
        without.append(products.distance(member != left))
    return LeftOut(products.distance(np.ones(products.n, dtype=bool)), np.array(without))


class _Products:
    """Products of all images, from which the distance of any of them follows."""

    def __init__(self, features: ArrayLike, target: Target) -> None:
        x = np.asarray(features, dtype=np.float64) - target.mean
        self.n, d = x.shape
        self.centre = np.zeros(d)
        if self.n:
            self.centre = x.mean(axis=0)
        self.centred = x - self.centre
        self.few = self.n < d
        if self.few:
            self.rows = self.centred
            self.product = self.centred @ target.covariance @ self.centred.T
        else:
            self.rows = self.centred @ target.root
            self.product = self.rows.T @ self.rows
        self.square = (self.centred**2).sum(axis=1)
        self.spread = float(np.trace(target.covariance))

    def distance(self, kept: NDArray[np.bool_]) -> float:
        """Distance of the images kept; NaN below two of them."""
        size = int(kept.sum())
        if size < 2:
            return np.nan
        shift = self.centred[kept].mean(axis=0)
        inner = self._inner(kept, size)
        root = np.sqrt(np.linalg.eigvalsh(inner).clip(0)).sum() / np.sqrt(size - 1)
        own = (self.square[kept].sum() - size * (shift**2).sum()) / (size - 1)
        return float(((self.centre + shift) ** 2).sum() + own + self.spread - 2 * root)

    def _inner(self, kept: NDArray[np.bool_], size: int) -> Array:
        """The matrix whose eigenvalues' roots are summed, over images if few, else features."""
        if self.few:
            inner = self.product
            if size < self.n:
                inner = inner[np.ix_(kept, kept)]
            centred = inner - inner.mean(axis=0) - inner.mean(axis=1)[:, None] + inner.mean()
            return np.asarray(centred)
        gone, shifted = self.rows[~kept], self.rows[kept].mean(axis=0)
        return np.asarray(self.product - gone.T @ gone - size * np.outer(shifted, shifted))


def kernel_distance(features: ArrayLike, target: Target, kernel: Kernel = cubic) -> float:
    """Squared maximum mean discrepancy of `(n, d)` from the target, as KID of all images is.

    Unbiased, so it can be negative; the kernel is KID's `cubic` or CMMD's `gaussian`. NaN for one image. Raises
    IbstatsError if the target holds no features, or for no image.

    >>> target = moments([[0.0], [1.0]])
    >>> kernel_distance([[0.0], [1.0]], target)
    -3.5
    """
    n = len(np.asarray(features))
    return kernel_left_out(features, target, np.arange(n), kernel).whole


def kernel_left_out(
    features: ArrayLike, target: Target, group: ArrayLike, kernel: Kernel = cubic
) -> LeftOut:
    """Unbiased kernel distance over pairs of images of different groups, and without each group.

    Images of one prompt are no independent draws of the model's images, so pairs inside a group
    would bias it. `features (n, d)`, `group (n,)` numbers from 0. NaN where no pair is left. Raises
    IbstatsError if the target holds no features, or for no image.

    >>> target = moments([[0.0], [1.0]])
    >>> round(kernel_left_out([[0.0], [1.0], [0.0]], target, [0, 1, 0]).whole, 4)
    -2.3333
    """
    if target.features is None:
        raise IbstatsError(
            "the kernel distance needs the features of the reference set, not its moments alone"
        )
    x, member = np.asarray(features, dtype=np.float64), np.asarray(group)
    if len(x) == 0:
        raise IbstatsError("the kernel distance of no image is undefined")
    n_target = len(target.features)
    own = target.self_kernel(kernel)
    count = np.bincount(member).astype(np.float64)
    within = _grouped(_kernel_sums(kernel, x, x, member), member)
    of_target = _kernel_sums(kernel, x, target.features, np.zeros(n_target, dtype=int))
    across = _grouped(of_target, member)[:, 0]
    np.fill_diagonal(within, 0.0)
    pairs = np.outer(count, count)
    np.fill_diagonal(pairs, 0.0)

    def value(total: ArrayLike, n_pairs: ArrayLike, cross: ArrayLike, n: ArrayLike) -> Array:
        """The distance from sums of the kernel and the numbers behind them."""
        with np.errstate(invalid="ignore", divide="ignore"):
            inside = np.asarray(total) / np.asarray(n_pairs)
            mixed = np.asarray(cross) / (np.asarray(n) * n_target)
            return np.asarray(inside + own - 2 * mixed)

    whole = value(within.sum(), pairs.sum(), across.sum(), count.sum())
    left = within.sum() - 2 * within.sum(axis=1)
    left_pairs = pairs.sum() - 2 * pairs.sum(axis=1)
    without = value(left, left_pairs, across.sum() - across, count.sum() - count)
    return LeftOut(float(whole), without)


def _kernel_sums(kernel: Kernel, x: Array, y: Array, member: NDArray[np.int64]) -> Array:
    """Kernel of each row of x with the rows of y, summed over the groups of y: (n, groups)."""
    out = np.zeros((len(x), int(member.max()) + 1))
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(out.shape[1]))
    rows = max(1, CHUNK // len(y))
    for start in range(0, len(x), rows):
        values = kernel(x[start : start + rows], y[order])
        out[start : start + rows] = np.add.reduceat(values, starts, axis=1)
    return out


def _grouped(rows: Array, member: NDArray[np.int64]) -> Array:
    """Rows added up by group."""
    out = np.zeros((int(member.max()) + 1, rows.shape[1]))
    np.add.at(out, member, rows)
    return out


def pseudo_values(statistic: LeftOut) -> Array:
    """Jackknife pseudo-values `(groups,)`, one a group, in the unit of the statistic.

    Their mean is the statistic less its bias in 1 / n, their spread over root n its standard error:
    the mean extrapolates the statistic linearly in 1 / n to infinitely many groups.
    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 11.

    >>> pseudo_values(LeftOut(2.0, np.array([1.5, 2.5])))
    array([2.5, 1.5])
    """
    groups = len(statistic.without)
    return np.asarray(groups * statistic.whole - (groups - 1) * statistic.without)
