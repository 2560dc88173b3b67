"""What a network is: 8-bit images in, one row of features an image out."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ibstats.each import Portable

if TYPE_CHECKING:
    from torch import Tensor

Features = NDArray[np.float32]
Images = NDArray[np.uint8]


class AbstractNetwork(Portable, abc.ABC):
    """One network with its weights and its rule for images of any size. Weights are looked for on first use."""

    name: str
    device: str
    batch_size: int
    n_logits: int = 0
    """Last columns of the features that are readings, not coordinates."""

    @abc.abstractmethod
    def asked(self) -> dict[str, Any]:
        """The part of `settings` that is known without the weights."""

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that fixes the features besides the images: weight digests, the rule for their size.

        Raises MissingWeights when the weights are not on this machine.
        """

    def find_weights(self) -> None:
        """Find what features need, fetching weights if that is wanted; MissingWeights or MissingPackages else."""

    @abc.abstractmethod
    def embed(self, images: Images) -> Features:
        """Features `(n, feature)` of images `(n, y, x, channel)`."""


def in_batches(
    images: Images, forward: Callable[[Tensor], Tensor], device: str, batch_size: int
) -> Features:
    """Features of images `(n, y, x, channel)` through a network that takes 8-bit `(n, channel, y, x)`."""
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size]))
            parts.append(
                forward(pixels.permute(0, 3, 1, 2).contiguous().to(device)).float().cpu().numpy()
            )
    return np.concatenate(parts)
