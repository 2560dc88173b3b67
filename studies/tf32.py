"""The trio as a GPU would compute it in TF32, emulated on any machine (docs/precision.md).

    ibgenerate run studies/tf32.yaml --out runs/tf32

TF32 rounds the factors of each product to 10 bits of mantissa and sums in float32. So does `Tf32`, for all
products of the network while it is open. What a card may do otherwise is the order of its sums, which is rounding
of float32, and whether factors go to the nearest or lose their last bits: here is either.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode, resolve_name

from generate.models.trio import (
    DiffusionOptions,
    MaskedOptions,
    Trio,
    TrioAutoregressive,
    TrioDiffusion,
    TrioMasked,
    TrioOptions,
)
from schemas.provenance import ModelIdentity

MANTISSA = 10
"""Bits of mantissa that TF32 keeps of the 23 of float32."""

Factors = Literal["nearest", "truncated"]
"""What becomes of the bits that TF32 has no room for."""

PRODUCTS = (
    "matmul",
    "mm",
    "bmm",
    "mv",
    "addmm",
    "baddbmm",
    "addbmm",
    "einsum",
    "tensordot",
    "bilinear",
    "conv",
)
"""What names of functions that multiply matrices hold."""


def rounded(x: Tensor, factors: Factors, mantissa: int = MANTISSA) -> Tensor:
    """Float32 `x` with so many bits of mantissa, ties away from zero.

    >>> rounded(torch.tensor([1 + 2**-10, 1 + 2**-11, 1 + 2**-12]), "nearest").tolist()
    [1.0009765625, 1.0009765625, 1.0]
    >>> rounded(torch.tensor([1 + 2**-10, 1 + 2**-11]), "truncated").tolist()
    [1.0009765625, 1.0]
    """
    lost = 23 - mantissa
    bits = x.contiguous().view(torch.int32)
    if factors == "nearest" and lost:
        bits = bits + (1 << (lost - 1))
    return (bits >> lost << lost).view(torch.float32)


class Tf32(TorchFunctionMode):
    """While it is open, products of float32 have the factors of TF32.

    Those that the trio's networks make are known: linear maps, products of matrices, attention, whose scores and
    sums are products too. Another raises NotImplementedError, so that none stays as it was unseen.
    """

    def __init__(self, factors: Factors, mantissa: int = MANTISSA) -> None:
        super().__init__()
        self.round = functools.partial(rounded, factors=factors, mantissa=mantissa)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The function, or a product of rounded factors in its place."""
        named = dict(kwargs or {})
        if func is functional.linear:
            x, weight, *bias = args
            return func(self.round(x), self.round(weight), *bias, **named)
        if func in (torch.matmul, Tensor.matmul, Tensor.__matmul__):
            return func(*map(self.round, args), **named)
        if func is functional.scaled_dot_product_attention:
            return self.attention(*args, **named)
        name = (resolve_name(func) or "").rsplit(".", 1)[-1].strip("_")
        if name.startswith(PRODUCTS):
            raise NotImplementedError(
                f"{name} multiplies matrices, and has no factors of TF32 here"
            )
        return func(*args, **named)

    def attention(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor) -> Tensor:
        """Attention by two products; `attn_mask` is False where a key is unseen."""
        scores = torch.matmul(self.round(query), self.round(key).mT) / math.sqrt(query.shape[-1])
        weights = scores.masked_fill(~attn_mask, -torch.inf).softmax(-1)
        return torch.matmul(self.round(weights), self.round(value))


class Emulated(Trio):
    """A member of the trio whose transformer has the factors of TF32 in all its products."""

    @classmethod
    def load(cls, identity: ModelIdentity, options: Any, device: str) -> Self:
        """The member as it is, but for the products of its transformer."""
        model = super().load(identity, options, device)
        for name in ("encode_caption", "grid_logits", "next_logits"):
            setattr(model.network, name, emulated(getattr(model.network, name), options.factors))
        return model


def emulated(function: Callable[..., Tensor], factors: Factors) -> Callable[..., Tensor]:
    """A function that multiplies in TF32."""

    def in_tf32(*args: Any) -> Tensor:
        with Tf32(factors):
            return function(*args)

    return in_tf32


@dataclass(frozen=True)
class CausalOptions(TrioOptions):
    """Settings of trio-ar, and what becomes of bits that TF32 has no room for."""

    factors: Factors = "nearest"


class Causal(Emulated, TrioAutoregressive):
    """trio-ar in TF32."""

    Options = CausalOptions


@dataclass(frozen=True)
class ConfidentOptions(MaskedOptions):
    """Settings of trio-mim, and what becomes of bits that TF32 has no room for."""

    factors: Factors = "nearest"


class Confident(Emulated, TrioMasked):
    """trio-mim in TF32."""

    Options = ConfidentOptions


@dataclass(frozen=True)
class RevealedOptions(DiffusionOptions):
    """Settings of trio-diffusion, and what becomes of bits that TF32 has no room for."""

    factors: Factors = "nearest"


class Revealed(Emulated, TrioDiffusion):
    """trio-diffusion in TF32."""

    Options = RevealedOptions
