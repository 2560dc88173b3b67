"""Features and attribute readings of the reference network, the trio's own: what it says under its own name."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ibstats.distances.reference import Reference
from ibstats.errors import IbstatsError
from ibstats.fidelity.base import AbstractNetwork, Features, Images, in_batches

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

SIZE = (32, 32)
"""Height and width of the scenes; other images are refused, not resized."""


class ReferenceNetwork(AbstractNetwork):
    """Last layer averaged over places, then the logits of every attribute's values, `attributes` after `attributes`."""

    name = "reference"

    def __init__(
        self, weights: str | Path | None = None, device: str = "cpu", batch_size: int = 64
    ) -> None:
        self.metric = Reference(weights, device, batch_size)
        self.device = device
        self.batch_size = batch_size
        self.n_logits = sum(map(len, self.attributes.values()))

    def asked(self) -> dict[str, Any]:
        """All of it: the weights are shipped."""
        return self.settings()

    def settings(self) -> dict[str, Any]:
        """Digest of the weight file, and where the features are taken."""
        from schemas.reference_set import SCENE_FEATURES

        return {
            "weights_sha256": self.metric.settings()["weights_sha256"],
            "features": SCENE_FEATURES,
        }

    def find_weights(self) -> None:
        """As for the distance."""
        self.metric.find_weights()

    @cached_property
    def attributes(self) -> dict[str, list[str]]:
        """Values of each attribute, in the order of its logits; read without torch."""
        header = self.metric.path.read_bytes()
        length = int.from_bytes(header[:8], "little")
        config = json.loads(json.loads(header[8 : 8 + length])["__metadata__"]["config"])
        return {
            str(name): [str(value) for value in values]
            for name, values in config["attributes"].items()
        }

    def embed(self, images: Images) -> Features:
        """Features, then logits, `(n, feature + logit)`; single precision."""
        if images.shape[1:3] != SIZE:
            raise IbstatsError(
                f"the reference network reads 32x32 scenes of the trio, but images are {images.shape[1]}x"
                f"{images.shape[2]}; use CLIP and Inception scores for them"
            )
        return in_batches(images, self._forward, self.device, self.batch_size)

    def _forward(self, pixels: Tensor) -> Tensor:
        import torch
        import torch.nn.functional as F

        tensors, _ = self.metric.network
        last = self.metric.features(pixels.float() / 255)[-1]
        flat = last.flatten(1)
        logits = [
            F.linear(flat, tensors[f"head.{name}.weight"], tensors[f"head.{name}.bias"])
            for name in self.attributes
        ]
        return torch.cat([last.mean(dim=(2, 3)), *logits], dim=1)
