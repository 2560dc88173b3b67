"""What every measurement does: equal images, embeddings, errors that name the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from ibstats.errors import IbstatsError
from ibstats.measure import EmbeddedDistance, Embedding, Pairs
from ibstats.measure.base import Features, Images, identical
from tests.ibstats.measure.pixels import noise


class Means(EmbeddedDistance):
    name = "means"

    def settings(self) -> dict[str, Any]:
        return {}

    def embed(self, images: Images) -> np.ndarray:
        return images.mean(axis=(1, 2))


class Cosine(Means):
    space = "cosine"


class NotFinite(Embedding):
    name = "broken"

    def settings(self) -> dict[str, Any]:
        return {}

    def embed(self, images: Images) -> Features:
        return np.full((len(images), 2), np.inf, dtype=np.float32)


def labelled(images: Images) -> xr.DataArray:
    conditions = [f"c{i}" for i in range(len(images))]
    dims = ("condition", "sample", "y", "x", "channel")
    return xr.DataArray(images, dims=dims, coords={"condition": conditions, "prompt": "p0"})


def test_the_space_of_an_embedding_is_euclidean_or_cosine() -> None:
    images = noise(1, 2, 6, 6)
    a, b = images[0].mean(axis=(1, 2))
    assert Means().measure(images).distance[0, 0, 1] == pytest.approx(((a - b) ** 2).sum())
    cosine = a @ b / np.sqrt((a @ a) * (b @ b))
    found = Cosine().measure(images)
    assert found.distance[0, 0, 1] == pytest.approx(1 - cosine)
    np.testing.assert_allclose(found.squared_norm, 0.5)


def test_equal_images_are_found_in_their_cell() -> None:
    images = noise(2, 3, 4, 4)
    images[0, 2] = images[0, 0]
    images[1, 0] = images[0, 0]
    expected = np.eye(3, dtype=bool)
    np.testing.assert_array_equal(identical(images)[1], expected)
    expected[0, 2] = expected[2, 0] = True
    np.testing.assert_array_equal(identical(images)[0], expected)


def test_equal_images_are_at_distance_zero_whatever_rounding_says() -> None:
    class Rounded(Means):
        def measure(self, images: Images) -> Pairs:
            return Pairs.plain(super().measure(images).distance + 1e-9)

    images = noise(1, 2, 4, 4)
    images[0, 1] = images[0, 0]
    assert Rounded().row(labelled(images), "m")[0, 0, 1] == 0.0


def test_features_that_are_not_finite_name_their_prompt() -> None:
    with pytest.raises(IbstatsError, match="broken features of m, prompt p0 are not finite"):
        NotFinite().row(labelled(noise(1, 2, 4, 4)), "m")
