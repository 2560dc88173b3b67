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
from typing import Any, NamedTuple

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

    Each image meets all later ones at once. Single precision on values centred in their range,
    which leaves errors near 1e-6. Raises Unmeasurable for images smaller than the window.

    >>> planes = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16))
    >>> ssim_matrix(planes, data_range=255).shape
    (2, 2)
    """
    height, width = planes.shape[-2:]
    if min(height, width) < WINDOW:
        raise Unmeasurable(
            f"images are {height}x{width}, but SSIM's window needs {WINDOW}x{WINDOW} or more"
        )
    weight = _valid(height, width).ravel() / planes.shape[1]
    out = np.ones((len(planes), len(planes)))
    for i, terms in _pairs(planes, data_range):
        score = terms.contrast
        score *= terms.luminance
        score /= terms.luminances * terms.contrasts
        _put(out, i, score, weight)
    return out


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
        weight = _valid(*planes.shape[-2:]).ravel() / planes.shape[1]
        found = np.ones_like(product)
        for i, terms in _pairs(planes, data_range):
            score = terms.contrast / terms.contrasts
            if coarsest:
                score *= terms.luminance / terms.luminances
            _put(found, i, score, weight)
        product *= found.clip(0) ** power
    return product


class Terms(NamedTuple):
    """What SSIM is made of, of one image and all later ones: products over sums of squares."""

    contrast: NDArray[np.float32]
    luminance: NDArray[np.float32]
    contrasts: NDArray[np.float32]
    luminances: NDArray[np.float32]


def _pairs(planes: NDArray[Any], data_range: float) -> Iterator[tuple[int, Terms]]:
    """Each image but the last, with the terms of its pairs with all later ones."""
    c1 = np.float32((K1 * data_range) ** 2)
    c2 = np.float32((K2 * data_range) ** 2)
    centre = np.float32(data_range / 2)
    x = planes.astype(np.float32) - centre
    centred = smooth(x)
    mean = centred + centre
    square = mean**2 + c1 / 2
    variance = smooth(x**2) - centred**2 + c2 / 2
    for i in range(len(x) - 1):
        others = slice(i + 1, None)
        covariance = smooth(x[i] * x[others]) - centred[i] * centred[others]
        yield (
            i,
            Terms(
                2 * covariance + c2,
                2 * mean[i] * mean[others] + c1,
                variance[i] + variance[others],
                square[i] + square[others],
            ),
        )


def _put(out: Array, i: int, score: NDArray[np.float32], weight: Array) -> None:
    """Write the means over places of an image's pairs with all later ones."""
    by_image = score.sum(axis=1).reshape(len(score), -1) @ weight
    out[i, i + 1 :] = by_image
    out[i + 1 :, i] = by_image


def _halved(planes: NDArray[Any]) -> NDArray[np.float32]:
    """Images of half the size, means of 2 x 2 pixels; an odd row or column at the end is left out."""
    height, width = planes.shape[-2] // 2, planes.shape[-1] // 2
    even = planes[..., : 2 * height, : 2 * width].astype(np.float32)
    return np.asarray(even.reshape(*planes.shape[:-2], height, 2, width, 2).mean(axis=(-3, -1)))


def smooth(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the Gaussian-weighted mean over each window, in blocks: `(..., block x, block y, 32,
    32)`.

    Takes `(..., y, x)`. Only windows wholly inside the image count; the blocks at the far edges
    hold others too, which `ssim_matrix` weighs with 0.
    """
    offset = np.arange(-RADIUS, RADIUS + 1)
    taps = np.exp(-0.5 * (offset / SIGMA) ** 2)
    taps /= taps.sum()
    band = np.zeros((BLOCK + 2 * RADIUS, BLOCK), dtype=np.float32)
    for column in range(BLOCK):
        band[column : column + len(taps), column] = taps

    height, width = planes.shape[-2:]
    below = -(height - 2 * RADIUS) % BLOCK
    beside = -(width - 2 * RADIUS) % BLOCK
    kept = [(0, 0)] * (planes.ndim - 2)
    padded = np.pad(planes, [*kept, (0, below), (0, beside)])

    across = sliding_window_view(padded, len(band), axis=-1)[..., ::BLOCK, :]
    columns = np.moveaxis(across, -2, -3) @ band
    down = sliding_window_view(columns, len(band), axis=-2)[..., ::BLOCK, :, :]
    return np.asarray(band.T @ np.swapaxes(down, -1, -2))


def _valid(height: int, width: int) -> Array:
    """Weights of the entries of the blocks: equal inside the valid region, 0 outside, sum 1."""
    wide = _inside(width).reshape(-1, 1, 1, BLOCK)
    high = _inside(height).reshape(1, -1, BLOCK, 1)
    inside = wide & high
    return np.asarray(inside / inside.sum())


def _inside(size: int) -> NDArray[np.bool_]:
    """Which entries along one side of the blocks are windows wholly inside the image."""
    n_windows = size - 2 * RADIUS
    n_blocks = -(-n_windows // BLOCK)
    return np.arange(n_blocks * BLOCK) < n_windows
