"""Pixel cosine distance: half the squared distance of unit-norm pixel vectors."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ibstats.measure.base import EmbeddedDistance, Images


class PixelCosine(EmbeddedDistance):
    """`1 - cos` of the pixel values in 0..255: 0 for proportional images, 1 for those without a
    common bright place.

    A black image has no direction: its distances are NaN.
    """

    name = "pixel_cosine_distance"
    space = "cosine"

    def settings(self) -> dict[str, Any]:
        """Give the rule for pixels, which keys what is kept.

        There is no free constant.
        """
        return {"pixels": "uint8, no centring"}

    def embed(self, images: Images) -> NDArray[Any]:
        """Give the pixels as they are, `(n, y * x * channel)`."""
        return images.reshape(len(images), -1)
