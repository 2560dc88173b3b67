"""aMUSEd (Patil et al. 2024, arXiv:2401.01808): masked tokens, unmasked in twelve steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError
from generate.models.base import Card, Family, to_pixels
from generate.models.checkpoint import PIPELINE_FILES, Checkpoint, Source
from generate.models.clip import HEADS, ClipTokenizer
from generate.models.component import Part
from generate.models.precision import computing
from generate.models.public import Geometry, PublicModel, PublicOptions
from generate.models.recent import Recent
from generate.models.vq_decoder import decoded
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import masked
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity


@dataclass(frozen=True)
class AmusedOptions(PublicOptions):
    """Settings of `AmusedPipeline.__call__`.

    The path temperature falls linearly to 0 at the last step, and `path_surprisal` says what is
    recorded of the path: `exact`, `given_candidates` (cheaper) or `none`.
    """

    checkpoint: str = "amused/amused-256"
    steps: int = 12
    guidance: float = 10.0
    path_temperature: float = 2.0
    aesthetic_score: float = 6.0
    path_surprisal: masked.PathSurprisal = "exact"


@dataclass(frozen=True)
class Conditioning:
    """CLIP states: rows of the texts, then as many of the empty text when guided.

    `pooled` (row, width) is the projected state of the whole text, `hidden` (row, token, width) the
    penultimate states, padding included.
    """

    pooled: Tensor  # (row, width)
    hidden: Tensor  # (row, token, width)


class Amused(PublicModel):
    """aMUSEd 256 and 512: U-ViT over VQ-GAN tokens, CLIP text.

    As `AmusedPipeline` samples, but with separate noise for candidates and for the order in which
    they are committed. Temperature is 1, and nothing is cut from the law.
    """

    family: ClassVar[Family] = "masked"
    Options: ClassVar[type[Any]] = AmusedOptions
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
        verified="tokens and pixels equal those of diffusers' AmusedPipeline",
        speeds={"float32": 7.2, "tf32": 26, "bfloat16": 43},
    )
    sources = (Source("checkpoint", PIPELINE_FILES, float32=("vqvae/",)),)

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
        """From the transformer and the number of levels of the decoder; steps are the option's.

        Each level of the decoder but one doubles the side of the grid.
        """
        checkpoint = found["checkpoint"]
        cls.mask_of(checkpoint)
        transformer = checkpoint.json("transformer/config.json")
        levels = checkpoint.json("vqvae/config.json")["block_out_channels"]
        side = transformer["sample_size"]
        pixels = side * 2 ** (len(levels) - 1)
        return Geometry(transformer["codebook_size"], (side, side), (pixels, pixels), options.steps)

    def __init__(self, identity: ModelIdentity, options: AmusedOptions, device: str) -> None:
        super().__init__(identity, options, device)
        self.text_encoder = self.component("text_encoder")
        self.transformer = self.component("transformer")
        self.vqvae = self.component("vqvae", torch.float32)
        self.mask_id = self.mask_of(self.found["checkpoint"])
        self.states: Recent[tuple[Tensor, Tensor]] = Recent()

    @classmethod
    def mask_of(cls, checkpoint: Checkpoint) -> int:
        """The id of an open position, by the scheduler's configuration file.

        Raises ModelError if that has another schedule than the cosine one.
        """
        file = "scheduler/scheduler_config.json"
        config = checkpoint.json(file, kind="AmusedScheduler")
        if config["masking_schedule"] != "cosine":
            raise ModelError(
                f"{file} of checkpoint '{checkpoint.name}' has masking_schedule "
                f"{config['masking_schedule']!r}, but only 'cosine' is known here: name another."
            )
        return int(config["mask_token_id"])

    @classmethod
    @functools.cache
    def tokenizer(cls, options: AmusedOptions) -> ClipTokenizer:
        """The CLIP tokenizer of a checkpoint."""
        return ClipTokenizer(cls.find(options)["checkpoint"].folder / "tokenizer")

    @classmethod
    def read(cls, options: AmusedOptions, texts: Sequence[str]) -> list[Reading]:
        """CLIP tokens, special ones included."""
        return cls.tokenizer(options).read(texts)

    @torch.inference_mode()
    def encode_text(self, text: str) -> tuple[Tensor, Tensor]:
        """Pooled (width,) and penultimate (token, width) CLIP states; padding is attended to."""
        ids = self.tokenizer(self.settings).ids(text).to(self.device)
        with computing(self.settings.precision):
            states = self.text_encoder(ids, output_hidden_states=True)
        return states.text_embeds[0], states.hidden_states[-2][0]

    def encode(self, texts: Sequence[str]) -> Conditioning:
        """CLIP states of the texts and, when guided, of the empty text.

        A text is encoded once and kept; the least recent of 512 goes first. Padding is attended to,
        as upstream.
        """
        rows = [self.states.of(text, self.encode_text) for text in self.guidance.texts(texts)]
        pooled, hidden = zip(*rows, strict=True)
        return Conditioning(torch.stack(pooled), torch.stack(hidden))

    @torch.inference_mode()
    def traverse(self, conditioning: Conditioning, probe: Probe, noise: Noise) -> Trace:
        """Unmask by confidence on the cosine schedule, both branches in one call of the network.

        The network is also told the image size, a crop at the origin and the option
        `aesthetic_score`.
        """
        guidance, steps = self.guidance, self.settings.steps
        n_positions = math.prod(self.identity.grid)
        n_rows = len(conditioning.pooled)
        height, width = self.identity.image_size
        facts = [[width, height, 0, 0, self.settings.aesthetic_score]]
        micro = torch.tensor(facts, device=self.device)
        micro = micro.to(conditioning.hidden.dtype).expand(n_rows, -1)

        @computing(self.settings.precision)
        def grid_logits(tokens: Tensor, step: int) -> Tensor:
            grid = tokens.view(-1, *self.identity.grid)
            logits: Tensor = self.transformer(
                guidance.rows(grid),
                encoder_hidden_states=conditioning.hidden,
                pooled_text_emb=conditioning.pooled,
                micro_conds=micro,
            )
            return guidance.logits(logits.flatten(2).mT)

        return masked.traverse(
            grid_logits,
            guidance.n_samples(n_rows),
            n_positions,
            self.mask_id,
            masked_after=masked.cosine_schedule(n_positions, steps),
            path_temperature=np.linspace(self.settings.path_temperature, 0.0, steps).tolist(),
            law=TokenLaw(),
            probe=probe,
            noise=noise,
            path_surprisal=self.settings.path_surprisal,
            grid=self.identity.grid,
            device=self.device,
        )

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of grids (sample, position).

        The decoder is in float32, since half precision overflows in it.
        """
        return to_pixels(decoded(self.vqvae, tokens, self.identity.grid))
