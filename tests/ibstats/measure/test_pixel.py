"""Pixel cosine distance against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from ibstats.measure.pixel import PixelCosine
from tests.ibstats.measure.pixels import noise


def test_pixel_cosine_equals_its_definition() -> None:
    images = noise(2, 4, 8, 8)
    ours = PixelCosine().measure(images)
    for cell, i, j in ((0, 0, 1), (1, 2, 3)):
        a, b = images[cell, i].ravel().astype(float), images[cell, j].ravel().astype(float)
        cosine = a @ b / np.sqrt((a @ a) * (b @ b))
        assert ours.distance[cell, i, j] == pytest.approx(1 - cosine, abs=1e-14)
