"""The distance of two images in the feature space of any network: 1 - cos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ibstats.measure.base import EmbeddedDistance, Embedding, Images
from ibstats.measure.efficientnet import EfficientNetLite0


class EmbeddingCosine(EmbeddedDistance):
    """`1 - cos` of the features that an embedding gives: 0 for one direction, at most 2.

    It is half the squared Euclidean distance of the features at unit length, so that Vendi, RKE and
    the shares of path and execution follow from it. Named after the embedding, whose device and
    weights it takes.

    >>> EmbeddingCosine(EfficientNetLite0()).name
    'embedding_cosine_efficientnet_lite0'
    """

    space = "cosine"
    most = 2.0

    def __init__(self, embedding: Embedding) -> None:
        super().__init__(
            embedding.weights, embedding.device, embedding.batch_size, download=embedding.download
        )
        self.embedding = embedding
        self.name = f"embedding_cosine_{embedding.name}"
        self.long_name = f"embedding distance, 1 - cos of {embedding.long_name or embedding.name}"
        self.short_name = f"{embedding.short_name or embedding.name} cosine"
        self.settings_need_weights = embedding.settings_need_weights

    def settings(self) -> dict[str, Any]:
        """Give the settings of the embedding, under its name; raises as they do."""
        return {"embedding": self.embedding.name, **self.embedding.settings()}

    def asked(self) -> dict[str, Any]:
        """Give what is known of them without the weights."""
        return {"embedding": self.embedding.name, **self.embedding.asked()}

    def find_weights(self) -> Sequence[Path]:
        """Give the weight files of the embedding; raises as it does."""
        return self.embedding.find_weights()

    def embed(self, images: Images) -> NDArray[Any]:
        """Give the features `(n, feature)`, without the readings at their end."""
        return self.embedding.coordinates(self.embedding.embed(images))


class EfficientNetCosine(EmbeddingCosine):
    """The same of EfficientNet-Lite0, whose weights a package index has.

    Options are those of `Measurement`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(EfficientNetLite0(**options))
