"""The transformer of Meissonic (Bai et al. 2024, arXiv:2410.08261), inference only.

Text and image go through joint blocks, each with layers of its own, then through single blocks as
one sequence (Esser et al. 2024, arXiv:2403.03206). Parameter names are those of the published state
dict. Upstream: viiika/Meissonic, src/transformer.py.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generate.networks.rotary import ROPE_BASE, rotate

EPS = 1e-6
WAVES = 256
"""Numbers that a fact, or the step, is spread over."""
N_FACTS = 5
"""Facts on the image: two of its size, two of its crop, and an aesthetic score."""
OF_A_STEP = 1000
"""What the number of a step is multiplied by before it is spread."""


def rotation_table(axes: Sequence[int], n_text: int, grid: tuple[int, int]) -> Tensor:
    """Cosines and sines of all places, (place, head_dim / 2, 2): the text, then the grid by rows.

    `axes` are the numbers of a head that turn with the kind, the row and the column of a place.
    Those of the text stand at 0, and so does the kind everywhere. `grid` is (row, col).
    """
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    image = torch.stack([torch.zeros_like(rows), rows, columns], -1).flatten(0, 1)
    places = F.pad(image, (0, 0, n_text, 0)).double()
    angles = []
    for axis, width in enumerate(axes):
        powers = torch.arange(0, width, 2, dtype=torch.float64) / width
        angles.append(torch.outer(places[:, axis], 1.0 / ROPE_BASE**powers))
    turns = torch.cat(angles, -1)
    return torch.stack([turns.cos(), turns.sin()], -1).float()


def waves(numbers: Tensor) -> Tensor:
    """Cosines, then sines, of numbers (...) at `WAVES` / 2 frequencies, (..., WAVES) float32."""
    n_each = WAVES // 2
    exponents = torch.arange(n_each, device=numbers.device).float() / n_each
    angles = numbers.float()[..., None] * torch.exp(-math.log(ROPE_BASE) * exponents)
    return torch.cat([angles.cos(), angles.sin()], -1)


def attended(query: Tensor, key: Tensor, value: Tensor, table: Tensor) -> Tensor:
    """What every place sees of all, (row, place, width).

    Queries, keys and values are (row, head, place, head_dim); the first two are turned by `table`.
    """
    seen = F.scaled_dot_product_attention(rotate(query, table), rotate(key, table), value)
    return seen.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Attention of one sequence to itself, whose queries and keys are normed head by head.

    It has no layer behind it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_q, self.norm_k = (nn.RMSNorm(width // heads, eps=EPS) for _ in range(2))
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (row, head, place, head_dim) of `x` (row, place, width)."""
        query, key, value = self.to_q(x), self.to_k(x), self.to_v(x)
        return (
            self.norm_q(self.by_head(query)),
            self.norm_k(self.by_head(key)),
            self.by_head(value),
        )

    def by_head(self, x: Tensor) -> Tensor:
        """(row, head, place, head_dim) of (row, place, width)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """What `x` (row, place, width) sees of itself, of the same shape."""
        return attended(*self.projected(x), table)


class JointAttention(Attention):
    """Attention of text and image to both, each by layers of its own.

    The text's are the *added* ones.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.add_q_proj, self.add_k_proj, self.add_v_proj = (
            nn.Linear(width, width) for _ in range(3)
        )
        self.norm_added_q, self.norm_added_k = (
            nn.RMSNorm(width // heads, eps=EPS) for _ in range(2)
        )
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.to_add_out = nn.Linear(width, width)

    def added(self, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the text, as `projected` gives those of the image."""
        query, key, value = self.add_q_proj(text), self.add_k_proj(text), self.add_v_proj(text)
        return (
            self.norm_added_q(self.by_head(query)),
            self.norm_added_k(self.by_head(key)),
            self.by_head(value),
        )

    def both(self, text: Tensor, image: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        """What text and image see, each of its own shape (row, place, width).

        `table` is of the text's places, then of the image's.
        """
        pairs = zip(self.added(text), self.projected(image), strict=True)
        query, key, value = (torch.cat(pair, 2) for pair in pairs)
        seen = attended(query, key, value, table)
        n_text = text.shape[1]
        return self.to_add_out(seen[:, :n_text]), self.to_out[0](seen[:, n_text:])


class Modulation(nn.Module):
    """`n` vectors of the condition, and a norm that the first two shift and scale.

    The norm has no scale or shift of its own (Peebles & Xie 2023, arXiv:2212.09748).
    """

    def __init__(self, width: int, n: int) -> None:
        super().__init__()
        self.n = n
        self.linear = nn.Linear(width, n * width)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`x` (row, place, width), normed, scaled and shifted, and the other vectors.

        `condition` is (row, width), the vectors are (row, 1, width).
        """
        vectors = self.linear(F.silu(condition)).unsqueeze(1).chunk(self.n, dim=-1)
        return modulated(x, vectors[0], vectors[1]), vectors[2:]


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """`x` (row, place, width) with mean 0 and variance 1 in each place, times 1 + scale, plus shift."""
    normed: Tensor = F.layer_norm(x, x.shape[-1:], eps=EPS)
    return normed * (1 + scale) + shift


class FeedForward(nn.Module):
    """Two layers with a tanh-approximated GELU between them, place by place.

    The inner one is four times as wide.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleDict(
            {
                "0": nn.ModuleDict({"proj": nn.Linear(width, 4 * width)}),
                "2": nn.Linear(4 * width, width),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """The layers of `x` (row, place, width), of the same shape."""
        first = self.net["0"]["proj"]  # type: ignore[index]
        out: Tensor = self.net["2"](F.gelu(first(x), approximate="tanh"))
        return out


class JointBlock(nn.Module):
    """Attention over text and image, then a feed-forward of each.

    The condition shifts, scales and gates all of it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm1_context = Modulation(width, 6), Modulation(width, 6)
        self.attn = JointAttention(width, heads)
        self.ff, self.ff_context = FeedForward(width), FeedForward(width)

    def forward(
        self, text: Tensor, image: Tensor, condition: Tensor, table: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Text and image (row, place, width) after the block; `table` is that of their places."""
        seen_image, of_image = self.norm1(image, condition)
        seen_text, of_text = self.norm1_context(text, condition)
        from_text, from_image = self.attn.both(seen_text, seen_image, table)
        text = _after(text, from_text, of_text, self.ff_context)
        return text, _after(image, from_image, of_image, self.ff)


def _after(
    x: Tensor, attended: Tensor, vectors: Sequence[Tensor], feed_forward: FeedForward
) -> Tensor:
    """A stream plus what it saw, plus its feed-forward, both gated."""
    gate, shift, scale, gate_of_feed_forward = vectors
    x = x + gate * attended
    out: Tensor = x + gate_of_feed_forward * feed_forward(modulated(x, shift, scale))
    return out


class SingleBlock(nn.Module):
    """Attention and a feed-forward side by side, over text and image as one sequence.

    Both come out of one layer; the condition shifts, scales and gates it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = Modulation(width, 3)
        self.attn = Attention(width, heads)
        self.proj_mlp = nn.Linear(width, 4 * width)
        self.proj_out = nn.Linear(5 * width, width)

    def forward(self, x: Tensor, condition: Tensor, table: Tensor) -> Tensor:
        """`x` (row, place, width) after the block, of the same shape."""
        normed, (gate,) = self.norm(x, condition)
        hidden = F.gelu(self.proj_mlp(normed), approximate="tanh")
        out: Tensor = x + gate * self.proj_out(torch.cat([self.attn(normed, table), hidden], -1))
        return out


class TwoLayers(nn.Module):
    """Two linear layers with a SiLU between them.

    Both give `width` numbers, with or without a `bias`.
    """

    def __init__(self, n_in: int, width: int, *, bias: bool) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(n_in, width, bias=bias)
        self.linear_2 = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) of `x` (..., n_in)."""
        out: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return out


class Resample(nn.Module):
    """A norm over channels, then a convolution that halves or doubles the sides of a grid.

    `conv` is that convolution, of stride 2 and without overlap.
    """

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(conv.in_channels, eps=EPS)
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """A grid (row, channel, y, x) of half or twice the sides."""
        out: Tensor = self.conv(over_channels(self.norm, x))
        return out


def over_channels(norm: nn.Module, x: Tensor) -> Tensor:
    """A norm of the last dimension, of the channels of (row, channel, y, x)."""
    out: Tensor = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return out


class Meissonic(nn.Module):
    """Logits of a grid of codes that are partly masked, with a text beside it.

    Arguments and their defaults are the keys of the published description. Not all of them are
    sizes: `patch_size`, `in_channels` and `guidance_embeds` change nothing here.
    """

    def __init__(
        self,
        *,
        patch_size: int = 1,
        in_channels: int = 64,
        num_layers: int = 19,
        num_single_layers: int = 38,
        attention_head_dim: int = 128,
        num_attention_heads: int = 24,
        joint_attention_dim: int = 4096,
        pooled_projection_dim: int = 768,
        guidance_embeds: bool = False,
        axes_dims_rope: Sequence[int] = (16, 56, 56),
        vocab_size: int = 8256,
        codebook_size: int = 8192,
        downsample: bool = False,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        heads, width = num_attention_heads, num_attention_heads * attention_head_dim
        if pooled_projection_dim != width or sum(axes_dims_rope) != attention_head_dim:
            raise ValueError(
                f"pooled_projection_dim {pooled_projection_dim} must be {width}, and axes_dims_rope "
                f"{list(axes_dims_rope)} add up to {attention_head_dim}"
            )
        self.axes = tuple(axes_dims_rope)
        self.time_text_embed = nn.ModuleDict(
            {
                "timestep_embedder": TwoLayers(WAVES, width, bias=True),
                "text_embedder": TwoLayers(width, width, bias=True),
            }
        )
        self.context_embedder = nn.Linear(joint_attention_dim, width)
        self.transformer_blocks = nn.ModuleList(JointBlock(width, heads) for _ in range(num_layers))
        self.single_transformer_blocks = nn.ModuleList(
            SingleBlock(width, heads) for _ in range(num_single_layers)
        )
        self.embed = nn.ModuleDict(
            {
                "embeddings": nn.Embedding(vocab_size, width),
                "layer_norm": nn.RMSNorm(width, eps=EPS),
                "conv": nn.Conv2d(width, width, 1, bias=False),
            }
        )
        self.mlm_layer = nn.ModuleDict(
            {
                "conv1": nn.Conv2d(width, width, 1, bias=False),
                "layer_norm": nn.RMSNorm(width, eps=EPS),
                "conv2": nn.Conv2d(width, codebook_size, 1, bias=False),
            }
        )
        n_pooled = pooled_projection_dim + N_FACTS * WAVES
        self.cond_embed = TwoLayers(n_pooled, width, bias=False)
        self.encoder_proj_layer_norm = nn.RMSNorm(width, eps=EPS)
        self.project_to_hidden_norm = nn.RMSNorm(width, eps=EPS)
        self.project_to_hidden = nn.Linear(width, width, bias=False)
        self.project_from_hidden_norm = nn.RMSNorm(width, eps=EPS)
        self.project_from_hidden = nn.Linear(width, width, bias=False)
        self.down_block, self.up_block = nn.ModuleDict(), nn.ModuleDict()
        if downsample:
            halve = nn.Conv2d(width, width, 2, stride=2, bias=False)
            self.down_block["downsample"] = Resample(halve)
        if upsample:
            double = nn.ConvTranspose2d(width, width, 2, stride=2, bias=False)
            self.up_block["upsample"] = Resample(double)

    @classmethod
    def from_config(cls, settings: Mapping[str, Any]) -> Self:
        """The network of a description; keys that are no arguments are left out.

        Raises TypeError or ValueError where a value is none that a network can be made from.
        """
        known = inspect.signature(cls).parameters
        return cls(**{key: value for key, value in settings.items() if key in known})

    def forward(
        self, tokens: Tensor, text: Tensor, pooled: Tensor, facts: Tensor, steps_left: int
    ) -> Tensor:
        """Logits (row, code, y, x) of tokens (row, y, x), masked ones among them.

        `text` (row, token, joint_attention_dim) and `pooled` (row, pooled_projection_dim) are states of
        the text, `facts` (row, 5) those on the image, and `steps_left` are the steps to come after
        this one.
        """
        condition = self.condition(pooled, facts, steps_left)
        text = self.encoder_proj_layer_norm(self.context_embedder(text))
        grid = self.embed["layer_norm"](self.embed["embeddings"](tokens)).permute(0, 3, 1, 2)
        grid = self.embed["conv"](grid)
        for layer in self.down_block.values():
            grid = layer(grid)
        height, width = grid.shape[-2:]
        image = self.project_to_hidden(self.project_to_hidden_norm(grid.flatten(2).mT))
        n_text = text.shape[1]
        table = rotation_table(self.axes, n_text, (height, width)).to(image.device)
        for block in self.transformer_blocks:
            text, image = block(text, image, condition, table)
        both = torch.cat([text, image], 1)
        for block in self.single_transformer_blocks:
            both = block(both, condition, table)
        image = self.project_from_hidden(self.project_from_hidden_norm(both[:, n_text:]))
        grid = image.mT.unflatten(-1, (height, width))
        for layer in self.up_block.values():
            grid = layer(grid)
        hidden = over_channels(self.mlm_layer["layer_norm"], self.mlm_layer["conv1"](grid))
        logits: Tensor = self.mlm_layer["conv2"](hidden)
        return logits

    def condition(self, pooled: Tensor, facts: Tensor, steps_left: int) -> Tensor:
        """What modulates the blocks, (row, width): of the whole text, the facts and the step.

        Arguments are those of `forward`.
        """
        told = torch.cat([pooled, waves(facts).flatten(1).type_as(pooled)], 1)
        step = torch.tensor([OF_A_STEP * steps_left], device=pooled.device)
        of_step = self.time_text_embed["timestep_embedder"](waves(step).type_as(pooled))
        condition: Tensor = of_step + self.time_text_embed["text_embedder"](self.cond_embed(told))
        return condition
