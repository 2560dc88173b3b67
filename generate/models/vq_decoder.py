"""Images of codes by a VQ model of diffusers."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def decoded(vqvae: Any, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Images (sample, channel, y, x) of codes (sample, position) by a `VQModel` of diffusers.

    `grid` is (row, col). Its own `decode` takes codes only where its configuration says so, by a
    key that files of 2022 lack; looking codes up is what it does then.
    """
    codebook = vqvae.quantize.embedding
    latents = codebook(tokens.view(-1, *grid)).permute(0, 3, 1, 2).contiguous()
    images: Tensor = vqvae.decoder(vqvae.post_quant_conv(latents))
    return images
