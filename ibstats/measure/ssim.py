"""Structural dissimilarity, 1 - SSIM, at one scale and at five: local moments once per image, one
cross term per pair.

Sources: Wang, Bovik, Sheikh & Simoncelli (2004), doi:10.1109/TIP.2003.819861; Wang, Simoncelli &
Bovik (2003), doi:10.1109/ACSSC.2003.1292216 (five scales). Gaussian window 11x11,
sigma 1.5, K1 = .01, K2 = .03; population moments; mean over the valid region (windows wholly inside
the image, so no padding) and over channels. The data range is an argument, never taken from the
images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ibstats.errors import Unmeasurable
from ibstats.measure.base import Array, Distance, Images, Pairs

RADIUS = 5
WINDOW = 2 * RADIUS + 1
SIGMA = 1.5
K1 = 0.01
K2 = 0.03
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, from the finest."""
SMALLEST = WINDOW * 2 ** (len(WEIGHTS) - 1)
"""Pixels of a side that five scales need."""
BLOCK = 32
"""Side of the output blocks in which windows are averaged: small products, faster than a running
filter.
"""
CACHED = 1 << 17
"""Pixels taken at once: several small images, or one that is larger."""


class Ssim(Distance):
    """1 - SSIM of images with values 0..data_range: 0 for equal images, at most 2.

    It is no squared distance of an embedding, so diversity under it has no variance components.
    """

    name = "ssim_dissimilarity"

    def __init__(self, data_range: float = 255.0, **options: Any) -> None:
        super().__init__(**options)
        self.data_range = data_range

    def settings(self) -> dict[str, Any]:
        """Give window, constants, data range and the region averaged over."""
        return {
            "window": f"Gaussian {WINDOW}x{WINDOW}, sigma {SIGMA}",
            "K1": K1,
            "K2": K2,
            "data_range": self.data_range,
            "region": "valid",
            "channels": "mean",
        }

    def measure(self, images: Images) -> Pairs:
        """Measure all pairs inside each cell of `images (cell, n, y, x, channel)`; there is no
        embedding.

        Raises Unmeasurable for images smaller than the window, 11 pixels a side.
        """
        return _plain(images, ssim_matrix, self.data_range)


class MsSsim(Distance):
    """1 - MS-SSIM of images with values 0..255: 0 for equal images, at most 1.

    It is no squared distance of an embedding, so diversity under it has no variance components.
    """

    name = "ms_ssim_dissimilarity"

    def settings(self) -> dict[str, Any]:
        """Give the exponents of the scales, beside window and constants."""
        return {**Ssim().settings(), "scales": list(WEIGHTS), "negative": "0"}

    def measure(self, images: Images) -> Pairs:
        """Measure all pairs inside each cell of `images (cell, n, y, x, channel)`; there is no
        embedding.

        Raises Unmeasurable for images of fewer than 176 pixels a side.
        """
        return _plain(images, ms_ssim_matrix, 255.0)


def _plain(
    images: Images, similarity: Callable[[NDArray[Any], float], Array], data_range: float
) -> Pairs:
    """Dissimilarities of all pairs inside each cell."""
    cells, n = images.shape[:2]
    distance = np.zeros((cells, n, n))
    for cell in range(cells):
        planes = np.moveaxis(images[cell], -1, 1)
        distance[cell] = 1.0 - similarity(planes, data_range)
    return Pairs.plain(distance)


def ssim_matrix(planes: NDArray[Any], data_range: float) -> Array:
    """Give SSIM of all pairs of `(n, channel, y, x)`, with ones on the diagonal: `(n, n)`.

    What depends on one image is made once; a pair takes one smoothing of a product and some sums of
    arrays, a channel at a time and in place, so that they stay in a core's cache. Single precision
    on values centred in their range, which leaves errors near 1e-6. Raises Unmeasurable for images
    smaller than the window.

    >>> planes = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16))
    >>> ssim_matrix(planes, data_range=255).shape
    (2, 2)
    """
    height, width = planes.shape[-2:]
    if min(height, width) < WINDOW:
        raise Unmeasurable(
            f"images are {height}x{width}, but SSIM's window needs {WINDOW}x{WINDOW} or more"
        )
    return _similarity(planes, data_range)


