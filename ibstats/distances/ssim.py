"""Structural dissimilarity, 1 - SSIM: local moments once per image, one cross term per pair.

Source: Wang, Bovik, Sheikh & Simoncelli (2004), doi:10.1109/TIP.2003.819861. Gaussian window 11x11, sigma 1.5,
K1 = .01, K2 = .03; population moments; mean over the valid region (windows wholly inside the image, so no padding)
and over channels. The data range is an argument, never taken from the images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ibstats.distances.base import AbstractDistance, Images, Pairs
from ibstats.errors import Unmeasurable

Array = NDArray[np.float64]

RADIUS = 5
SIGMA = 1.5
K1 = 0.01
K2 = 0.03
BLOCK = 32
"""Side of the output blocks in which windows are averaged: small matrix products, faster than a running filter."""


class Ssim(AbstractDistance):
    """1 - SSIM of images with values 0..data_range."""

    name = "ssim_dissimilarity"
    embedded = False

    def __init__(self, data_range: float = 255.0) -> None:
        self.data_range = data_range

    def settings(self) -> dict[str, Any]:
        """Window, constants, data range and the region averaged over."""
        return {
            "window": f"Gaussian {2 * RADIUS + 1}x{2 * RADIUS + 1}, sigma {SIGMA}",
            "K1": K1,
            "K2": K2,
            "data_range": self.data_range,
            "region": "valid",
            "channels": "mean",
        }

    def measure(self, images: Images) -> Pairs:
        """Loop over cells; inside one, each image against all later ones at once."""
        cells, n = images.shape[:2]
        distance = np.zeros((cells, n, n))
        for cell in range(cells):
            planes = np.moveaxis(images[cell], -1, 1)
            distance[cell] = 1.0 - ssim_matrix(planes, self.data_range)
        return Pairs(distance, np.full((cells, n), np.nan))


def ssim_matrix(planes: NDArray[Any], data_range: float) -> Array:
    """SSIM of all pairs of `(n, channel, y, x)`, with ones on the diagonal: `(n, n)`.

    Single precision on values centred in their range, which leaves errors near 1e-6.
    """
    if min(planes.shape[-2:]) <= 2 * RADIUS:
        raise Unmeasurable(
            f"images are {planes.shape[-2]}x{planes.shape[-1]}, but SSIM's window needs 11x11 or more"
        )
    c1, c2 = np.float32((K1 * data_range) ** 2), np.float32((K2 * data_range) ** 2)
    centre = np.float32(data_range / 2)
    x = planes.astype(np.float32) - centre
    weight = _valid(*planes.shape[-2:]).ravel() / planes.shape[1]
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
        out[i, others] = out[others, i] = score.sum(axis=1).reshape(len(score), -1) @ weight
    return out


def smooth(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian-weighted mean over each window, in blocks: `(..., y, x) -> (..., block x, block y, 32, 32)`.

    Only windows wholly inside the image count; `_valid` says which entries of the blocks those are.
    """
    offset = np.arange(-RADIUS, RADIUS + 1)
    taps = np.exp(-0.5 * (offset / SIGMA) ** 2)
    taps /= taps.sum()
    band = np.zeros((BLOCK + 2 * RADIUS, BLOCK), dtype=np.float32)
    for column in range(BLOCK):
        band[column : column + len(taps), column] = taps
    pad = [(0, -(size - 2 * RADIUS) % BLOCK) for size in planes.shape[-2:]]
    padded = np.pad(planes, [(0, 0)] * (planes.ndim - 2) + pad)
    columns = (
        np.moveaxis(sliding_window_view(padded, len(band), axis=-1)[..., ::BLOCK, :], -2, -3) @ band
    )
    rows = sliding_window_view(columns, len(band), axis=-2)[..., ::BLOCK, :, :]
    return np.asarray(band.T @ np.swapaxes(rows, -1, -2))


def _valid(height: int, width: int) -> Array:
    """Weights of the entries of the blocks: equal inside the valid region, 0 in the padding, sum 1."""
    high, wide = (
        np.arange(-(-(size - 10) // BLOCK) * BLOCK) < size - 10 for size in (height, width)
    )
    inside = wide.reshape(-1, 1, 1, BLOCK) & high.reshape(1, -1, BLOCK, 1)
    return np.asarray(inside / inside.sum())
