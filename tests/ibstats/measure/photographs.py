"""Photographs that scikit-image ships, of one size: real pictures for tests without a network."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

NAMES = (
    "astronaut",
    "camera",
    "cat",
    "coffee",
    "rocket",
    "brick",
    "grass",
    "gravel",
    "retina",
    "immunohistochemistry",
    "hubble_deep_field",
    "coins",
    "moon",
)


@cache
def photograph(name: str, size: int = 256) -> np.ndarray:
    """One of them, (size, size, 3), 8-bit."""
    from skimage import data

    pixels = getattr(data, name)()
    picture = Image.fromarray(pixels).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def photographs(size: int = 256) -> np.ndarray:
    """All of them, (13, size, size, 3)."""
    return np.stack([photograph(name, size) for name in NAMES])
