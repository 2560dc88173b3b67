"""One plain transformer over the token grid, used causally or with full attention.

The caption is a prefix that attends to itself only, so its keys and values are computed once
per text (`Prefix`) and serve all steps and all samples of that text. Causal weights predict
token i from the tokens before it; masked weights predict every token from those not masked.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generate.trio import weights
from generate.trio.quantizers import Lfq


@dataclass(frozen=True, kw_only=True)
class BodyConfig:
    """Size of a transformer, whatever it does with its grid; `hidden` is the width of the gated layers.

    `bitwise` says that the head has a logit a bit of the code, not one a code (`BitwiseHead`). The
    default size is that of the shipped weights.
    """

    vocabulary: int  # caption words, padding (0) and start included
    codes: int = 256
    caption_length: int = 24
    width: int = 128
    layers: int = 5
    heads: int = 4
    hidden: int = 344
    bitwise: bool = False


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(BodyConfig):
    """Kind and size of a transformer over one grid.

    `causal` is whether a token sees those before it alone. The id after the codes means "masked", or
    "start" when causal.
    """

    causal: bool
    rows: int = 8
    cols: int = 8


@dataclass(frozen=True)
class Prefix:
    """Captions as every layer sees them; rows are texts.

    Keys and values do not depend on the grid, so they serve all steps and all samples of a text.
    """

    keys: Tensor  # (layers, B, heads, L, head_dim)
    values: Tensor  # (layers, B, heads, L, head_dim)
    mask: Tensor  # (B, L), False at padding

    def select(self, index: Tensor) -> Self:
        """The rows `index` (n,), in that order, repeats allowed.

        So a caption that many samples share is encoded once.
        """
        return type(self)(self.keys[:, index], self.values[:, index], self.mask[index])


@dataclass(frozen=True)
class Cache:
    """Keys and values of the caption and of the grid tokens seen so far, which are filled in place.

    One piece of memory, so that no step copies what came before. What is behind the position reached
    is zero and not looked at.
    """

    keys: Tensor  # (layers, B, heads, L + N, head_dim)
    values: Tensor  # (layers, B, heads, L + N, head_dim)
    mask: Tensor  # (B, L + N), False at padding of the caption
    length: int
    """L, the tokens of the caption."""


class Layer(nn.Module):
    """Pre-norm attention, then SwiGLU.

    `project` and `update` are apart, so that the caller puts cached keys between them.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.mlp_norm = nn.LayerNorm(width, bias=False)
        self.into_attention = _matrix(3, width, width)  # query, key, value
        self.out_of_attention = nn.Parameter(torch.zeros(width, width))
        self.into_mlp = _matrix(2, hidden, width)  # gate, value
        self.out_of_mlp = nn.Parameter(torch.zeros(width, hidden))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, T, head_dim) of `x` (B, T, width)."""
        joint = F.linear(self.attention_norm(x), self.into_attention.flatten(0, 1))
        query, key, value = joint.view(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return query, key, value

    def update(self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """`x` (B, T, width) after attention over the given keys and the MLP.

        `query` is (B, heads, T, head_dim), `key` and `value` (B, heads, S, head_dim); `mask`, which
        broadcasts to (B, heads, T, S), is False where a key is unseen.
        """
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + F.linear(seen.transpose(1, 2).flatten(2), self.out_of_attention)
        gate, up = F.linear(self.mlp_norm(x), self.into_mlp.flatten(0, 1)).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, self.out_of_mlp)


def bits_of_codes(codes: int) -> Tensor:
    """The bits (codes, bit) of all ids, most significant first, as float32.

    Raises ValueError for codes that are no power of two.
    """
    bits = codes.bit_length() - 1
    if codes != 2**bits:
        raise ValueError(f"codes is {codes}: bits take a power of two")
    return Lfq((2,) * bits).digits(torch.arange(codes)).float()


class BitwiseHead(nn.Linear):
    """Logits over 2^bits codes whose bits are independent given what leaves the last layer.

    A row of the weights is the log odds that a bit is one, most significant first; the logit of a
    code is the sum of those of its ones. Raises ValueError for codes that are no power of two.
    Source: Han et al. (2024), arXiv:2412.04431, the infinite-vocabulary classifier.
    """

    ones: Tensor

    def __init__(self, width: int, codes: int) -> None:
        ones = bits_of_codes(codes)
        super().__init__(width, ones.shape[1])
        self.register_buffer("ones", ones, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """Logits (..., codes) of `input` (..., width); that of code 0 is 0."""
        return super().forward(input) @ self.ones.T


class IndependentBits(nn.Module):
    """Logits of codes whose bits are independent, each with the chance it had in the law before.

    Of all laws of independent bits it is the nearest, by the divergence of the law before from it: what
    a `BitwiseHead` would learn at best where a head over codes had learnt that law. Raises
    ValueError for codes that are no power of two.

    >>> equal_or_nothing = torch.tensor([0.5, 0.0, 0.0, 0.5]).log()  # both bits, or none
    >>> IndependentBits(4)(equal_or_nothing).softmax(-1).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """

    ones: Tensor

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.register_buffer("ones", bits_of_codes(codes), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (..., codes) of `logits` (..., codes); that of code 0 is 0."""
        law = logits.softmax(-1)
        least = torch.finfo(law.dtype).tiny
        one, zero = (law @ self.ones).clamp(least), (law @ (1 - self.ones)).clamp(least)
        return (one.log() - zero.log()) @ self.ones.T


