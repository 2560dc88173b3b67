"""Distances of features do not depend on how images are cut into batches."""

from __future__ import annotations

import numpy as np

from ibstats.measure import network
from ibstats.measure.scene_network import SceneDistance
from tests.ibstats.measure.pixels import noise


def test_batches_do_not_change_distances() -> None:
    images = noise(2, 5, 32, 32)
    whole = SceneDistance().measure(images)
    for size in (1, 3):
        part = SceneDistance(batch_size=size).measure(images)
        np.testing.assert_allclose(part.distance, whole.distance, atol=1e-6)
        np.testing.assert_allclose(part.squared_norm, whole.squared_norm, rtol=1e-6)


def test_batches_do_not_change_features() -> None:
    images = noise(1, 7, 32, 32)[0]
    whole = network("reference").embed(images)
    part = network("reference", batch_size=3).embed(images)
    np.testing.assert_allclose(part, whole, rtol=1e-4, atol=1e-4)
