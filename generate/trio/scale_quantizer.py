"""Residual quantization over scales: one codebook, from one code for the whole image to a grid of them.

Source: Tian et al. (2024), "Visual Autoregressive Modeling", arXiv:2404.02905, algorithms 1 and 2. A
scale codes what the coarser ones have left of the latents: the rest is averaged down to the scale's
grid, coded, and its vectors are interpolated up, refined and taken away. Ours differs in two things:
latents have length one, as those of `generate.trio.quantizers.Vq`, whose trunk it starts from, and
codes follow the latents by a moving average instead of a gradient, each scale counting alike.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generate.networks.scale_sum import ScaleSum
from generate.trio.quantizers import Quantised, Quantizer

SCALES = (1, 2, 3, 5, 8)
"""Sides of the square grids of the trio's scales, 103 codes together."""


class ScaleVq(Quantizer, ScaleSum):
    """Codes of several grids of rising side, which add up to the latents of the finest one.

    Latents are (B, side, side, dim) with the side of the last scale. Ids are (B, position): the codes
    of all scales one after another, coarsest first and in raster order within a scale.

    >>> quantizer = ScaleVq((16,), scales=(1, 2, 4))
    >>> ids = quantizer.encode(torch.randn(2, 4, 4, quantizer.dim))
    >>> ids.shape, quantizer.vectors(ids).shape
    (torch.Size([2, 21]), torch.Size([2, 4, 4, 16]))
    """

    codebook: Tensor
    usage: Tensor
    commitment: ClassVar[float] = 0.25
    decay: ClassVar[float] = 0.98
    """What a step of the training keeps of the old codebook."""
    dead: ClassVar[float] = 0.05
    """Share of a uniform code's use below which a code restarts at a latent of the batch."""
    restart_until: ClassVar[float] = 0.8
    """Share of the training after which the codebook is only followed."""

    def __init__(
        self, levels: Sequence[int] = (256,), scales: Sequence[int] = SCALES, dim: int = 16
    ) -> None:
        super().__init__(levels, dim)
        if len(self.levels) != 1:
            raise ValueError(f"levels of scales are {list(levels)}: give one number, the codes")
        if not scales or scales[0] < 1 or sorted(set(scales)) != list(scales):
            raise ValueError(f"scales are {list(scales)}: give rising sides of square grids")
        self.scales = tuple(scales)
        self.sizes = [side * side for side in self.scales]
        self.register_buffer("codebook", F.normalize(torch.randn(self.codes, dim), dim=1))
        self.register_buffer("usage", torch.zeros(self.codes))
        self.refine = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in self.scales)
        for convolution in self.refine:
            nn.init.zeros_(cast(nn.Conv2d, convolution).weight)

    def project(self, latents: Tensor) -> Tensor:
        """Latents of length one, (..., dim) in single precision.

        What a scale leaves of them is not projected again.
        """
        return F.normalize(latents.float(), dim=-1)

    def encode(self, latents: Tensor) -> Tensor:
        """Ids (B, position) int64 of latents (B, side, side, dim).

        Each is the code nearest to what coarser scales left, in squared distance.
        """
        return torch.cat([ids for _, ids, _ in self._coded(self.project(latents))], 1)

    def vectors(self, ids: Tensor) -> Tensor:
        """Vectors (B, side, side, dim) in single precision of ids (B, position).

        Raises IndexError, on the CPU, for an id that is no code.
        """
        return self.total(ids).permute(0, 2, 3, 1)

    def added(self, ids: Tensor, scale: int) -> Tensor:
        """What the codes `ids` (B, position of the scale) of a scale add, (B, dim, side, side).

        Vectors interpolated to the finest grid (bicubic), and on them the convolution of the scale.
        """
        side = self.scales[scale]
        vectors = self.codebook[ids].mT.reshape(len(ids), self.dim, side, side)
        if side < self.scales[-1]:
            vectors = F.interpolate(vectors, size=self.scales[-1], mode="bicubic")
        refined: Tensor = self.refine[scale](vectors)
        return vectors + refined

    def forward(self, latents: Tensor, progress: float = 1.0) -> Quantised:
        """Quantise, and while training move the codebook.

        The loss is the squared distance of the latents to the sum after each scale, means over scales;
        it teaches the convolutions, and weighted by `commitment` the encoder.
        """
        unit = self.project(latents)
        target = unit.permute(0, 3, 1, 2)
        if self.training and not self.usage.any():
            self._place(target.detach())
        total = torch.zeros_like(target)
        loss = unit.new_zeros(())
        every = []
        for coded, ids, added in self._coded(unit.detach()):
            every.append((coded, ids))
            total = total + added
            if self.training:
                learned = (total - target.detach()).square().sum(1).mean()
                committed = (target - total.detach()).square().sum(1).mean()
                loss = loss + (learned + self.commitment * committed) / len(self.scales)
        if self.training:
            self._follow(every, dead=self.dead if progress < self.restart_until else 0.0)
        seen = target + (total - target).detach()
        all_ids = torch.cat([ids for _, ids in every], 1)
        return Quantised(seen.permute(0, 2, 3, 1).to(latents.dtype), all_ids, loss)

    def _coded(self, unit: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Of each scale what was coded (B, position, dim), its ids, and what they add."""
        rest = unit.permute(0, 3, 1, 2)
        for scale in range(len(self.scales)):
            coded = self.pooled(rest, scale)
            ids = self._nearest(coded)
            added = self.added(ids, scale)
            rest = rest - added.detach()
            yield coded, ids, added

    def _nearest(self, coded: Tensor) -> Tensor:
        closeness = coded @ self.codebook.T - self.codebook.square().sum(1) / 2
        return closeness.argmax(-1)

    @torch.no_grad()
    def _place(self, latents: Tensor) -> None:
        """Put the codebook at latents (B, dim, side, side), pooled to scales at random."""
        every = [self.pooled(latents, scale) for scale in range(len(self.scales))]
        self._restart(every, torch.ones_like(self.usage).bool())

    @torch.no_grad()
    def _follow(self, every: Sequence[tuple[Tensor, Tensor]], *, dead: float) -> None:
        """Move codes towards what they coded, and restart those used less than `dead`.

        `every` has vectors and ids of each scale; all scales weigh alike, so that the one code of
        the coarsest counts as much as the many of the finest.
        """
        n_codes, dim = self.codebook.shape
        counts = self.usage.new_zeros(n_codes)
        sums = self.codebook.new_zeros(n_codes, dim)
        for coded, ids in every:
            weight = n_codes / (len(every) * ids.numel())
            assigned = F.one_hot(ids.flatten(), n_codes).to(sums.dtype)
            counts += weight * assigned.sum(0)
            sums += weight * (assigned.T @ coded.flatten(0, 1))
        used = counts > 0
        means = sums[used] / counts[used, None]
        self.codebook[used] = self.codebook[used].lerp(means, 1 - self.decay)
        self.usage.mul_(self.decay).add_((1 - self.decay) * counts)
        self._restart([coded for coded, _ in every], self.usage < dead)

    def _restart(self, every: Sequence[Tensor], which: Tensor) -> None:
        """Put the codes marked by `which` at vectors of scales drawn with equal chance."""
        for code in which.nonzero()[:, 0].tolist():
            vectors = every[int(torch.randint(len(every), ()))].flatten(0, 1)
            self.codebook[code] = vectors[int(torch.randint(len(vectors), ()))]
            self.usage[code] = 1.0
