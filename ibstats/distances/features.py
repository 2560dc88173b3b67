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

CHUNK = 1 << 16
"""Feature columns per partial product."""


def feature_pairs(
    images: Images, forward: Forward, weights: Sequence[Tensor], *, device: str, batch_size: int, eps: float = 1e-10
) -> Pairs:
    """All pairs inside each cell of `images (cell, n, y, x, channel)`; memory is bounded by one cell's features."""
    cells, n = images.shape[:2]
    distance, squared_norm = np.zeros((cells, n, n)), np.zeros((cells, n))
    for cell in range(cells):
        for layer, weight in zip(_features(images[cell], forward, device, batch_size), weights, strict=True):
            gram = _gram(embed(layer, weight, eps))
            distance[cell] += pairs.distances_from_gram(gram[:n, :n])
            squared_norm[cell] += np.diagonal(gram)[:n] + 2 * gram[:n, n] + gram[n, n]
    return Pairs(distance, squared_norm)


def _features(images: Images, forward: Forward, device: str, batch_size: int) -> list[Tensor]:
    """Activations of every layer for the images of one cell."""
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size])).to(device)
            parts.append(list(forward(pixels.permute(0, 3, 1, 2).float() / 255)))  # channels stay last: fastest pooling
        return parts[0] if len(parts) == 1 else [torch.cat(layer) for layer in zip(*parts, strict=True)]


def embed(layer: Tensor, weight: Tensor, eps: float) -> Tensor:
    """phi of one layer, (n, y * x * channel)."""
    import torch

    place = layer.permute(0, 2, 3, 1)
    scale = (weight.to(layer) / (layer.shape[2] * layer.shape[3])).sqrt()
    phi: Tensor = (place * scale).div_(torch.linalg.vector_norm(place, dim=3, keepdim=True).add_(eps)).flatten(1)
    return phi


def _gram(phi: Tensor) -> Array:
    """Inner products, (n + 1, n + 1), of the rows relative to the first one, and of the first one itself.

    Relative rows keep small distances exact in single precision; partial products are added in double precision.
    """
    import torch

    n = len(phi)
    gram = np.zeros((n + 1, n + 1))
    with torch.inference_mode():
        first = phi[0].clone()
        for rows, base in zip(phi.sub_(first).split(CHUNK, dim=1), first.split(CHUNK), strict=True):  # type: ignore[no-untyped-call]
            gram[:n, :n] += (rows @ rows.T).cpu().numpy()
            gram[:n, n] += (rows @ base).cpu().numpy()
            gram[n, n] += float(base @ base)
    gram[n, :n] = gram[:n, n]
    return gram
