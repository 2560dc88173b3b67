"""The decoding half of VAR's multi-scale VQ-VAE (Tian et al. 2024, arXiv:2404.02905).

Parameter names are those of the published state dict, but the decoder's, which is the VQ-GAN decoder
that transformers has for Janus. Upstream: FoundationVision/VAR, models/quant.py and models/vqvae.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from generate.networks.scale_sum import ScaleSum

KEPT = 0.5
"""Share of a vector that the convolution of its scale leaves as it is."""
UNUSED = ("encoder.", "quant_conv.", "quantize.ema_vocab_hit_SV")
"""Beginnings of the names of tensors that decoding does not need."""


class Residuals(nn.Module):
    """The codebook, and the convolutions that refine what each scale adds.

    There are fewer of them than scales; a scale takes the one nearest to its place among the scales.
    In the published models two scales lie halfway between two of them, so that rounding decides: the
    places are computed here as they were in training.
    """

    def __init__(self, codes: int, dim: int, convolutions: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, dim)
        every = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in range(convolutions))
        self.quant_resi = nn.ModuleDict({"qresi_ls": every})

    def refined(self, vectors: Tensor, place: float) -> Tensor:
        """Vectors (sample, dim, side, side) after the convolution at a place from 0 to 1."""
        every = cast(nn.ModuleList, self.quant_resi["qresi_ls"])
        edge = (1 / 3 if len(every) == 4 else 1 / 2) / len(every)
        places = np.linspace(edge, 1 - edge, len(every))
        nearest = int(np.abs(places - place).argmin())
        refined: Tensor = every[nearest](vectors)
        return KEPT * vectors + (1 - KEPT) * refined


class VarTokenizer(nn.Module, ScaleSum):
    """Images of the codes of all scales.

    `config` is that of a `JanusVQVAEDecoder`; `scales` are the sides of the grids.
    """

    def __init__(self, config: Any, scales: Sequence[int], convolutions: int) -> None:
        from transformers.models.janus.modeling_janus import JanusVQVAEDecoder

        super().__init__()
        self.scales = tuple(scales)
        self.sizes = [side * side for side in scales]
        self.dim = config.embed_dim
        self.quantize = Residuals(config.num_embeddings, self.dim, convolutions)
        self.post_quant_conv = nn.Conv2d(self.dim, self.dim, 3, padding=1)
        decoder: Any = JanusVQVAEDecoder
        self.decoder = decoder(config)

    def added(self, ids: Tensor, scale: int) -> Tensor:
        """What the codes `ids` (sample, position of the scale) of a scale add, (sample, dim, side, side).

        Vectors interpolated to the finest grid (bicubic), and refined there.
        """
        side = self.scales[scale]
        vectors = self.quantize.embedding(ids).mT.reshape(len(ids), self.dim, side, side)
        if scale < len(self.scales) - 1:
            vectors = F.interpolate(vectors, size=self.scales[-1], mode="bicubic")
        return self.quantize.refined(vectors, scale / (len(self.scales) - 1))

    def decode(self, ids: Tensor) -> Tensor:
        """Images (sample, channel, y, x), about -1 to 1, of ids (sample, position) of all scales."""
        image: Tensor = self.decoder(self.post_quant_conv(self.total(ids)))
        return image


def named_as_here(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under the names of `VarTokenizer`; what it does not need is left out.

    transformers counts the levels of the decoder from the coarsest, and has a convolution each for
    queries, keys and values.
    """
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(UNUSED)}
    deepest = max((int(level) for name in kept for level in _levels(name)), default=0)
    named = {}
    for name, tensor in kept.items():
        for level in _levels(name):
            name = name.replace(f"up.{level}.", f"up.{deepest - int(level)}.", 1)
        if ".qkv." in name:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                named[name.replace(".qkv.", f".{letter}.")] = part
        else:
            named[name] = tensor
    return named


def _levels(name: str) -> list[str]:
    """The level of the decoder that a tensor belongs to, none for others."""
    return re.findall(r"^decoder\.up\.(\d+)\.", name)
