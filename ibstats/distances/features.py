"""Distances in the feature space of a convolutional network, as squared distances of one long vector per image.

With `phi_l = sqrt(w_l / (H_l W_l)) * f_l / ||f_l||` (unit norm over channels at each place, channel weights w_l),
layers concatenated, `||phi(x) - phi(y)||^2` is the weighted, place-averaged distance summed over layers. So one
forward pass per image and one Gram product per cell give all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ibstats.distances.base import Array, Images, Pairs
from ibstats.kernels import pairs

if TYPE_CHECKING:
    from torch import Tensor

Forward = Callable[["Tensor"], Sequence["Tensor"]]
"""Images (n, 3, y, x) in [0, 1] to activations (n, channel, y, x) of each layer."""

CHUNK = 1 << 20
"""Feature columns brought to double precision at once."""


def feature_pairs(
    images: Images, forward: Forward, weights: Sequence[Tensor], *, device: str, batch_size: int, eps: float = 1e-10
) -> Pairs:
    """All pairs inside each cell of `images (cell, n, y, x, channel)`; memory is bounded by one cell's features."""
    cells, n = images.shape[:2]
    distance, squared_norm = np.zeros((cells, n, n)), np.zeros((cells, n))
    for cell in range(cells):
        for layer, weight in zip(_features(images[cell], forward, device, batch_size), weights, strict=True):
            phi = embed(layer, weight, eps)
            squared_norm[cell] += _double_sum(phi, lambda part: (part**2).sum(dim=1))
            shifted = phi - phi[:1]
            distance[cell] += pairs.distances_from_gram(_double_sum(shifted, lambda part: part @ part.T))
    return Pairs(distance, squared_norm)


def _features(images: Images, forward: Forward, device: str, batch_size: int) -> list[Tensor]:
    """Activations of every layer for the images of one cell."""
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size])).to(device)
            parts.append(list(forward(pixels.permute(0, 3, 1, 2).float() / 255)))
        return [torch.cat(layer) for layer in zip(*parts, strict=True)]


def embed(layer: Tensor, weight: Tensor, eps: float) -> Tensor:
    """phi of one layer, (n, channel * y * x)."""
    norm = (layer**2).sum(dim=1, keepdim=True).sqrt() + eps
    scale = (weight.to(layer).view(1, -1, 1, 1) / (layer.shape[2] * layer.shape[3])).sqrt()
    return (layer / norm * scale).flatten(1)


def _double_sum(phi: Tensor, term: Callable[[Tensor], Tensor]) -> Array:
    """Sum of a term over chunks of columns, in double precision where the device has it."""
    import torch

    wide = torch.float32 if phi.device.type == "mps" else torch.float64
    with torch.inference_mode():
        parts = [term(part.to(wide)) for part in torch.split(phi, CHUNK, dim=1)]
        return np.asarray(torch.stack(parts).sum(dim=0).cpu().numpy(), dtype=np.float64)
