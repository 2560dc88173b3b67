"""Codes of several grids of rising side, which add up to the latents of the finest one.

Source: Tian et al. (2024), "Visual Autoregressive Modeling", arXiv:2404.02905, algorithms 1 and 2.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Context = Callable[[Tensor | None, int], Tensor | None]
"""What coarser scales add up to at each position of a scale, (sample, position of the scale, dim).

Called with the codes (sample, position) of the scale before it, scale after scale; None at the first.
"""


class ScaleSum(abc.ABC):
    """A tokenizer whose grids are summed; ids are (sample, position), coarsest scale first.

    `scales` are the sides of the square grids, `sizes` their positions, `dim` the width of a vector.
    Within a scale the ids are in raster order.
    """

    scales: tuple[int, ...]
    sizes: Sequence[int]
    dim: int

    @abc.abstractmethod
    def added(self, ids: Tensor, scale: int) -> Tensor:
        """What the codes `ids` (sample, position of the scale) of a scale add, (sample, dim, side, side).

        The side is that of the finest scale.
        """

    def pooled(self, total: Tensor, scale: int) -> Tensor:
        """Vectors (sample, position of the scale, dim) of `total` (sample, dim, side, side).

        They are means over the cells of the scale, which overlap where its side does not divide the finest.
        """
        return F.adaptive_avg_pool2d(total, self.scales[scale]).flatten(2).mT

    def total(self, ids: Tensor) -> Tensor:
        """What the codes of all scales add up to, (sample, dim, side, side)."""
        parts = torch.split(ids, list(self.sizes), dim=1)
        return torch.stack([self.added(part, scale) for scale, part in enumerate(parts)]).sum(0)

    def contexts(self, ids: Tensor) -> Tensor:
        """What coarser scales tell of each position after the first scale, (sample, position - 1, dim).

        That is the sum of all scales before that of the position, `pooled` to its grid: the input
        of a network that predicts the scale. `ids` are those of all scales.
        """
        context = self.walk(len(ids), ids.device)
        parts = torch.split(ids, list(self.sizes), dim=1)[:-1]
        found = [context(part, scale) for scale, part in enumerate(parts, 1)]
        return torch.cat([each for each in found if each is not None], 1)

    def walk(self, n_samples: int, device: torch.device | str) -> Context:
        """The contexts of a sampler that goes from scale to scale, each called once and in order."""
        side = self.scales[-1]
        total = torch.zeros(n_samples, self.dim, side, side, device=device)

        def context(previous: Tensor | None, scale: int) -> Tensor | None:
            nonlocal total
            if previous is None:
                return None
            total = total + self.added(previous, scale - 1)
            return self.pooled(total, scale)

        return context
