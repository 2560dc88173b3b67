"""Images to measure."""

from __future__ import annotations

import numpy as np

from ibstats.measure.base import Images


def noise(cells: int, n: int, height: int, width: int, seed: int = 0) -> Images:
    rng = np.random.default_rng(seed)
    smooth = rng.normal(128, 40, (cells, n, height, width, 3)) + rng.normal(
        0, 30, (cells, 1, height, width, 3)
    )
    return np.clip(smooth, 0, 255).astype(np.uint8)