def ms_ssim_matrix(planes: NDArray[Any], data_range: float) -> Array:
    """Give MS-SSIM of all pairs of `(n, channel, y, x)`, with ones on the diagonal: `(n, n)`.

    The product over five scales, each half the one before (means of 2 x 2 pixels), of the mean of
    contrast and structure, at the coarsest of luminance too, to the powers `WEIGHTS`; a mean below
    0 counts as 0. Raises Unmeasurable for images of fewer than 176 pixels a side.

    >>> planes = np.random.default_rng(0).integers(0, 256, (2, 3, 176, 176))
    >>> ms_ssim_matrix(planes, data_range=255).shape
    (2, 2)
    """
    height, width = planes.shape[-2:]
    if min(height, width) < SMALLEST:
        raise Unmeasurable(
            f"images are {height}x{width}, but MS-SSIM's five scales need {SMALLEST}x{SMALLEST} or "
            "more; take ssim"
        )
    product = np.ones((len(planes), len(planes)))
    for scale, power in enumerate(WEIGHTS):
        if scale:
            planes = _halved(planes)
        coarsest = scale == len(WEIGHTS) - 1
        found = _similarity(planes, data_range, luminance=coarsest)
        product *= found.clip(0) ** power
    return product


def _similarity(planes: NDArray[Any], data_range: float, *, luminance: bool = True) -> Array:
    """Mean of SSIM of all pairs, or of its contrast and structure alone, with ones on the diagonal."""
    n, n_channels, height, width = planes.shape
    images = _Images(n, height, width, data_range)
    total = np.zeros((n, n))
    for channel in range(n_channels):
        images.take(planes[:, channel])
        for i in range(n - 1):
            for others in images.together(i + 1):
                total[i, others] += images.score(i, others, luminance=luminance)
    upper = total / n_channels
    return np.asarray(upper + upper.T + np.eye(n))


def _halved(planes: NDArray[Any]) -> NDArray[np.float32]:
    """Images of half the size, means of 2 x 2 pixels; an odd row or column at the end is left out."""
    height, width = planes.shape[-2] // 2, planes.shape[-1] // 2
    even = planes[..., : 2 * height, : 2 * width].astype(np.float32)
    return np.asarray(even.reshape(*planes.shape[:-2], height, 2, width, 2).mean(axis=(-3, -1)))


