"""The decoder of a lookup-free-quantised tokenizer, as Show-o's MAGVIT-v2.

Yu et al. (2024), arXiv:2310.05737. Parameter names are those of the published state dict. Upstream: showlab/Show-o,
models/modeling_magvitv2.py.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def code_bits(codes: Tensor, n_bits: int) -> Tensor:
    """The bits of each id, most significant first, (..., bit) of 0 and 1.

    Such a code has no learned vector: its bits are all there is to it.

    >>> code_bits(torch.tensor([5, 2]), 3)
    tensor([[1, 0, 1],
            [0, 1, 0]])
    """
    shifts = torch.arange(n_bits - 1, -1, -1, device=codes.device)
    return codes.unsqueeze(-1) >> shifts & 1


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes, all read off the weights.

    `widths` has one tuple a level, finest first, of the (input, output) channels of its blocks;
    `bottom` is the width at the coarsest level, `n_bits` that of a code.
    """

    n_bits: int
    bottom: int
    widths: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The sizes of a state dict of `LFQDecoder`, by its names and shapes; values are not read.

        Raises KeyError where it has no `conv_in.weight`.
        """
        blocks = []
        for key in tensors:
            match = re.fullmatch(r"up\.(\d+)\.block\.(\d+)\.conv1\.weight", key)
            if match:
                blocks.append((int(match[1]), int(match[2]), key))
        by_level: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for level, _, key in sorted(blocks):
            n_out, n_in = tensors[key].shape[:2]
            by_level[level].append((n_in, n_out))
        widths = tuple(tuple(by_level[level]) for level in sorted(by_level))
        bottom, n_bits = tensors["conv_in.weight"].shape[:2]
        return cls(n_bits, bottom, widths)


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, width, eps=1e-6)


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside a shortcut, which projects where the width changes.

    Takes and gives (sample, channel, y, x).
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(n_in), nn.Conv2d(n_in, n_out, 3, padding=1)
        self.norm2, self.conv2 = _norm(n_out), nn.Conv2d(n_out, n_out, 3, padding=1)
        if n_in != n_out:
            self.nin_shortcut = nn.Conv2d(n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """What the convolutions make of `x` (sample, n_in, y, x), plus `x`: (sample, n_out, y, x).

        Where the width changes `x` goes through a 1 x 1 convolution first.
        """
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        if hasattr(self, "nin_shortcut"):
            x = self.nin_shortcut(x)
        out: Tensor = h + x
        return out


class AttentionBlock(nn.Module):
    """Single-head attention over all places, beside a shortcut.

    Takes and gives (sample, channel, y, x).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.q = nn.Conv2d(width, width, 1)
        self.k = nn.Conv2d(width, width, 1)
        self.v = nn.Conv2d(width, width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (sample, channel, y, x), plus what each place of it sees of all of them.

        Of the same shape; there is one head, as wide as the channels.
        """
        h = self.norm(x)
        query = self.q(h).flatten(2).mT
        key = self.k(h).flatten(2).mT
        value = self.v(h).flatten(2).mT
        seen = F.scaled_dot_product_attention(query, key, value).mT.reshape(x.shape)
        out: Tensor = x + self.proj_out(seen)
        return out


class Level(nn.Module):
    """Residual blocks of one resolution, and the step to the next finer one but from the finest.

    Takes (sample, channel, y, x), and gives twice the y and x unless it is the finest.
    """

    def __init__(self, widths: tuple[tuple[int, int], ...], *, finest: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(*width) for width in widths)
        if not finest:
            width = widths[-1][1]
            self.upsample = nn.ModuleDict({"conv": nn.Conv2d(width, width, 3, padding=1)})

    def forward(self, x: Tensor) -> Tensor:
        """`x` (sample, channel, y, x) after all blocks, twice as fine if a finer level follows.

        Places are repeated to double them, and a convolution smooths what comes out.
        """
        for block in self.block:
            x = block(x)
        if hasattr(self, "upsample"):
            x = self.upsample["conv"](F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


class Decoder(nn.Module):
    """Latents to images, coarsest level first.

    `config` has the sizes of the weights that will be loaded; `attention` is whether the places of
    the coarsest level see each other.
    """

    def __init__(self, config: DecoderConfig, *, attention: bool = True) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(config.n_bits, config.bottom, 3, padding=1)
        self.mid = nn.ModuleDict({"block_1": ResidualBlock(config.bottom, config.bottom)})
        if attention:
            self.mid["attn_1"] = AttentionBlock(config.bottom)
        self.mid["block_2"] = ResidualBlock(config.bottom, config.bottom)
        self.up = nn.ModuleList(
            Level(widths, finest=level == 0) for level, widths in enumerate(config.widths)
        )
        width = config.widths[0][-1][1]
        self.norm_out, self.conv_out = _norm(width), nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Images (sample, channel, y, x) of latents (sample, bit, row, col).

        Pixels are in [-1, 1], about: what lies outside is for the caller to clamp.
        """
        x = self.conv_in(latents)
        for part in self.mid.values():
            x = part(x)
        for level in reversed(self.up):
            x = level(x)
        image: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return image


class LFQDecoder(Decoder):
    """Codes to images; the sign of channel j is bit j of the id, most significant first.

    `config` has the sizes of the weights that will be loaded.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.n_bits = config.n_bits
        self.post_quant_conv = nn.Conv2d(config.n_bits, config.n_bits, 1)

    def forward(self, codes: Tensor) -> Tensor:
        """Images (sample, channel, y, x) of codes (sample, row, col), as `Decoder` gives them.

        An id is its bits, and they are the latents.
        """
        signs = 2.0 * code_bits(codes, self.n_bits).permute(0, 3, 1, 2) - 1.0
        return super().forward(self.post_quant_conv(signs))
