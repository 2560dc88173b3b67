"""The transformer of Infinity (Han et al. 2024, arXiv:2412.04431), inference only.

It is that of VAR with rotary positions, a text in place of the class, and logits of bits. Parameter
names are those of the published state dict, but the blocks', which lie in chunks there. Upstream:
FoundationVision/Infinity, infinity/models/infinity.py and infinity/models/basic.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generate.networks.keys_and_values import KeysAndValues
from generate.networks.rotary import grid_table
from generate.networks.var import Attention, FeedForward, Last, normed

DERIVED = (
    "zero_k_bias",
    "lvl_1L",
    "attn_bias_for_masking",
    "Infinity_visible_kvlen",
    "Infinity_invisible_qlen",
)
"""Ends of the names of stored tensors that follow from the scales, or are zero."""
PLACES = 64
"""Places of a side that positions of all scales are counted in: the grid of 1024 pixels."""
IN_CHUNK = re.compile(r"block_chunks\.(\d+)\.module\.(\d+)\.")


@dataclass(frozen=True)
class InfinityConfig:
    """Sizes; all but the scales can be read off the weights.

    `hidden` is the width of the feed-forward layers, `text_width` that of text states, of which there
    are `text_length` for no text. `text_heads` pool a text, `levels` is the most scales there can
    be, `scales` are the sides of the square grids.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    bits: int
    text_width: int
    text_heads: int
    text_length: int
    levels: int
    scales: tuple[int, ...]

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], scales: Sequence[int]) -> Self:
        """The sizes of a state dict, named as here; its values are not read.

        No tensor tells the sides of the `scales`.
        """
        width, bits = tensors["word_embed.weight"].shape
        numbers = {name.split(".")[1] for name in tensors if name.startswith("blocks.")}
        text_length, text_width = tensors["cfg_uncond"].shape
        return cls(
            width=width,
            layers=len(numbers),
            heads=tensors["blocks.0.sa.scale_mul_1H11"].shape[1],
            hidden=len(tensors["blocks.0.ffn.fc1.weight"]),
            bits=bits,
            text_width=text_width,
            text_heads=tensors["text_proj_for_sos.ca.mat_q"].shape[1],
            text_length=text_length,
            levels=len(tensors["lvl_embed.weight"]),
            scales=tuple(scales),
        )

    @property
    def sizes(self) -> list[int]:
        """Positions of each scale, coarsest first; each has a code."""
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

    Keys and values are filled in place; what follows from the text stays the same.
    """

    keys: Tensor  # (block, row, head, position, head_dim)
    values: Tensor
    table: Tensor  # (position, head_dim / 2, 2) float32
    text: Tensor  # (row, token, width)
    mask: Tensor  # (row, 1, 1, token) bool: there is text
    pooled: Tensor  # (row, 1, width)
    modulation: Tensor  # (row, 6, width), shared by all blocks
    last: Tensor  # (row, 2, width): scale and shift before the head


def rotation_table(scales: Sequence[int], head_dim: int) -> Tensor:
    """Cosines and sines of the positions of all scales, (position, head_dim / 2, 2).

    A position of a scale stands where it begins in a grid of `PLACES` a side, rounded, whatever the
    finest scale is.
    """
    rows, columns = [], []
    for side in scales:
        places = (torch.arange(side) * (PLACES / side)).round()
        rows.append(places.repeat_interleave(side))
        columns.append(places.repeat(side))
    return grid_table(torch.cat(rows), torch.cat(columns), head_dim)


class TextAttention(nn.Module):
    """Attention to the tokens of a text."""

    def __init__(self, width: int, text_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.mat_kv = nn.Linear(text_width, 2 * width, bias=False)
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def seen(self, queries: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """What `queries` (row, place, width) see of `text` (row, token, text width).

        Of the shape of the queries. `mask` (row, 1, 1, token) says where there is text.
        """
        keys, values = self.mat_kv(text).chunk(2, dim=-1)
        parts = (queries, keys, values + self.v_bias)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended: Tensor = self.proj(found.transpose(1, 2).flatten(2))
        return attended


class CrossAttention(TextAttention):
    """Attention of the places of a grid to a text."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, width, heads)
        self.mat_q = nn.Linear(width, width)

    def forward(self, x: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """What `x` (row, place, width) sees of the text, of the same shape; arguments as of `seen`."""
        return self.seen(self.mat_q(x), text, mask)


class Pool(TextAttention):
    """One state of a text: what a learned query sees of it."""

    def __init__(self, width: int, text_width: int, heads: int) -> None:
        super().__init__(width, text_width, heads)
        self.mat_q = nn.Parameter(torch.zeros(1, heads, width // heads))

    def forward(self, text: Tensor, mask: Tensor) -> Tensor:
        """The states (row, 1, width) of the texts; arguments as of `seen`."""
        return self.seen(self.mat_q.flatten(1).expand(len(text), 1, -1), text, mask)


class Block(nn.Module):
    """Attention, attention to the text and feed-forward.

    The first and the last are scaled, shifted and weighed by the pooled text.
    """

    def __init__(self, config: InfinityConfig) -> None:
        super().__init__()
        width = config.width
        self.sa = Attention(width, config.heads)
        self.ca = CrossAttention(width, config.heads)
        self.ffn = FeedForward(width, config.hidden)
        self.ca_norm = nn.LayerNorm(width, eps=1e-6)
        self.ada_gss = nn.Parameter(torch.zeros(1, 1, 6, width))

    def forward(self, x: Tensor, cache: Cache, keys: Tensor, values: Tensor, start: int) -> Tensor:
        """`x` (row, place, width) after all three, of the same shape.

        Its places are those from position `start` on; `keys` and `values` are those of the block. `x`
        is float32 whatever the weights are, as upstream's sums are.
        """
        modulation = (self.ada_gss[0] + cache.modulation).unsqueeze(2)
        weight1, weight2, scale1, scale2, shift1, shift2 = modulation.unbind(1)
        table = cache.table[start : start + x.shape[1]]
        inputs = (normed(x) * (1 + scale1) + shift1).to(keys.dtype)
        x = x + self.sa(inputs, keys, values, start, table=table) * weight1
        x = x + self.ca(self.ca_norm(x.to(keys.dtype)), cache.text, cache.mask)
        inputs = (normed(x) * (1 + scale2) + shift2).to(keys.dtype)
        out: Tensor = x + self.ffn(inputs) * weight2
        return out


class Infinity(nn.Module):
    """Logits of the bits of every scale, given a text and the scales before.

    One batch is `empty_cache`, then `scale_logits` scale after scale.
    """

    def __init__(self, config: InfinityConfig) -> None:
        super().__init__()
        self.config = config
        width, text_width = config.width, config.text_width
        self.cfg_uncond = nn.Parameter(torch.zeros(config.text_length, text_width))
        self.text_norm = nn.RMSNorm(text_width, eps=1e-6)
        pool = Pool(width, text_width, config.text_heads)
        self.text_proj_for_sos = nn.ModuleDict({"ca": pool})
        self.text_proj_for_ca = nn.Sequential(
            nn.Linear(text_width, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
        )
        self.pos_start = nn.Parameter(torch.zeros(1, 1, width))
        self.lvl_embed = nn.Embedding(config.levels, width)
        self.word_embed = nn.Linear(config.bits, width)
        self.shared_ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head_nm = Last(width)
        self.head = nn.Linear(width, 2 * config.bits)

    def empty_cache(self, states: Tensor, mask: Tensor) -> Cache:
        """Room for sequences of all scales, one a row of text states (row, token, text width).

        `mask` (row, token) bool is True where there is text.
        """
        config = self.config
        mask = mask[:, None, None]
        normal = self.text_norm(states)
        pooled = self.text_proj_for_sos["ca"](normal, mask)
        condition = pooled[:, 0]
        kept = config.kept
        shape = kept.shape(len(states))
        return Cache(
            keys=pooled.new_empty(shape),
            values=pooled.new_empty(shape),
            table=rotation_table(config.scales, kept.head_dim).to(states.device),
            text=self.text_proj_for_ca(normal),
            mask=mask,
            pooled=pooled,
            modulation=self.shared_ada_lin(condition).unflatten(-1, (6, -1)),
            last=self.head_nm(condition),
        )

    def scale_logits(self, cache: Cache, context: Tensor | None, scale: int) -> Tensor:
        """Float32 logits (row, position of the scale, bit, value) of a scale.

        `context` (row, position of the scale, bit) is what coarser scales add up to, None at the
        first. Scales come in order: each call adds its keys and values to `cache`.
        """
        start = sum(self.config.sizes[:scale])
        if context is None:
            x = cache.pooled + self.pos_start
        else:
            x = self.word_embed(context.to(cache.pooled.dtype))
        x = (x + self.lvl_embed.weight[scale]).float()
        for block, keys, values in zip(self.blocks, cache.keys, cache.values, strict=True):
            x = block(x, cache, keys, values, start)
        factor, shift = cache.last.unsqueeze(2).unbind(1)
        logits: Tensor = self.head((normed(x) * (1 + factor) + shift).to(self.head.weight.dtype))
        return logits.float().view(*x.shape[:2], self.config.bits, 2)


def named_as_here(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under the names of `Infinity`, without what follows from the rest.

    Its blocks are counted through all chunks.

    >>> names = [f"block_chunks.{chunk}.module.{block}.x" for chunk in (0, 1) for block in (0, 1)]
    >>> list(named_as_here(dict.fromkeys(names, torch.zeros(1))))
    ['blocks.0.x', 'blocks.1.x', 'blocks.2.x', 'blocks.3.x']
    """
    places = set()
    for found in map(IN_CHUNK.match, tensors):
        if found:
            places.add((int(found[1]), int(found[2])))
    numbers = {place: number for number, place in enumerate(sorted(places))}

    def counted(found: re.Match[str]) -> str:
        return f"blocks.{numbers[int(found[1]), int(found[2])]}."

    named = {}
    for name, tensor in tensors.items():
        if not name.endswith(DERIVED):
            named[IN_CHUNK.sub(counted, name)] = tensor
    return named
