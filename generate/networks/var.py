"""The transformer of VAR (Tian et al. 2024, arXiv:2404.02905), inference only.

Parameter names are those of the published state dict. Upstream: FoundationVision/VAR, models/var.py
and models/basic_var.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generate.networks.keys_and_values import KeysAndValues
from generate.networks.rotary import rotate

LARGEST_SCALE = math.log(100)
"""Of the learned logarithm by which a head multiplies its queries."""
DERIVED = ("lvl_1L", "attn_bias_for_masking", "zero_k_bias")
"""Ends of the names of stored tensors that follow from the scales."""


@dataclass(frozen=True)
class VarConfig:
    """Sizes; all but the scales can be read off the weights.

    `hidden` is the width of the feed-forward layers, `dim` that of the tokenizer's vectors, `scales`
    the sides of the square grids. `shared` is whether one layer makes the modulation of all blocks.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    codes: int
    classes: int
    dim: int
    scales: tuple[int, ...]
    shared: bool

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], scales: Sequence[int]) -> Self:
        """The sizes of a state dict, by name; its values are not read.

        No tensor tells the sides of the `scales`.
        """
        numbers = {key.split(".")[1] for key in tensors if key.startswith("blocks.")}
        codes, width = tensors["head.weight"].shape
        return cls(
            width=width,
            layers=len(numbers),
            heads=tensors["blocks.0.attn.scale_mul_1H11"].shape[1],
            hidden=len(tensors["blocks.0.ffn.fc1.weight"]),
            codes=codes,
            classes=len(tensors["class_emb.weight"]) - 1,
            dim=tensors["word_embed.weight"].shape[1],
            scales=tuple(scales),
            shared="shared_ada_lin.1.weight" in tensors,
        )

    @property
    def sizes(self) -> list[int]:
        """Positions of each scale, coarsest first."""
        return [side * side for side in self.scales]

    @property
    def kept(self) -> KeysAndValues:
        """Keys and values of a row.

        Those of all scales, which see each other.
        """
        return KeysAndValues(self.layers, self.heads, self.width // self.heads, sum(self.sizes))


@dataclass(frozen=True)
class Cache:
    """What one batch of sequences carries from scale to scale.

    Keys and values are filled in place; what follows from the class stays the same.
    """

    keys: Tensor  # (block, row, head, position, head_dim)
    values: Tensor
    modulations: Sequence[Tensor]  # of each block (row, 6, width)
    last: Tensor  # (row, 2, width): scale and shift before the head


class Attention(nn.Module):
    """Attention of unit queries and keys, whose sharpness each head learns."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale_mul_1H11 = nn.Parameter(torch.zeros(1, heads, 1, 1))
        self.mat_qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        start: int,
        mask: Tensor | None = None,
        table: Tensor | None = None,
    ) -> Tensor:
        """What `x` (row, place, width) sees up to its own end, of the same shape.

        Writes keys and values (row, head, position, head_dim) from position `start` on. `mask`
        (place, position) says what may be seen; None is all of it. `table` (place, head_dim / 2, 2)
        turns queries and keys as `rotate` does; None leaves them as they are.
        """
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        mixed = F.linear(x, self.mat_qkv.weight, bias).view(*x.shape[:2], 3, self.heads, -1)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        sharpness = self.scale_mul_1H11.clamp_max(LARGEST_SCALE).exp()
        query, key = F.normalize(query, dim=-1) * sharpness, F.normalize(key, dim=-1)
        if table is not None:
            query, key = rotate(query, table), rotate(key, table)
        stop = start + x.shape[1]
        keys[:, :, start:stop] = key
        values[:, :, start:stop] = value
        seen = F.scaled_dot_product_attention(
            query, keys[:, :, :stop], values[:, :, :stop], attn_mask=mask, scale=1.0
        )
        attended: Tensor = self.proj(seen.transpose(1, 2).flatten(2))
        return attended


class FeedForward(nn.Module):
    """Two layers with a tanh-approximated GELU between them, place by place."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """The layers of `x` (..., width), of the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out


class Block(nn.Module):
    """Attention and feed-forward, each scaled, shifted and weighed by the class."""

    def __init__(self, config: VarConfig) -> None:
        super().__init__()
        self.width = config.width
        self.attn = Attention(config.width, config.heads)
        self.ffn = FeedForward(config.width, config.hidden)
        if config.shared:
            self.ada_gss = nn.Parameter(torch.zeros(1, 1, 6, config.width))
        else:
            self.ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(config.width, 6 * config.width))

    def modulation(self, condition: Tensor) -> Tensor:
        """Weights, scales and shifts (row, 6, width) that the class asks for.

        `condition` is that of the class (row, width), or where a layer is shared what it gives, (row,
        6, width).
        """
        if hasattr(self, "ada_gss"):
            return self.ada_gss[0] + condition
        made: Tensor = self.ada_lin(condition)
        return made.view(-1, 6, self.width)

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        keys: Tensor,
        values: Tensor,
        start: int,
        mask: Tensor | None,
    ) -> Tensor:
        """`x` (row, place, width) after both, of the same shape; arguments as of `Attention`."""
        weight1, weight2, scale1, scale2, shift1, shift2 = modulation.unsqueeze(2).unbind(1)
        seen = self.attn(normed(x) * (1 + scale1) + shift1, keys, values, start, mask)
        x = x + seen * weight1
        out: Tensor = x + self.ffn(normed(x) * (1 + scale2) + shift2) * weight2
        return out