class _Images:
    """Local moments of n images, a channel at a time, in blocks of windows, and room for some pairs.

    With m, m' the local means of two images, v, v' their variances, q = (m - m')^2 and S the local
    mean of their squared difference, L = m^2 + m'^2 + c1 and V = v + v' + c2, SSIM is (L - q)(V -
    S + q) / (L V): of a pair, S alone is smoothed, and equal images have 1 exactly.
    """

    def __init__(self, n: int, height: int, width: int, data_range: float) -> None:
        self.c1, self.c2 = (np.float32((K * data_range) ** 2) for K in (K1, K2))
        self.centre = np.float32(data_range / 2)
        rows, columns = _whole_blocks(height), _whole_blocks(width)
        self.x = np.zeros((n, rows + 2 * RADIUS, columns + 2 * RADIUS), np.float32)
        blocks = (columns // BLOCK, rows // BLOCK, BLOCK, BLOCK)
        self.mean, self.luminance, self.variance = np.empty((3, n, *blocks), np.float32)
        self.at_once = max(1, min(n, CACHED // self.x[0].size))
        self.apart = np.empty_like(self.x[: self.at_once])
        self.q, self.L, self.V = np.empty((3, self.at_once, *blocks), np.float32)
        self.weight = _valid(height, width).ravel().astype(np.float32)

    def take(self, planes: NDArray[Any]) -> None:
        """Make the moments of the images `(n, y, x)` of one channel."""
        height, width = planes.shape[1:]
        for some in self.together(0):
            x, mean = self.x[some], self.mean[some]
            apart, q = self.apart[: len(x)], self.q[: len(x)]
            np.subtract(planes[some], self.centre, out=x[:, :height, :width])
            mean[:] = smooth(x)
            np.multiply(x, x, out=apart)
            np.multiply(mean, mean, out=q)
            np.subtract(smooth(apart), q, out=self.variance[some])
            self.variance[some] += self.c2 / 2
            mean += self.centre
            np.multiply(mean, mean, out=self.luminance[some])
            self.luminance[some] += self.c1 / 2

    def together(self, first: int) -> Iterator[slice]:
        """The images from `first` on, as many at a time as a core's cache holds."""
        for start in range(first, len(self.x), self.at_once):
            yield slice(start, min(start + self.at_once, len(self.x)))

    def score(self, i: int, others: slice, *, luminance: bool) -> Array:
        """Mean SSIM of an image and some others over the windows wholly inside them.

        Without `luminance`, of contrast and structure, (V - S + q) / V.
        """
        n = others.stop - others.start
        apart, q, L, V = self.apart[:n], self.q[:n], self.L[:n], self.V[:n]
        np.subtract(self.x[i], self.x[others], out=apart)
        apart *= apart
        S = smooth(apart)
        np.subtract(self.mean[i], self.mean[others], out=q)
        q *= q
        np.add(self.luminance[i], self.luminance[others], out=L)
        np.add(self.variance[i], self.variance[others], out=V)
        S -= q
        np.subtract(V, S, out=S)
        if luminance:
            np.subtract(L, q, out=q)
            S *= q
            V *= L
        S /= V
        return np.asarray(S.reshape(n, -1) @ self.weight, dtype=np.float64)


def smooth(padded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the Gaussian-weighted mean over each window, in blocks: `(..., block x, block y, 32,
    32)`.

    Takes `(..., y, x)` filled up to whole blocks. Only windows wholly inside the image count; the
    blocks at the far edges hold others too, which `ssim_matrix` weighs with 0.
    """
    across = sliding_window_view(padded, len(BAND), axis=-1)[..., ::BLOCK, :]
    columns = np.moveaxis(across, -2, -3) @ BAND
    down = sliding_window_view(columns, len(BAND), axis=-2)[..., ::BLOCK, :, :]
    return np.asarray(BAND.T @ np.swapaxes(down, -1, -2))


def _band() -> NDArray[np.float32]:
    """Weights of the pixels of a block in its windows, `(42, 32)`: a product with it smooths."""
    offset = np.arange(-RADIUS, RADIUS + 1)
    taps = np.exp(-0.5 * (offset / SIGMA) ** 2)
    taps /= taps.sum()
    band = np.zeros((BLOCK + 2 * RADIUS, BLOCK), dtype=np.float32)
    for column in range(BLOCK):
        band[column : column + len(taps), column] = taps
    return band


BAND = _band()


def _whole_blocks(size: int) -> int:
    """Windows along a side of the image, up to whole blocks."""
    return -(-(size - 2 * RADIUS) // BLOCK) * BLOCK


def _valid(height: int, width: int) -> Array:
    """Weights of the entries of the blocks: equal inside the valid region, 0 outside, sum 1."""
    wide = _inside(width).reshape(-1, 1, 1, BLOCK)
    high = _inside(height).reshape(1, -1, BLOCK, 1)
    inside = wide & high
    return np.asarray(inside / inside.sum())


def _inside(size: int) -> NDArray[np.bool_]:
    """Which entries along one side of the blocks are windows wholly inside the image."""
    return np.arange(_whole_blocks(size)) < size - 2 * RADIUS
