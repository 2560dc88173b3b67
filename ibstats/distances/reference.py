"""Feature distance of the reference network: a small classifier of the reference trio's scenes, shipped with ibstats.

It stands in for LPIPS where no downloaded weights can be had, under its own name. The weight file says all there is
to know: `x = relu(conv2d(x, conv.i.weight, conv.i.bias, strides[i], padding))`, images entering as scale * x + shift.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibstats.distances.base import AbstractDistance, Images, Pairs
from ibstats.distances.features import feature_pairs
from ibstats.errors import IbstatsError, MissingWeights
from ibstats.extras import need

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED = Path(__file__).parent / "weights" / "reference.safetensors"


class Reference(AbstractDistance):
    """Mean over layers of the place-averaged squared distance between unit-norm features; between 0 and 2."""

    name = "reference_distance"

    def __init__(
        self, weights: str | Path | None = None, device: str = "cpu", batch_size: int = 64
    ) -> None:
        self.path = Path(weights) if weights is not None else SHIPPED
        self.device = device
        self.batch_size = batch_size
        if not self.path.is_file():
            raise MissingWeights(
                f"reference_distance needs the reference network, but '{self.path}' does not exist; give its file with "
                "--weights reference=PATH"
            )

    def find_weights(self) -> None:
        """They are shipped or were given; the packages that run them may lack."""
        need("reference_distance", "torch", "safetensors")

    def settings(self) -> dict[str, Any]:
        """Digest of the weight file; all layers, equal weight."""
        return {"weights_sha256": self._sha256, "layers": "all, mean"}

    @cached_property
    def _sha256(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @cached_property
    def network(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors in single precision on the device, and the configuration."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                names = list(file.keys())
                tensors = {name: file.get_tensor(name).float().to(self.device) for name in names}
                return tensors, json.loads(file.metadata()["config"])
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise IbstatsError(f"'{self.path}' is no reference network ({error})") from None

    def measure(self, images: Images) -> Pairs:
        """One forward pass per image, one Gram product per cell."""
        import torch

        tensors, config = self.network
        layers = len(config["strides"])
        weights = [
            torch.full((tensors[f"conv.{i}.bias"].shape[0],), 1.0 / layers) for i in range(layers)
        ]
        return feature_pairs(
            images, self.features, weights, device=self.device, batch_size=self.batch_size
        )

    def features(self, images: Tensor) -> Sequence[Tensor]:
        """Activations of every layer for images `(n, 3, y, x)` in [0, 1]."""
        import torch.nn.functional as F

        tensors, config = self.network
        x = config["input_scale"] * images + config["input_shift"]
        out = []
        for i, stride in enumerate(config["strides"]):
            weight, bias = tensors[f"conv.{i}.weight"], tensors[f"conv.{i}.bias"]
            x = F.relu(F.conv2d(x, weight, bias, stride=stride, padding=config["padding"]))
            out.append(x)
        return out
