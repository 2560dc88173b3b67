"""The LlamaGen text-to-image transformer (Sun et al. 2024, arXiv:2406.06525), inference only.

Parameter names are those of the published state dict.
Upstream: FoundationVision/LlamaGen, autoregressive/models/gpt.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generate.networks.keys_and_values import KeysAndValues
from generate.networks.rotary import grid_table, rotate
from generate.networks.swiglu import FeedForward


@dataclass(frozen=True)
class LlamaGenConfig:
    """Sizes; all but the number of heads and the grid can be read off the weights.

    `width` is that of the states, `hidden` of the gated layers, `caption_width` of the text states;
    `caption_length` is in tokens, and `side` the number of rows and of columns of the grid.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    codebook_size: int
    caption_width: int
    caption_length: int
    side: int

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], *, heads: int, side: int) -> Self:
        """The sizes of a state dict, by name; its values are not read.

        No tensor tells the number of attention `heads` or the `side` of the grid.
        """
        codebook_size, width = tensors["tok_embeddings.weight"].shape
        caption_length, caption_width = tensors["cls_embedding.uncond_embedding"].shape
        layers = 0
        for key in tensors:
            match = re.match(r"layers\.(\d+)\.", key)
            if match:
                layers = max(layers, 1 + int(match[1]))
        hidden = len(tensors["layers.0.feed_forward.w1.weight"])
        return cls(width, layers, heads, hidden, codebook_size, caption_width, caption_length, side)

    @property
    def length(self) -> int:
        """Positions of a whole sequence: caption, then image."""
        return self.caption_length + self.side**2

    @property
    def kept(self) -> KeysAndValues:
        """Keys and values of a row.

        Those of a whole sequence: of the caption, and of the image.
        """
        return KeysAndValues(self.layers, self.heads, self.width // self.heads, self.length)


@dataclass(frozen=True)
class Cache:
    """What one batch of sequences carries: keys and values, and what stays the same.

    Keys and values are filled in place, position by position.
    """

    keys: Tensor  # (layer, row, head, position, head_dim)
    values: Tensor
    caption: Tensor  # (row, caption token) bool: may be seen
    table: Tensor  # (position, head_dim / 2, 2) float32


def rotation_table(config: LlamaGenConfig) -> Tensor:
    """Cosines and sines of all positions, (position, head_dim / 2, 2).

    Grid rows are in the first half of the pairs, columns after. Caption positions hold zeros, not
    the identity: their queries and keys vanish, as they did in training, so that every caption
    token gets the same attention.
    """
    places = torch.arange(config.side)
    rows, columns = places.repeat_interleave(config.side), places.repeat(config.side)
    table = grid_table(rows, columns, config.width // config.heads)
    return torch.cat([table.new_zeros(config.caption_length, *table.shape[1:]), table])


class RMSNorm(nn.Module):
    """Root-mean-square norm, in float32 (Zhang & Sennrich 2019, arXiv:1910.07467).

    No mean is taken off; 1e-5 under the root keeps a zero state zero.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """`x` with unit mean square in the last dimension, times the learned scale."""
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5)
        return (wide * scale).type_as(x) * self.weight


class Attention(nn.Module):
    """Attention over the cached positions, with rotary positions in the grid.

    Queries and keys are turned, values are not; all heads have keys of their own.
    """

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.wqkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.wo = nn.Linear(config.width, config.width, bias=False)

    def forward(
        self, x: Tensor, table: Tensor, places: Tensor, mask: Tensor, keys: Tensor, values: Tensor
    ) -> Tensor:
        """What `x` (row, place, width) sees of the cached positions, of the same shape.

        Writes the keys and values of `places` into the cache, then sees those that `mask` (row, 1,
        place, position) admits. `table` is `rotation_table` at `places`.
        """
        query, key, value = self.wqkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        keys.index_copy_(2, places, rotate(key, table))
        values.index_copy_(2, places, value)
        seen = F.scaled_dot_product_attention(rotate(query, table), keys, values, attn_mask=mask)
        attended: Tensor = self.wo(seen.transpose(1, 2).flatten(2))
        return attended


class Layer(nn.Module):
    """Pre-norm attention, then pre-norm feed-forward.

    Each is added to what came in.
    """

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config.width, config.hidden)
        self.attention_norm = RMSNorm(config.width)
        self.ffn_norm = RMSNorm(config.width)

    def forward(
        self, x: Tensor, table: Tensor, places: Tensor, mask: Tensor, keys: Tensor, values: Tensor
    ) -> Tensor:
        """`x` (row, place, width) after attention and feed-forward, of the same shape.

        Writes the keys and values of `places` to the cache. Arguments are those of
        `Attention.forward`.
        """
        x = x + self.attention(self.attention_norm(x), table, places, mask, keys, values)
        out: Tensor = x + self.feed_forward(self.ffn_norm(x))
        return out


class CaptionEmbedding(nn.Module):
    """Text states to the transformer's width, and the states that stand for no text.

    `uncond_embedding` (caption token, caption width) are those: learned text states, which go
    through the same layers as real ones.
    """

    uncond_embedding: Tensor

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        nothing = torch.zeros(config.caption_length, config.caption_width)
        self.register_buffer("uncond_embedding", nothing)
        first = nn.Linear(config.caption_width, config.width, bias=False)
        second = nn.Linear(config.width, config.width, bias=False)
        self.cap_proj = nn.ModuleDict({"fc1": first, "fc2": second})

    def forward(self, states: Tensor) -> Tensor:
        """States (row, caption token, width) of text states (row, caption token, caption width).

        Two layers with a tanh-approximated GELU between them, token by token.
        """
        hidden = F.gelu(self.cap_proj["fc1"](states), approximate="tanh")
        projected: Tensor = self.cap_proj["fc2"](hidden)
        return projected


class LlamaGen(nn.Module):
    """Logits of the next code, from a caption and the codes before it.

    One sequence is `empty_cache`, `prefill` with the caption, then `next_logits` for each code.
    """

    def __init__(self, config: LlamaGenConfig) -> None:
        super().__init__()
        self.config = config
        self.cls_embedding = CaptionEmbedding(config)
        self.tok_embeddings = nn.Embedding(config.codebook_size, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.output = nn.Linear(config.width, config.codebook_size, bias=False)

    def empty_cache(self, caption: Tensor) -> Cache:
        """Room for whole sequences, one a row of `caption`.

        `caption` (row, caption token) bool says which caption tokens may be seen.
        """
        shape = self.config.kept.shape(len(caption))
        zeros = self.output.weight.new_zeros
        table = rotation_table(self.config).to(caption.device)
        return Cache(zeros(shape), zeros(shape), caption, table)

    def prefill(self, states: Tensor, cache: Cache) -> Tensor:
        """Float32 logits (row, code) of the first code, from the caption.

        `states` are text states (row, caption token, caption width); fills the cache with them.
        """
        places = torch.arange(self.config.caption_length, device=states.device)
        logits: Tensor = self(self.cls_embedding(states), places, cache)
        return logits[:, -1]

    def next_logits(self, tokens: Tensor, position: Tensor, cache: Cache) -> Tensor:
        """Float32 logits (row, code) of the code after `tokens` (row,).

        `tokens` stand at `position` (1,) of the grid, and all before them are in the cache.
        """
        place = self.config.caption_length + position
        logits: Tensor = self(self.tok_embeddings(tokens)[:, None], place, cache)
        return logits[:, -1]

    def forward(self, x: Tensor, places: Tensor, cache: Cache) -> Tensor:
        """Float32 logits (row, place, code) of the codes after some places.

        `x` are embeddings (row, place, width), and `places` (place,) where they stand, with all
        positions before them in the cache. A padded caption token sees itself alone besides; its
        states are seen by nobody.
        """
        table = cache.table[places]
        position = torch.arange(self.config.length, device=x.device)
        seen = F.pad(cache.caption, (0, self.config.side**2), value=True)[:, None]
        mask = (seen & (position <= places[:, None]) | (position == places[:, None]))[:, None]
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            x = layer(x, table, places, mask, keys, values)
        logits: Tensor = self.output(self.norm(x)).float()
        return logits
