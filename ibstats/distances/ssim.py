"""Structural dissimilarity, 1 - SSIM: local moments once per image, one cross term per pair.

Source: Wang, Bovik, Sheikh & Simoncelli (2004), doi:10.1109/TIP.2003.819861. Gaussian window 11x11, sigma 1.5,
K1 = .01, K2 = .03; population moments; mean over the valid region (windows wholly inside the image, so no padding)
and over channels. The data range is an argument, never taken from the images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibstats.distances.base import AbstractDistance, Images, Pairs
from ibstats.errors import IbstatsError

Array = NDArray[np.float64]

RADIUS = 5
SIGMA = 1.5
K1 = 0.01
K2 = 0.03
DENSE_BELOW = 128
"""Side below which a banded matrix product is faster than a running filter (measured)."""


class Ssim(AbstractDistance):
    """1 - SSIM of images with values 0..data_range."""

    name = "ssim_dissimilarity"

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
            planes = np.moveaxis(images[cell], -1, 1).astype(np.float64)
            distance[cell] = 1.0 - ssim_matrix(planes, self.data_range)
        return Pairs(distance, np.full((cells, n), np.nan))


def ssim_matrix(planes: Array, data_range: float) -> Array:
    """SSIM of all pairs of `(n, channel, y, x)`, with ones on the diagonal: `(n, n)`."""
    if min(planes.shape[-2:]) <= 2 * RADIUS:
        raise IbstatsError(f"images are {planes.shape[-2]}x{planes.shape[-1]}, but SSIM's window needs 11x11 or more")
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean = smooth(planes)
    square = mean**2
    variance = smooth(planes**2) - square
    out = np.ones((len(planes), len(planes)))
    for i in range(len(planes) - 1):
        others = slice(i + 1, None)
        product = mean[i] * mean[others]
        covariance = smooth(planes[i] * planes[others]) - product
        score = (2 * product + c1) * (2 * covariance + c2)
        score /= (square[i] + square[others] + c1) * (variance[i] + variance[others] + c2)
        out[i, others] = out[others, i] = score.mean(axis=(1, 2, 3))
    return out


def smooth(planes: Array) -> Array:
    """Gaussian-weighted mean over each window wholly inside the image: `(..., y, x) -> (..., y - 10, x - 10)`."""
    offset = np.arange(-RADIUS, RADIUS + 1)
    weight = np.exp(-0.5 * (offset / SIGMA) ** 2)
    weight /= weight.sum()
    height, width = planes.shape[-2:]
    if max(height, width) < DENSE_BELOW:
        return _band(height, weight) @ (planes @ _band(width, weight).T)
    from scipy.ndimage import correlate1d

    filtered = correlate1d(correlate1d(planes, weight, axis=-1), weight, axis=-2)
    return np.asarray(filtered[..., RADIUS:-RADIUS, RADIUS:-RADIUS])


def _band(size: int, weight: Array) -> Array:
    """The filter as a matrix, `(size - 10, size)`."""
    band = np.zeros((size - 2 * RADIUS, size))
    for row in range(len(band)):
        band[row, row : row + len(weight)] = weight
    return band
