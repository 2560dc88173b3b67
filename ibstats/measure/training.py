"""Pairwise LPIPS diversity as a torchmetrics `Metric`, for training loops; this module alone
imports torch at once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ibstats.errors import IbstatsError, unknown
from ibstats.measure.features import embed
from ibstats.measure.lpips import LpipsAlex, LpipsSqueeze, LpipsVgg

NETS = {"alex": LpipsAlex, "vgg": LpipsVgg, "squeeze": LpipsSqueeze}


class LpipsDiversity(Metric):
    """Mean over prompts of the mean LPIPS distance over pairs of a prompt's images.

    `update(images)` takes one prompt's images `(n, 3, y, x)`, or several prompts' `(prompt, n, 3,
    y, x)`, as floats in [0, 1]. Takes O(n) time a prompt: the mean over pairs is twice the variance
    of the embedding. `net` is `alex`, `vgg` or `squeeze`; `network` an `lpips.LPIPS` of your own,
    `weights` a file of the backbone; further options are torchmetrics'. Raises IbstatsError for
    another net, MissingWeights where the backbone's weights lack.
    """

    is_differentiable = True
    higher_is_better = True
    full_state_update = False
    total: Tensor
    prompts: Tensor

    def __init__(
        self, net: str = "alex", *, network: Any = None, weights: str | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        if net not in NETS:
            raise unknown("LPIPS net", net, NETS)
        self.network = NETS[net](weights, network=network).network
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("prompts", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, images: Tensor) -> None:
        """Add one prompt or a batch of prompts, each with two or more images; IbstatsError for
        anything else.
        """
        if images.ndim not in (4, 5) or images.shape[-3] != 3 or not images.is_floating_point():
            raise IbstatsError(
                f"images are {images.dtype} {tuple(images.shape)}, but must be floats in [0, 1], "
                "(n, 3, y, x) or (prompt, n, 3, y, x)"
            )
        prompts = images
        if images.ndim == 4:
            prompts = images[None]
        for one in prompts:
            self._add(one)

    def _add(self, images: Tensor) -> None:
        """Add one prompt, `(n, 3, y, x)`: its mean over pairs, layer by layer."""
        n = len(images)
        if n < 2:
            raise IbstatsError("one image has no pair; give at least two images of a prompt")
        layers = self.network.net.forward(self.network.scaling_layer(2 * images - 1))
        for layer, head in zip(layers, self.network.lins, strict=True):
            phi = embed(layer, head.model[-1].weight.flatten())
            centred = phi - phi.mean(dim=0)
            self.total = self.total + 2 * (centred**2).sum().double() / (n - 1)
        self.prompts = self.prompts + 1

    def compute(self) -> Tensor:
        """Give the diversity of all prompts so far, a scalar in units of LPIPS.

        Mean over prompts of the mean over pairs; NaN before any update.
        """
        return self.total / self.prompts