class Body(nn.Module):
    """What transformers over any grid share: captions, layers, and the head over the codes.

    A caption is read once a text, by `encode_caption`, and attends to itself alone. `n_positions` is how
    many tokens a grid has.
    """

    config: BodyConfig

    def __init__(self, config: BodyConfig, n_positions: int) -> None:
        super().__init__()
        self.config = config
        self.n_positions = n_positions
        width = config.width
        self.word = nn.Embedding(config.vocabulary, width)
        self.word_position = nn.Parameter(0.02 * torch.randn(config.caption_length, width))
        nn.init.normal_(self.word.weight, std=0.02)
        layers = [Layer(width, config.heads, config.hidden) for _ in range(config.layers)]
        self.layers = cast(Sequence[Layer], nn.ModuleList(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        head = (BitwiseHead if config.bitwise else nn.Linear)(width, config.codes)
        nn.init.zeros_(head.bias)
        nn.init.normal_(head.weight, std=0.02)
        self.head: nn.Module = head

    def encode_caption(self, ids: Tensor) -> Prefix:
        """Keys and values of caption tokens `ids` (B, L), computed once per text.

        Padding (id 0) is not attended to, and may be cut off.
        """
        mask = ids != 0
        x = self.word(ids) + self.word_position[: ids.shape[1]]
        keys, values = [], []
        for layer in self.layers:
            query, key, value = layer.project(x)
            x = layer.update(x, query, key, value, mask[:, None, None])
            keys.append(key)
            values.append(value)
        return Prefix(torch.stack(keys), torch.stack(values), mask)

    def cache(self, prefix: Prefix) -> Cache:
        """The caption's keys and values, and room for those of all grid tokens after it."""
        more = (0, 0, 0, self.n_positions)
        mask = F.pad(prefix.mask, (0, self.n_positions), value=True)
        keys, values = F.pad(prefix.keys, more), F.pad(prefix.values, more)
        return Cache(keys, values, mask, prefix.mask.shape[1])

    def over(self, x: Tensor, prefix: Prefix, mask: Tensor) -> Tensor:
        """Logits (B, T, K) of grid tokens `x` (B, T, width) that see the caption and each other.

        `mask`, (B, 1, T, L + T), is False where a token of the caption, or of the grid after it, is
        unseen.
        """
        for layer, prefix_key, prefix_value in zip(
            self.layers, prefix.keys, prefix.values, strict=True
        ):
            query, key, value = layer.project(x)
            keys, values = torch.cat([prefix_key, key], 2), torch.cat([prefix_value, value], 2)
            x = layer.update(x, query, keys, values, mask)
        return self.logits(x)

    def after(self, x: Tensor, cache: Cache, position: int) -> Tensor:
        """Logits (B, T, K) of the grid tokens `x` (B, T, width) from `position` on.

        They see each other and what `cache` has of the caption and of the positions before, to which
        their keys and values are added; so tokens must come in order.
        """
        start = cache.length + position
        end = start + x.shape[1]
        mask = cache.mask[:, None, None, :end]
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            query, key, value = layer.project(x)
            keys[:, :, start:end] = key
            values[:, :, start:end] = value
            x = layer.update(x, query, keys[:, :, :end], values[:, :, :end], mask)
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """Logits (..., K) of what leaves the last layer, (..., width).

        The head has a bias, so they are not centred.
        """
        logits: Tensor = self.head(self.norm(x))
        return logits


class GridTransformer(Body):
    """Logits over the codes of a grid, given a caption.

    `encode_caption` once a text, then `grid_logits` for whole grids, or `next_logits` with a `cache`
    for one position after another.
    """

    config: TransformerConfig

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config, config.rows * config.cols)
        self.code = nn.Embedding(config.codes + 1, config.width)
        self.row = nn.Parameter(0.02 * torch.randn(config.rows, config.width))
        self.col = nn.Parameter(0.02 * torch.randn(config.cols, config.width))
        nn.init.normal_(self.code.weight, std=0.02)

    def grid_logits(self, prefix: Prefix, tokens: Tensor) -> Tensor:
        """Logits (B, N, K) from tokens (B, N) in raster order.

        Masked weights: tokens are codes or K where masked. Causal weights: teacher forcing, row i
        is the prediction of token i from the caption and tokens before i.
        """
        batch, count = tokens.shape
        sight = torch.ones(count, count, dtype=torch.bool, device=tokens.device)
        if self.config.causal:
            sight = sight.tril()
            tokens = F.pad(tokens[:, :-1], (1, 0), value=self.config.codes)
        prefix_sight = prefix.mask[:, None].expand(-1, count, -1)
        mask = torch.cat([prefix_sight, sight.expand(batch, -1, -1)], -1)[:, None]
        x = self.code(tokens) + self._positions()
        return self.over(x, prefix, mask)

    def next_logits(self, cache: Cache, previous: Tensor, position: int) -> Tensor:
        """Logits (B, K) of the token at `position`.

        `previous` (B,) is the token before, K at the start. Positions must be visited in order, as
        each call adds its keys and values to `cache`.
        """
        x = (self.code(previous) + self._positions()[position])[:, None]
        return self.after(x, cache, position)[:, 0]

    def _positions(self) -> Tensor:
        """Position embeddings (N, width), row plus column."""
        return (self.row[:, None] + self.col[None]).flatten(0, 1)


def _matrix(count: int, rows: int, cols: int) -> nn.Parameter:
    """`count` stacked matrices (rows, cols) with variance 1 / cols."""
    return nn.Parameter(torch.randn(count, rows, cols) * cols**-0.5)


def save_transformer(transformer: Body, path: Path) -> None:
    """Write the transformer in half precision, with its sizes.

    `load_transformer` reads it back, rounded to half precision, or `load_scales` one over scales.
    """
    weights.save(path, transformer.state_dict(), asdict(transformer.config))


def load_transformer(path: Path) -> GridTransformer:
    """The causal or masked weights at `path`, ready for inference in float32.

    The file says which of the two they are. Raises FileNotFoundError, with the recipe, where there
    is no such file.
    """
    tensors, config = weights.load(path)
    transformer = GridTransformer(TransformerConfig(**config))
    transformer.load_state_dict(tensors)
    return transformer.eval().requires_grad_(False)
