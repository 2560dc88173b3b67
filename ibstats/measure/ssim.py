"""Structural dissimilarity, 1 - SSIM: local moments once per image, one cross term per pair.

Source: Wang, Bovik, Sheikh & Simoncelli (2004), doi:10.1109/TIP.2003.819861. Gaussian window 11x11,
sigma 1.5, K1 = .01, K2 = .03; population moments; mean over the valid region (windows wholly inside
the image, so no padding) and over channels. The data range is an argument, never taken from the
images.
"""

from __future__ import annotations

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
        cells, n = images.shape[:2]
        distance = np.zeros((cells, n, n))
        for cell in range(cells):
            planes = np.moveaxis(images[cell], -1, 1)
            distance[cell] = 1.0 - ssim_matrix(planes, self.data_range)
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
    c1 = np.float32((K1 * data_range) ** 2)
    c2 = np.float32((K2 * data_range) ** 2)
    centre = np.float32(data_range / 2)
    x = planes.astype(np.float32) - centre
    weight = _valid(height, width).ravel() / planes.shape[1]
    centred = smooth(x)
    mean = centred + centre
    square = mean**2 + c1 / 2
    variance = smooth(x**2) - centred**2 + c2 / 2
    out = np.ones((len(x), len(x)))
    for i in range(len(x) - 1):
        others = slice(i + 1, None)
        score = smooth(x[i] * x[others]) - centred[i] * centred[others]
        score = (2 * score + c2) * (2 * mean[i] * mean[others] + c1)
        score /= (square[i] + square[others]) * (variance[i] + variance[others])
        by_image = score.sum(axis=1).reshape(len(score), -1) @ weight
        out[i, others] = by_image
        out[others, i] = by_image
    return out


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
