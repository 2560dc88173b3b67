"""Meissonic (Bai et al. 2024, arXiv:2410.08261): masked tokens of 1024 pixels, 48 steps."""

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
from generate.models.public import Geometry, grid_side
from generate.networks.meissonic import Meissonic as Network

SHAPELESS = ("num_attention_heads", "axes_dims_rope", "downsample", "upsample", "codebook_size")
"""Keys of a description that have to be there: another value would give a network too."""
NEGATIVE = (
    "worst quality, low quality, low res, blurry, distortion, watermark, logo, signature, text, jpeg "
    "artifacts, signature, sketch, duplicate, ugly, identifying mark"
)
"""The negative text of upstream's `inference.py`."""


@dataclass(frozen=True)
class MeissonicOptions(PipelineOptions):
    """Settings of upstream's `Pipeline.__call__`; what they mean is in `PipelineOptions`.

    No file tells `image_size`, pixels of a side. `negative` is the text that guidance leads away
    from.
    """

    checkpoint: str = "MeissonFlow/Meissonic"
    steps: int = 48
    guidance: float = 9.0
    image_size: int = 1024
    negative: str = ""


class Meissonic(MaskedPipeline):
    """Meissonic 1024 and Monetico 512: an MMDiT over VQ-GAN tokens, CLIP text.

    As upstream's pipeline samples, but with separate noise for candidates and for the order in
    which they are committed. The text tower is the one in the checkpoint, where upstream's scripts
    for 1024 pixels take that of laion/CLIP-ViT-H-14-laion2B-s32B-b79K. Figures of the card are those
    of the published description, counted here.
    """

    Options: ClassVar[type[Any]] = MeissonicOptions
    scheduler = "Scheduler"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "1024": {"checkpoint": "MeissonFlow/Meissonic", "image_size": 1024},
        "script": {"steps": 64, "negative": NEGATIVE},
        "monetico": {"checkpoint": "Collov-Labs/Monetico", "image_size": 512},
        "monetico-script": {
            "checkpoint": "Collov-Labs/Monetico",
            "image_size": 512,
            "negative": NEGATIVE,
        },
    }
    card = Card(
        grids="64x64, 32x32",
        codebook_size=8192,
        quantizer="vq",
        licence="Apache-2.0; Monetico: see its card",
        parameters=1507,
        download=6.0,
        paper="arXiv:2410.08261",
        operations=142,
        verified="tokens and pixels equal those recorded of upstream's code",
    )

    @classmethod
    def parts(cls) -> Mapping[str, Part]:
        """Text encoder, transformer and VQ model, as diffusers saves them."""
        from diffusers import VQModel
        from transformers import CLIPTextModelWithProjection

        return {
            "text_encoder": Part(
                CLIPTextModelWithProjection, "text_encoder", keys=(*HEADS, "hidden_act")
            ),
            "transformer": Part(
                Network, "transformer", keys=SHAPELESS, saved_as="Transformer2DModel"
            ),
            "vqvae": Part(VQModel, "vqvae"),
        }

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: MeissonicOptions) -> Geometry:
        """From the transformer, the levels of the decoder and the option `image_size`.

        Raises ModelError where the image is no whole number of positions, or a transformer that
        halves the grid cannot.
        """
        checkpoint = found["checkpoint"]
        cls.mask_of(checkpoint)
        transformer = checkpoint.json("transformer/config.json")
        downsample = cls.downsample(checkpoint)
        whole = downsample * (2 if transformer["downsample"] else 1)
        where = f"for checkpoint '{checkpoint.name}' "
        side = grid_side("Meissonic", options.image_size, downsample, whole=whole, where=where)
        size = (options.image_size, options.image_size)
        return Geometry(transformer["codebook_size"], (side, side), size, options.steps)

    @property
    def negative(self) -> str:
        """The text of the unconditional branch, by the option of that name."""
        return str(self.settings.negative)

    def grid_logits(
        self, tokens: Tensor, conditioning: Conditioning, facts: Tensor, step: int
    ) -> Tensor:
        """Logits (row, code, y, x) of the MMDiT, which is told how many steps are to come."""
        logits: Tensor = self.transformer(
            tokens,
            conditioning.hidden,
            conditioning.pooled,
            facts,
            self.settings.steps - 1 - step,
        )
        return logits
