"""Reference network: tells the attributes of a scene, for evaluation and as a feature space.

Trained with batch norm, shipped with it folded into the convolutions, so the file is all there
is to know: `x = relu(conv2d(x, conv.i.weight, conv.i.bias, stride=strides[i], padding=1))` for
each i, then flatten, then one linear head `head.{attribute}` per attribute.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generate.trio import weights
from generate.trio.scenes import ATTRIBUTES, IMAGE_SIZE

WIDTHS = (24, 32, 48, 64, 96, 96)
STRIDES = (2, 1, 2, 1, 2, 1)
INPUT_SCALE, INPUT_SHIFT = 2.0, -1.0  # images in [0, 1] enter as scale * image + shift


class Reference(nn.Module):
    """The shipped form: plain convolutions and a linear head for each attribute.

    Images are (B, 3, 32, 32) in [0, 1]. Its weights are those of `TrainableReference.folded`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = _convolutions(bias=True)
        self.head = _heads()

    def features(self, images: Tensor) -> list[Tensor]:
        """Activations (B, C, H, W) of every layer for images (B, 3, 32, 32) in [0, 1].

        The first layer comes first. They are not negative, as each layer ends in a ReLU. The last
        has 96 channels on 4 x 4 places.
        """
        x = INPUT_SCALE * images + INPUT_SHIFT
        layers = []
        for conv in self.conv:
            x = F.relu(conv(x))
            layers.append(x)
        return layers

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits (B, values) of each attribute, for images (B, 3, 32, 32) in [0, 1].

        By name of the attribute, in the order of `scenes.ATTRIBUTES`, as are its values.
        """
        return _answers(self.head, self.features(images)[-1])

    @torch.no_grad()
    def attributes(self, images: Tensor, *, batch: int = 500) -> Tensor:
        """Most likely attribute indices (B, 5), columns as in `scenes.ATTRIBUTES`.

        `images` are (B, 3, 32, 32) in [0, 1], worked on `batch` at a time.
        """
        parts = []
        for part in torch.split(images, batch):
            modes = [logits.argmax(1) for logits in self(part).values()]
            parts.append(torch.stack(modes, 1))
        return torch.cat(parts)


class TrainableReference(nn.Module):
    """The same network with batch norm, as it is trained.

    `folded` turns it into the weights of a `Reference`, which is what is kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = _convolutions(bias=False)
        self.norm = nn.ModuleList(map(nn.BatchNorm2d, WIDTHS))
        self.head = _heads()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits (B, values) of each attribute, for images (B, 3, 32, 32) in [0, 1].

        In training mode they depend on the whole batch, and the running means move.
        """
        x = INPUT_SCALE * images + INPUT_SHIFT
        for conv, norm in zip(self.conv, self.norm, strict=True):
            x = F.relu(norm(conv(x)))
        return _answers(self.head, x)

    @torch.no_grad()
    def folded(self) -> dict[str, Tensor]:
        """Weights of the equal `Reference`, batch norm folded into the convolutions.

        Equal in evaluation mode, up to rounding: what is folded in are the running means and
        variances.
        """
        tensors: dict[str, Tensor] = {}
        for name, tensor in self.head.state_dict().items():
            tensors[f"head.{name}"] = tensor
        convs = cast(Sequence[nn.Conv2d], self.conv)
        norms = cast(Sequence[nn.BatchNorm2d], self.norm)
        for index, (conv, norm) in enumerate(zip(convs, norms, strict=True)):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            tensors[f"conv.{index}.weight"] = conv.weight * gain[:, None, None, None]
            tensors[f"conv.{index}.bias"] = norm.bias - norm.running_mean * gain
        return tensors


def save_reference(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write folded weights with all that a reader needs to run them.

    Strides, padding, the scaling of pixels and the names of the attributes stand in the file, so
    that ibstats runs the network without this package.
    """
    config = {
        "strides": STRIDES,
        "padding": 1,
        "input_scale": INPUT_SCALE,
        "input_shift": INPUT_SHIFT,
        "pooling": "flatten",
        "attributes": dict(ATTRIBUTES),
    }
    weights.save(path, tensors, config)


def load_reference(path: Path | None = None) -> Reference:
    """The shipped reference network, or the one at `path`, ready for inference in float32.

    Raises FileNotFoundError, with the recipe, where there is no such file.
    """
    tensors, _ = weights.load(path or weights.SHIPPED / "reference.safetensors")
    reference = Reference()
    reference.load_state_dict(tensors)
    return reference.eval().requires_grad_(False)


def _convolutions(*, bias: bool) -> nn.ModuleList:
    convolutions = nn.ModuleList()
    n_in = 3
    for n_out, stride in zip(WIDTHS, STRIDES, strict=True):
        convolutions.append(nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=bias))
        n_in = n_out
    return convolutions


def _answers(heads: nn.ModuleDict, features: Tensor) -> dict[str, Tensor]:
    """Logits (B, values) of each attribute, from the last layer (B, C, H, W)."""
    flat = features.flatten(1)
    return {attribute: head(flat) for attribute, head in heads.items()}


def _heads() -> nn.ModuleDict:
    side = IMAGE_SIZE
    for stride in STRIDES:
        side //= stride
    n_in = WIDTHS[-1] * side * side
    return nn.ModuleDict(
        {name: nn.Linear(n_in, len(values)) for name, values in ATTRIBUTES.items()}
    )
