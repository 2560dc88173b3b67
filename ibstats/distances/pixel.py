"""Pixel cosine distance: half the squared distance of unit-norm pixel vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ibstats.distances.base import AbstractDistance, Images, Pairs
from ibstats.kernels import pairs


class PixelCosine(AbstractDistance):
    """`1 - cos` of the pixel values in 0..255. A black image has no direction: its distances are NaN."""

    name = "pixel_cosine_distance"

    def settings(self) -> dict[str, Any]:
        """No free constant."""
        return {"pixels": "uint8, no centring"}

    def measure(self, images: Images) -> Pairs:
        """One Gram product per cell."""
        pixels = images.reshape(*images.shape[:2], -1).astype(np.float64)
        with np.errstate(invalid="ignore"):
            unit = pixels / np.linalg.norm(pixels, axis=-1, keepdims=True)
        phi = unit / np.sqrt(2)
        return Pairs(pairs.distance_matrix(phi), np.asarray((phi**2).sum(axis=-1)))
