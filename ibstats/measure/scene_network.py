"""The scene network: a small classifier of the trio's scenes, shipped with ibstats, as a distance
and as features.

It stands in for LPIPS, and for the networks of CLIP score and FID, where no downloaded weights can
be had, under names of its own (`reference_distance`, `reference_accuracy` ... in results). The
weight file says all there is to know: `x = relu(conv2d(x, conv.i.weight, conv.i.bias, strides[i],
padding))`, images entering as scale * x + shift.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibstats.errors import IbstatsError, MissingWeights
from ibstats.extras import need
from ibstats.measure.base import (
    Distance,
    Embedding,
    Features,
    Images,
    Pairs,
    Portable,
    in_batches,
)
from ibstats.measure.features import feature_pairs
from schemas.io.files import file_sha256
from schemas.reference_set import SCENE_FEATURES
from schemas.study import Prompt

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED = Path(__file__).parent / "scene_network.safetensors"
"""The weights that come with ibstats."""

SIZE = (32, 32)
"""Height and width of the scenes; features of other images are refused, not resized."""


def sees(size: tuple[int, int], prompts: Sequence[Prompt]) -> bool:
    """Whether the scene network, as shipped, means something on images of that size and prompts.

    It does on scenes of the trio: images of their height and width, whose prompts assert something,
    and only what the network was trained to tell.
    """
    if tuple(size) != SIZE:
        return False
    known = SceneNetwork().attributes
    asserted = False
    for prompt in prompts:
        for name, value in prompt.attributes.items():
            asserted = True
            if value not in known.get(name, ()):
                return False
    return asserted


class SceneNetwork(Portable):
    """The weights and the forward pass; torch is needed for the latter alone.

    Raises MissingWeights if the file does not exist.
    """

    def __init__(self, weights: str | Path | None = None, device: str = "cpu") -> None:
        self.file = SHIPPED if weights is None else Path(weights)
        self.device = device
        if not self.file.is_file():
            raise MissingWeights(
                f"reference_distance needs the scene network, but '{self.file}' does not exist; "
                "give its file with --weights reference=PATH"
            )

    def find(self) -> Sequence[Path]:
        """Give the weight file, which is shipped or was given.

        Raises MissingPackages without torch and safetensors, which run it.
        """
        need("the scene network", "torch", "safetensors")
        return [self.file]

    @cached_property
    def sha256(self) -> str:
        """Digest of the weight file."""
        return file_sha256(self.file)

    @cached_property
    def attributes(self) -> dict[str, list[str]]:
        """Values of each attribute, in the order of its logits.

        They stand in the header of the file, which is read without torch.
        """
        with self.file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length))
        config = json.loads(header["__metadata__"]["config"])
        found = {}
        for name, values in config["attributes"].items():
            found[str(name)] = [str(value) for value in values]
        return found

    @cached_property
    def loaded(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors in single precision on the device, and the configuration.

        Raises IbstatsError if the file is no scene network.
        """
        from safetensors import SafetensorError, safe_open

        tensors = {}
        try:
            with safe_open(self.file, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - it is no mapping
                    tensors[name] = file.get_tensor(name).float().to(self.device)
                return tensors, json.loads(file.metadata()["config"])
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise IbstatsError(f"'{self.file}' is no scene network ({error})") from None

    def activations(self, images: Tensor) -> Sequence[Tensor]:
        """Give activations of every layer, `(n, channel, y, x)` each, first to last.

        `images (n, 3, y, x)` are floats in [0, 1] on the device. The weights are loaded at the
        first call; IbstatsError if the file is no scene network.
        """
        import torch.nn.functional as F

        tensors, config = self.loaded
        x = config["input_scale"] * images + config["input_shift"]
        layers = []
        for i, stride in enumerate(config["strides"]):
            weight = tensors[f"conv.{i}.weight"]
            bias = tensors[f"conv.{i}.bias"]
            x = F.relu(F.conv2d(x, weight, bias, stride=stride, padding=config["padding"]))
            layers.append(x)
        return layers

    def logits(self, last: Tensor) -> list[Tensor]:
        """Give logits `(n, value)` of each attribute, in the order of `attributes`.

        `last` are the activations `(n, channel, y, x)` of the last layer.
        """
        import torch.nn.functional as F

        tensors, _ = self.loaded
        flat = last.flatten(1)
        found = []
        for name in self.attributes:
            found.append(
                F.linear(flat, tensors[f"head.{name}.weight"], tensors[f"head.{name}.bias"])
            )
        return found


class SceneDistance(Distance):
    """Mean over layers of the place-averaged squared distance between unit-norm features; between 0
    and 2.

    `weights` is the file of another network of this form. Raises MissingWeights if it does not
    exist.
    """

    name = "reference_distance"
    embedded = True

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        *,
        download: bool = True,
    ) -> None:
        super().__init__(weights, device, batch_size, download=download)
        self.network = SceneNetwork(weights, device)

    def settings(self) -> dict[str, Any]:
        """Give the digest of the weight file, and the weights of the layers, which are equal.

        Known wherever the file is; it is shipped, so everywhere.
        """
        return {"weights_sha256": self.network.sha256, "layers": "all, mean"}

    def find_weights(self) -> Sequence[Path]:
        """Give the weight file. Raises MissingPackages without torch and safetensors."""
        return self.network.find()

    def measure(self, images: Images) -> Pairs:
        """Measure all pairs inside each cell of `images (cell, n, y, x, channel)`.

        One forward pass per image, one Gram product per cell.
        """
        import torch

        tensors, config = self.network.loaded
        n_layers = len(config["strides"])
        weights = []
        for i in range(n_layers):
            n_channels = len(tensors[f"conv.{i}.bias"])
            weights.append(torch.full((n_channels,), 1.0 / n_layers))
        return feature_pairs(
            images,
            self.network.activations,
            weights,
            device=self.device,
            batch_size=self.batch_size,
        )


