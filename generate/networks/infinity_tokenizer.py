"""The decoding half of Infinity's multi-scale binary tokenizer (Han et al. 2024, arXiv:2412.04431).

Binary spherical quantization (Zhao et al. 2024, arXiv:2406.07548): a vector is its signs, of length one. The
decoder is that of Show-o's MAGVIT-v2 without attention, under other names. Upstream:
FoundationVision/Infinity, infinity/models/bsq_vae/multiscale_bsq.py and flux_vqgan.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from generate.networks.lfq import Decoder, DecoderConfig, code_bits
from generate.networks.scale_sum import ScaleSum

UNUSED = ("encoder.", "quantizer.", "quantize.")
"""Beginnings of the names of tensors that decoding does not need."""
WRAPPED = re.compile(r"(conv|conv1|conv2|conv_in|conv_out|nin_shortcut)\.conv\.")
WRAPPED_NORM = re.compile(r"(norm1|norm2|norm_out)\.norm\.")


class InfinityTokenizer(nn.Module, ScaleSum):
    """Images of the tokens of all scales; a code is several tokens of `token_bits` bits each.

    `config` has the sizes of the decoder's weights; `scales` are the sides of the grids.
    """

    def __init__(self, config: DecoderConfig, scales: Sequence[int], token_bits: int) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.dim = config.n_bits
        self.token_bits = token_bits
        self.sizes = [side * side * (self.dim // token_bits) for side in scales]
        self.decoder = Decoder(config, attention=False)

    def added(self, ids: Tensor, scale: int) -> Tensor:
        """What the tokens `ids` (sample, token of the scale) add, (sample, dim, side, side).

        Signs of the bits, a vector of length one, interpolated to the finest grid (bilinear).
        """
        side = self.scales[scale]
        bits = code_bits(ids, self.token_bits).reshape(len(ids), side * side, self.dim)
        vectors = (2.0 * bits - 1.0) / math.sqrt(self.dim)
        vectors = vectors.mT.reshape(len(ids), self.dim, side, side)
        if scale < len(self.scales) - 1:
            vectors = F.interpolate(vectors, size=self.scales[-1], mode="bilinear")
        return vectors

    def pooled(self, total: Tensor, scale: int) -> Tensor:
        """Vectors (sample, position of the scale, dim) of `total`, by bilinear interpolation.

        Not means over cells: only the places next to the centre of a cell count, as upstream trains
        and samples.
        """
        return F.interpolate(total, size=self.scales[scale], mode="bilinear").flatten(2).mT

    def decode(self, ids: Tensor) -> Tensor:
        """Images (sample, channel, y, x), about -1 to 1, of ids (sample, token) of all scales."""
        image: Tensor = self.decoder(self.total(ids))
        return image


def named_as_here(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under the names of `InfinityTokenizer`, without what it does not need.

    Convolutions and norms lie one level deeper there.
    """
    named = {}
    for name, tensor in tensors.items():
        if not name.startswith(UNUSED):
            name = WRAPPED_NORM.sub(r"\1.", WRAPPED.sub(r"\1.", name))
            named[name] = tensor
    return named
