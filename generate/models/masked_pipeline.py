"""Pipelines over masked tokens as diffusers saves them: a CLIP text, a transformer, a VQ model."""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError
from generate.models.base import to_pixels
from generate.models.checkpoint import PIPELINE_FILES, Checkpoint, Source
from generate.models.clip import ClipTokenizer
from generate.models.masked_model import MaskedModel
from generate.models.precision import computing
from generate.models.public import PublicOptions
from generate.models.recent import Recent
from generate.models.vq_decoder import decoded
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import masked
from generate.traversal.draw import Noise
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity


@dataclass(frozen=True)
class PipelineOptions(PublicOptions):
    """Settings of a masked pipeline; the defaults that differ from model to model are theirs.

    The path temperature falls linearly to 0 at the last step, and `path_surprisal` says what is
    recorded of the path: `exact`, `given_candidates` (cheaper) or `none`.
    """

    checkpoint: str = ""
    steps: int = 12
    guidance: float = 10.0
    path_temperature: float = 2.0
    aesthetic_score: float = 6.0
    path_surprisal: masked.PathSurprisal = "exact"


@dataclass(frozen=True)
class Conditioning:
    """CLIP states: rows of the texts, then as many of the negative text when guided.

    `pooled` (row, width) is the projected state of the whole text, `hidden` (row, token, width) the
    penultimate states, padding included.
    """

    pooled: Tensor  # (row, width)
    hidden: Tensor  # (row, token, width)


class MaskedPipeline(MaskedModel):
    """A text, a grid that is unmasked by confidence on the cosine schedule, and a VQ decoder.

    A subclass names the parts `text_encoder`, `transformer` and `vqvae`, reads the geometry, and
    calls its transformer in `grid_logits`. `scheduler` is the class that the scheduler's file
    names.
    """

    sources = (Source("checkpoint", PIPELINE_FILES, float32=("vqvae/",)),)
    scheduler: ClassVar[str]

    def __init__(self, identity: ModelIdentity, options: Any, device: str) -> None:
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
        config = checkpoint.json(file, kind=cls.scheduler)
        if config["masking_schedule"] != "cosine":
            raise ModelError(
                f"{file} of checkpoint '{checkpoint.name}' has masking_schedule "
                f"{config['masking_schedule']!r}, but only 'cosine' is known here: name another."
            )
        return int(config["mask_token_id"])

    @classmethod
    def downsample(cls, checkpoint: Checkpoint) -> int:
        """Pixels of a side of a position: each level of the decoder but one doubles the grid."""
        levels = checkpoint.json("vqvae/config.json")["block_out_channels"]
        return int(2 ** (len(levels) - 1))

    @property
    def negative(self) -> str:
        """The text of the unconditional branch: the empty one, unless a model has another."""
        return ""

    @abc.abstractmethod
    def grid_logits(
        self, tokens: Tensor, conditioning: Conditioning, facts: Tensor, step: int
    ) -> Tensor:
        """Logits (row, code, y, x) of the transformer for tokens (row, y, x), MASK where open.

        Rows are those of the conditioning; `facts` (row, 5) are width, height, crop and aesthetic
        score of the image.
        """

    @classmethod
    @functools.cache
    def tokenizer(cls, options: Any) -> ClipTokenizer:
        """The CLIP tokenizer of a checkpoint."""
        return ClipTokenizer(cls.find(options)["checkpoint"].folder / "tokenizer")

    @classmethod
    def read(cls, options: Any, texts: Sequence[str]) -> list[Reading]:
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
        """CLIP states of the texts and, when guided, of the negative text.

        A text is encoded once and kept; the least recent of 512 goes first. Padding is attended to,
        as upstream.
        """
        asked = self.guidance.texts(texts, self.negative)
        rows = [self.states.of(text, self.encode_text) for text in asked]
        pooled, hidden = zip(*rows, strict=True)
        return Conditioning(torch.stack(pooled), torch.stack(hidden))

    @torch.inference_mode()
    def traverse(self, conditioning: Conditioning, probe: Probe, noise: Noise) -> Trace:
        """Unmask by confidence on the cosine schedule, both branches in one call of the network.

        The network is also told the image size, a crop at the origin and the option
        `aesthetic_score`.
        """
        guidance, steps = self.guidance, self.settings.steps
        n_rows = len(conditioning.pooled)
        height, width = self.identity.image_size
        facts = [[width, height, 0, 0, self.settings.aesthetic_score]]
        micro = torch.tensor(facts, device=self.device)
        micro = micro.to(conditioning.hidden.dtype).expand(n_rows, -1)

        @computing(self.settings.precision)
        def guided_logits(tokens: Tensor, step: int) -> Tensor:
            grid = guidance.rows(tokens.view(-1, *self.identity.grid))
            logits = self.grid_logits(grid, conditioning, micro, step)
            return guidance.logits(logits.flatten(2).mT)

        path_temperature = np.linspace(self.settings.path_temperature, 0.0, steps).tolist()
        return self.unmask(
            guided_logits, guidance.n_samples(n_rows), path_temperature, probe, noise
        )

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of grids (sample, position).

        The decoder is in float32, since half precision overflows in it.
        """
        return to_pixels(decoded(self.vqvae, tokens, self.identity.grid))