class SceneFeatures(Embedding):
    """The last layer averaged over places, then the logits of every attribute's values, attribute
    after attribute.

    `weights` is the file of another network of this form. Raises MissingWeights if it does not
    exist.
    """

    name = "reference"

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        *,
        download: bool = True,
    ) -> None:
        super().__init__(weights, device, batch_size, download=download)
        self.network = SceneNetwork(weights, device)
        self.n_logits = sum(map(len, self.attributes.values()))

    @property
    def attributes(self) -> dict[str, list[str]]:
        """Values of each attribute, in the order of its logits.

        >>> SceneFeatures().attributes["shape"]
        ['circle', 'square', 'triangle', 'cross', 'ring', 'diamond']
        """
        return self.network.attributes

    def settings(self) -> dict[str, Any]:
        """Give the digest of the weight file, and where the features are taken.

        A reference set carries the same, so that unlike features are not compared.
        """
        return {"weights_sha256": self.network.sha256, "features": SCENE_FEATURES}

    def find_weights(self) -> Sequence[Path]:
        """Give the weight file. Raises MissingPackages without torch and safetensors."""
        return self.network.find()

    def embed(self, images: Images) -> Features:
        """Give features, then logits, `(n, feature + logit)`, of images `(n, y, x, channel)`;
        single precision.

        Raises IbstatsError for images of another size than the scenes.
        """
        height, width = images.shape[1:3]
        if (height, width) != SIZE:
            raise IbstatsError(
                f"the scene network reads 32x32 scenes of the trio, but images are "
                f"{height}x{width}; use CLIP and Inception scores for them"
            )
        return in_batches(images, self._forward, self.device, self.batch_size)

    def _forward(self, pixels: Tensor) -> Tensor:
        import torch

        last = self.network.activations(pixels.float() / 255)[-1]
        return torch.cat([last.mean(dim=(2, 3)), *self.network.logits(last)], dim=1)
