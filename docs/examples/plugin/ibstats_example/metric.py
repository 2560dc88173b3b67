"""How differently two images are drawn in edges: a distance for ibstats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibstats.measure import EmbeddedDistance


class EdgeDistance(EmbeddedDistance):
    """Squared Euclidean distance of the mean steps between neighbouring pixels.

    Features of an image are six: the mean of |v(y, x) - v(y + 1, x)| and of |v(y, x) - v(y, x + 1)|
    of each channel, of values v from 0 to 1.
    """

    name = "edge_distance"
    long_name = "squared distance of mean steps between neighbouring pixels"
    short_name = "edges"
    most = 6.0

    def settings(self) -> dict[str, Any]:
        """Say what fixes the numbers besides the images."""
        return {"version": 1}

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Give the features (image, feature) of images (image, y, x, channel)."""
        values = images.astype(float) / 255
        down = np.abs(np.diff(values, axis=1)).mean(axis=(1, 2))
        across = np.abs(np.diff(values, axis=2)).mean(axis=(1, 2))
        return np.concatenate([down, across], axis=1)
