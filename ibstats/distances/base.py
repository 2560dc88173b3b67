"""What a distance is: images of some cells in, distances of all pairs in each cell out."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibstats.each import Portable

Array = NDArray[np.float64]
Images = NDArray[np.uint8]


class Pairs(NamedTuple):
    """Distances of all pairs in each cell, and squared norms of the embedding (NaN where there is none)."""

    distance: Array
    """(cell, n, n), symmetric, zero diagonal; larger is more different."""
    squared_norm: Array
    """(cell, n); with the distances it gives back the Gram matrix."""


class AbstractDistance(Portable, abc.ABC):
    """One image distance with its settings."""

    name: str
    """Name of the result variable, a key of `variables.DISTANCES`."""
    embedded: ClassVar[bool] = True
    """Whether it is a squared Euclidean distance of an embedding, so that diversity has variance components."""

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that fixes the numbers besides the images: constants, weight digests. Keys the cache."""

    def find_weights(self) -> None:
        """Find what measuring needs, fetching weights if that is wanted; MissingWeights or MissingPackages else."""

    @abc.abstractmethod
    def measure(self, images: Images) -> Pairs:
        """All pairs inside each cell of `images (cell, n, y, x, channel)`, 8-bit."""


def identical(images: Images) -> NDArray[np.bool_]:
    """Which pairs `(cell, n, n)` are equal byte for byte: their distance is exactly 0, whatever rounding says."""
    cells, n = images.shape[:2]
    _, inverse = np.unique(
        np.ascontiguousarray(images)
        .reshape(cells * n, -1)
        .view(np.dtype((np.void, images[0, 0].nbytes))),
        return_inverse=True,
    )
    code = inverse.reshape(cells, n)
    return np.asarray(code[:, :, None] == code[:, None, :])