class Last(nn.Module):
    """Scale and shift of the class before the head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, condition: Tensor) -> Tensor:
        """Scale and shift (row, 2, width) of a class (row, width)."""
        made: Tensor = self.ada_lin(condition)
        return made.view(len(made), 2, -1)


def normed(x: Tensor) -> Tensor:
    """`x` (..., width) with mean 0 and variance 1 over the width."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


class Var(nn.Module):
    """Logits over the codes of every scale, given a class and the scales before.

    One batch is `empty_cache`, then `scale_logits` scale after scale; `all_logits` has all at once.
    """

    def __init__(self, config: VarConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.word_embed = nn.Linear(config.dim, width)
        self.class_emb = nn.Embedding(config.classes + 1, width)
        self.pos_start = nn.Parameter(torch.zeros(1, config.sizes[0], width))
        self.pos_1LC = nn.Parameter(torch.zeros(1, sum(config.sizes), width))
        self.lvl_embed = nn.Embedding(len(config.scales), width)
        if config.shared:
            self.shared_ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head_nm = Last(width)
        self.head = nn.Linear(width, config.codes)

    def empty_cache(self, classes: Tensor) -> Cache:
        """Room for sequences of all scales, one a row of `classes` (row,) int64.

        A class one past the last stands for none.
        """
        config = self.config
        condition = self.class_emb(classes)
        shared = condition
        if config.shared:
            shared = self.shared_ada_lin(condition).unflatten(-1, (6, -1))
        empty = condition.new_empty(2, *config.kept.shape(len(classes)))
        modulations = []
        for block in self.blocks:
            assert isinstance(block, Block)
            modulations.append(block.modulation(shared))
        return Cache(empty[0], empty[1], modulations, self.head_nm(condition))

    def scale_logits(
        self, classes: Tensor, cache: Cache, context: Tensor | None, scale: int
    ) -> Tensor:
        """Float32 logits (row, position of the scale, code) of a scale.

        `context` (row, position of the scale, dim) is what coarser scales add up to, None at the
        first. Scales come in order: each call adds its keys and values to `cache`.
        """
        start = sum(self.config.sizes[:scale])
        return self._logits(self._inputs(classes, context, scale), cache, start, None)

    def all_logits(self, classes: Tensor, contexts: Tensor) -> Tensor:
        """Float32 logits (row, position, code) of all scales by teacher forcing.

        `contexts` (row, position, dim) are of all positions after the first scale.
        """
        sizes = self.config.sizes
        parts = [None, *torch.split(contexts, sizes[1:], dim=1)]
        inputs = [self._inputs(classes, part, scale) for scale, part in enumerate(parts)]
        scale_of = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        mask = (scale_of[:, None] >= scale_of).to(classes.device)
        return self._logits(torch.cat(inputs, 1), self.empty_cache(classes), 0, mask)

    def _inputs(self, classes: Tensor, context: Tensor | None, scale: int) -> Tensor:
        """What enters the positions of a scale, (row, position of the scale, width)."""
        start = sum(self.config.sizes[:scale])
        stop = start + self.config.sizes[scale]
        places = self.lvl_embed.weight[scale] + self.pos_1LC[:, start:stop]
        inputs: Tensor
        if context is None:
            inputs = self.class_emb(classes)[:, None] + self.pos_start + places
        else:
            inputs = self.word_embed(context.to(places.dtype)) + places
        return inputs

    def _logits(self, x: Tensor, cache: Cache, start: int, mask: Tensor | None) -> Tensor:
        """Logits of the positions from `start` on, whose inputs are `x` (row, place, width)."""
        every = zip(self.blocks, cache.modulations, cache.keys, cache.values, strict=True)
        for block, modulation, keys, values in every:
            x = block(x, modulation, keys, values, start, mask)
        scale, shift = cache.last.unsqueeze(2).unbind(1)
        logits: Tensor = self.head(normed(x) * (1 + scale) + shift)
        exact: Tensor = logits.float()
        return exact
