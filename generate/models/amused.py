"""aMUSEd (Patil et al. 2024, arXiv:2401.01808): masked tokens, unmasked in twelve steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from generate.models.base import Card
from generate.models.checkpoint import Checkpoint
from generate.models.clip import HEADS
from generate.models.component import Part
from generate.models.masked_pipeline import Conditioning, MaskedPipeline, PipelineOptions
from generate.models.public import Geometry


@dataclass(frozen=True)
class AmusedOptions(PipelineOptions):
    """Settings of `AmusedPipeline.__call__`; what they mean is in `PipelineOptions`."""

    checkpoint: str = "amused/amused-256"
    steps: int = 12
    guidance: float = 10.0


class Amused(MaskedPipeline):
    """aMUSEd 256 and 512: U-ViT over VQ-GAN tokens, CLIP text.

    As `AmusedPipeline` samples, but with separate noise for candidates and for the order in which
    they are committed. Temperature is 1, and nothing is cut from the law.
    """

    Options: ClassVar[type[Any]] = AmusedOptions
    scheduler = "AmusedScheduler"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "256": {"checkpoint": "amused/amused-256"},
        "512": {"checkpoint": "amused/amused-512"},
    }
    card = Card(
        grids="16x16, 32x32",
        codebook_size=8192,
        quantizer="vq",
        licence="openrail++",
        parameters=873,
        download=3.5,
        paper="arXiv:2401.01808",
        operations=5.13,
        verified="tokens and pixels equal those of diffusers' AmusedPipeline",
        speeds={"float32": 7.2, "tf32": 26, "bfloat16": 43},
    )

    @classmethod
    def parts(cls) -> Mapping[str, Part]:
        """Text encoder, transformer and VQ model, as diffusers saves them."""
        from diffusers import UVit2DModel, VQModel
        from transformers import CLIPTextModelWithProjection

        return {
            "text_encoder": Part(CLIPTextModelWithProjection, "text_encoder", keys=HEADS),
            "transformer": Part(UVit2DModel, "transformer"),
            "vqvae": Part(VQModel, "vqvae"),
        }

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: AmusedOptions) -> Geometry:
        """From the transformer and the number of levels of the decoder; steps are the option's."""
        checkpoint = found["checkpoint"]
        cls.mask_of(checkpoint)
        transformer = checkpoint.json("transformer/config.json")
        side = transformer["sample_size"]
        pixels = side * cls.downsample(checkpoint)
        return Geometry(transformer["codebook_size"], (side, side), (pixels, pixels), options.steps)

    def grid_logits(
        self, tokens: Tensor, conditioning: Conditioning, facts: Tensor, step: int
    ) -> Tensor:
        """Logits (row, code, y, x) of the U-ViT, which is not told the step."""
        logits: Tensor = self.transformer(
            tokens,
            encoder_hidden_states=conditioning.hidden,
            pooled_text_emb=conditioning.pooled,
            micro_conds=facts,
        )
        return logits
