"""The class-conditional MaskGIT of Besnier et al. (2025, arXiv:2503.17076), inference only.

Parameter names are those of the published state dict. Upstream: valeoai/Halton-MaskGIT,
Network/transformer.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generate.networks.swiglu import FeedForward

EPS = 1e-5


@dataclass(frozen=True)
class MaskGitConfig:
    """Sizes; all but the number of heads can be read off the weights.

    `width` is that of the states, `inner` of queries, keys and values, `hidden` of the gated layers;
    `registers` are places beside the `positions` of the grid. Codes are followed by MASK, classes by
    no class.
    """

    width: int
    inner: int
    hidden: int
    layers: int
    heads: int
    codes: int
    classes: int
    positions: int
    registers: int

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], heads: int) -> Self:
        """The sizes of a state dict of `MaskGit`; values are not read.

        Raises KeyError where a tensor is absent that tells one.
        """
        layers = 0
        for name in tensors:
            match = re.match(r"transformer\.layers\.(\d+)\.", name)
            if match:
                layers = max(layers, 1 + int(match[1]))
        inner, width = tensors["transformer.layers.0.attn.wq.weight"].shape
        return cls(
            width=width,
            inner=inner,
            hidden=len(tensors["transformer.layers.0.ff.w1.weight"]),
            layers=layers,
            heads=heads,
            codes=len(tensors["tok_emb.weight"]) - 1,
            classes=len(tensors["cls_emb.weight"]) - 1,
            positions=len(tensors["pos_emb.weight"]),
            registers=len(tensors["reg_tokens.weight"]),
        )


def unit(x: Tensor) -> Tensor:
    """`x` with unit mean square in the last dimension, of the type of `x`.

    Computed in float32; 1e-5 under the root keeps a zero state zero.
    """
    return F.rms_norm(x.float(), x.shape[-1:], eps=EPS).type_as(x)


class Scaled(nn.Module):
    """A root-mean-square norm with a learned scale.

    `bias` is whether a learned shift is added (Zhang & Sennrich 2019, arXiv:1910.07467).
    """

    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        if bias:
            self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """The norm of `x` (..., width), scaled and shifted."""
        scaled = self.weight * unit(x)
        return scaled + self.bias if hasattr(self, "bias") else scaled


def modulation(width: int, n: int) -> nn.Sequential:
    """A layer that gives `n` vectors of a class embedding, side by side.

    Takes (row, width) and gives (row, n width).
    """
    return nn.Sequential(nn.SiLU(), nn.Linear(width, n * width))


class Attention(nn.Module):
    """Attention of all places to all.

    Queries and keys are normed over all heads together, without a learned scale; the heads need not
    fill the width.
    """

    def __init__(self, config: MaskGitConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.wq, self.wk, self.wv = (
            nn.Linear(config.width, config.inner, bias=False) for _ in range(3)
        )
        self.wo = nn.Linear(config.inner, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """What every place of `x` (row, place, width) sees, of the same shape."""
        query, key, value = self.by_head(unit(self.wq(x))), self.wk(x), self.by_head(self.wv(x))
        seen = F.scaled_dot_product_attention(query, self.by_head(unit(key)), value)
        out: Tensor = self.wo(seen.transpose(1, 2).flatten(2))
        return out

    def by_head(self, x: Tensor) -> Tensor:
        """(row, head, place, head_dim) of (row, place, inner)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Block(nn.Module):
    """Attention, then a feed-forward.

    The class shifts, scales and gates both (Peebles & Xie 2023, arXiv:2212.09748).
    """

    def __init__(self, config: MaskGitConfig) -> None:
        super().__init__()
        self.mlp = modulation(config.width, 6)
        self.ln1, self.ln2 = Scaled(config.width, bias=False), Scaled(config.width, bias=False)
        self.attn, self.ff = Attention(config), FeedForward(config.width, config.hidden)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """`x` (row, place, width) after the block, under a class embedding (row, width)."""
        shift, scale, gate, shift_2, scale_2, gate_2 = self.mlp(condition)[:, None].chunk(6, -1)
        x = x + gate * self.attn(self.ln1(x) * (1 + scale) + shift)
        out: Tensor = x + gate_2 * self.ff(self.ln2(x) * (1 + scale_2) + shift_2)
        return out


class MaskGit(nn.Module):
    """Logits of a grid of codes that are partly masked, of a class.

    Registers are places that belong to no position: they see and are seen, and are then left out.
    """

    def __init__(self, config: MaskGitConfig) -> None:
        super().__init__()
        self.config = config
        self.cls_emb = nn.Embedding(config.classes + 1, config.width)
        self.tok_emb = nn.Embedding(config.codes + 1, config.width)
        self.pos_emb = nn.Embedding(config.positions, config.width)
        self.reg_tokens = nn.Embedding(config.registers, config.width)
        blocks = [Block(config) for _ in range(config.layers)]
        self.transformer = nn.ModuleDict({"layers": nn.ModuleList(blocks)})
        self.last_norm = nn.ModuleDict(
            {"norm_final": Scaled(config.width, bias=True), "mlp": modulation(config.width, 2)}
        )
        self.head = nn.Linear(config.width, config.codes + 1)

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks, first to last."""
        layers = self.transformer["layers"]
        assert isinstance(layers, nn.ModuleList)
        return layers

    def forward(self, tokens: Tensor, classes: Tensor) -> Tensor:
        """Logits (row, position, code) of tokens (row, position), MASK where open, without MASK's.

        `classes` (row,) are their numbers, that of no class among them.
        """
        condition = self.cls_emb(classes)
        x = self.tok_emb(tokens) + self.pos_emb.weight
        x = torch.cat([x, self.reg_tokens.weight.expand(len(x), -1, -1)], 1)
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.last_norm["mlp"](condition)[:, None].chunk(2, -1)
        x = self.last_norm["norm_final"](x[:, : tokens.shape[1]]) * (1 + scale) + shift
        n_codes = self.config.codes
        return F.linear(x, self.head.weight[:n_codes], self.head.bias[:n_codes])
