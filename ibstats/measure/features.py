"""Distances in the feature space of a convolutional network, as squared distances of one long
vector per image.

With `phi_l = sqrt(w_l / (H_l W_l)) * f_l / ||f_l||` (unit norm over channels at each place, channel
weights w_l), layers concatenated, `||phi(x) - phi(y)||^2` is the weighted, place-averaged distance
summed over layers. So one forward pass per image and one Gram product per cell give all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ibstats.kernels import pairs
from ibstats.measure.base import Array, Images, Pairs

if TYPE_CHECKING:
    from torch import Tensor

Forward = Callable[["Tensor"], Sequence["Tensor"]]
"""Images (n, 3, y, x) in [0, 1] to activations (n, channel, y, x) of each layer."""

CHUNK = 1 << 15
"""Feature columns worked on at once: those of some tens of images fit a core's cache."""

CPU_BATCH = 16
"""Images of a forward pass on a CPU at most, whose caches larger ones overflow: 50 take an eighth
longer.
"""

EPS = 1e-10
"""Added to norms, as LPIPS does."""


def feature_pairs(
    images: Images,
    forward: Forward,
    weights: Sequence[Tensor],
    *,
    device: str,
    batch_size: int,
    eps: float = EPS,
) -> Pairs:
    """Give all pairs inside each cell of `images (cell, n, y, x, channel)`, and squared norms of
    phi.

    `weights` are those of the channels, `(channel,)` for each layer that `forward` gives. Memory is
    bounded by one cell's features. A norm of 0 is taken as `eps`.
    """
    cells, n = images.shape[:2]
    distance = np.zeros((cells, n, n))
    squared_norm = np.zeros((cells, n))
    for cell in range(cells):
        layers = _activations(images[cell], forward, device, batch_size)
        for layer, weight in zip(layers, weights, strict=True):
            gram, squared = _gram(layer, weight, eps)
            distance[cell] += pairs.distances_from_gram(gram)
            squared_norm[cell] += squared
    return Pairs(distance, squared_norm)


def _activations(
    images: Images, forward: Forward, device: str, batch_size: int
) -> Sequence[Tensor]:
    """Activations of every layer for the images of one cell."""
    import torch

    if device == "cpu":
        batch_size = min(batch_size, CPU_BATCH)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            part = np.require(images[start : start + batch_size], requirements=["C", "W"])
            pixels = torch.from_numpy(part).to(device)
            # channels stay last in memory, which pools fastest
            unit = pixels.permute(0, 3, 1, 2).float().div_(255)
            parts.append(list(forward(unit)))
        if len(parts) == 1:
            return parts[0]
        return [torch.cat(layer) for layer in zip(*parts, strict=True)]


def embed(layer: Tensor, weight: Tensor, eps: float = EPS) -> Tensor:
    """Give phi of one layer, `(n, y * x * channel)`, of activations `(n, channel, y, x)` and
    weights `(channel,)`.
    """
    places, scale = _places(layer, weight)
    return _phi(places, scale, eps)


def _places(layer: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Activations as (n, place, channel), and the factor of each channel."""
    places = layer.permute(0, 2, 3, 1).flatten(1, 2)
    return places, (weight.to(layer) / places.shape[1]).sqrt()


def _phi(places: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Scaled activations by their norm at each place, (n, place * channel)."""
    import torch

    norm = torch.linalg.vector_norm(places, dim=2, keepdim=True).add_(eps)
    phi: Tensor = (places * scale).div_(norm).flatten(1)
    return phi


def _gram(layer: Tensor, weight: Tensor, eps: float) -> tuple[Array, Array]:
    """Inner products (n, n) of phi relative to that of the first image, and squared norms (n,) of
    phi itself.

    Relative vectors keep small distances exact in single precision; partial products are added in
    double precision.
    """
    import torch

    with torch.inference_mode():
        places, scale = _places(layer, weight)
        gram = np.zeros((len(places), len(places)))
        for part in torch.split(places, max(1, CHUNK // places.shape[2]), dim=1):
            phi = _phi(part, scale, eps)
            phi[1:] -= phi[0]  # the first itself stays in its place
            gram += (phi @ phi.T).cpu().numpy()
    first = gram[0].copy()
    gram[0] = gram[:, 0] = 0.0
    squared = np.diagonal(gram) + 2 * first + first[0]
    squared[0] = first[0]
    return gram, squared
