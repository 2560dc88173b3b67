"""MMaDA (Yang et al. 2025, arXiv:2505.15809): masked image tokens inside a masked language model."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError
from generate.models import llada
from generate.models.base import Card, to_pixels
from generate.models.checkpoint import Checkpoint, Source, load_tensors
from generate.models.guidance import Guidance
from generate.models.masked_model import MaskedModel
from generate.models.padding import left_padded
from generate.models.precision import Precision, computing
from generate.models.public import Geometry, PublicOptions, grid_side
from generate.models.showo import DOWNSAMPLE, compounding, load_decoder, text_part
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import masked
from generate.traversal.draw import Noise
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

KIND = "mmada"
CODES = 8192
TEXT_LENGTH = 513
"""Ids of the text part: the task token, BOS, the text and EOS, padded on the left."""
SOI, EOI, T2I, PAD = 126084, 126085, 126088, 126093
"""Special ids, reserved ones of LLaDA's tokenizer; the codes follow its last id."""
OF_DIALOGUES = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
"""Special tokens that upstream adds to a tokenizer without them, before the codes."""


@dataclass(frozen=True)
class MmadaOptions(PublicOptions):
    """Settings of the command for images in upstream's README.

    The preset `config` has those of its configuration file. Guidance s means (1 + s) c - s u, so
    that 0 is none, and the path temperature compounds, as in Show-o. No file tells `image_size`,
    pixels of a side. `path_surprisal` says what is recorded of the path: `exact`, `given_candidates`
    (cheaper) or `none`.
    """

    checkpoint: str = "Gen-Verse/MMaDA-8B-MixCoT"
    image_tokenizer: str = "showlab/magvitv2"
    steps: int = 15
    guidance: float = 3.5
    path_temperature: float = 1.0
    image_size: int = 512
    path_surprisal: masked.PathSurprisal = "exact"
    precision: Precision = "bfloat16"


class Mmada(MaskedModel):
    """MMaDA-8B at 512: LLaDA with image tokens, lookup-free quantisation.

    Text and image all see each other, so nothing is cached from step to step. Codes are ids of the
    language model's vocabulary behind those of its tokenizer; here they run from 0. The law of a
    code leaves all other ids out. Figures of the card are those of LLaDA-8B's published sizes and
    the larger vocabulary, counted here.
    """

    Options: ClassVar[type[Any]] = MmadaOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mixcot": {"checkpoint": "Gen-Verse/MMaDA-8B-MixCoT"},
        "base": {"checkpoint": "Gen-Verse/MMaDA-8B-Base"},
        "config": {"guidance": 1.5, "steps": 12},
    }
    card = Card(
        grids="32x32",
        codebook_size=CODES,
        quantizer="lfq",
        licence="MIT; image tokenizer MIT",
        parameters=8123,
        download=16.5,
        paper="arXiv:2505.15809",
        operations=685,
        verified="logits, tokens and pixels equal those recorded of upstream's code",
    )
    sources = (
        Source(
            "checkpoint",
            (
                llada.CONFIG,
                "model.safetensors|model-*-of-*.safetensors",
                "tokenizer.json",
                "*.json",
            ),
        ),
        Source(
            "image_tokenizer",
            ("config.json", "pytorch_model.safetensors|model.safetensors|pytorch_model.bin"),
            unused=("encoder.",),
            float32=("",),
        ),
    )

    def __init__(self, identity: ModelIdentity, options: MmadaOptions, device: str) -> None:
        super().__init__(identity, options, device)
        checkpoint, images = self.found["checkpoint"], self.found["image_tokenizer"]
        self.first_code = self.n_words(options)
        self.mask_id = int(llada.described(checkpoint, KIND)["mask_token_id"])
        network = llada.load_language_model(checkpoint, KIND)
        n_ids, needed = len(network.lm_head.weight), self.first_code + CODES
        if n_ids < max(needed, PAD + 1, self.mask_id + 1):
            raise ModelError(
                f"checkpoint '{checkpoint.name}' has {n_ids} ids, but words and codes are {needed}, and "
                f"special ones go up to {max(PAD, self.mask_id)}: fetch it again, or name another."
            )
        self.network = network.to(device, self.dtype)
        self.decoder = load_decoder(images, load_tensors(images.weights[0])).to(device)

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: MmadaOptions) -> Geometry:
        """From the option `image_size`, 16 x 16 pixels a position; steps are the option's.

        The codebook is that of the image tokenizer, a bit a digit. Raises ModelError where the image
        size is no multiple of 16.
        """
        llada.described(found["checkpoint"], KIND)
        found["image_tokenizer"].json("config.json", kind="MAGVITv2")
        side = grid_side("MMaDA", options.image_size, DOWNSAMPLE)
        bits = (2,) * (CODES - 1).bit_length()
        size = (options.image_size, options.image_size)
        return Geometry(CODES, (side, side), size, options.steps, bits)

    @classmethod
    @functools.cache
    def tokenizer(cls, options: MmadaOptions) -> Any:
        """The language model's tokenizer."""
        return llada.tokenizer(cls.find(options)["checkpoint"])

    @classmethod
    def n_words(cls, options: MmadaOptions) -> int:
        """Ids before the first code: those of the tokenizer, and the ones that upstream adds."""
        tokenizer = cls.tokenizer(options)
        return len(tokenizer) + len(set(OF_DIALOGUES) - set(tokenizer.get_vocab()))

    @classmethod
    @functools.cache
    def prompt(cls, options: MmadaOptions, text: str) -> tuple[list[int], bool]:
        """Ids of the text part without padding, and whether the text was cut.

        A cut one still ends in EOS.
        """
        return text_part(cls.tokenizer(options), T2I, text, TEXT_LENGTH)

    @classmethod
    def read(cls, options: MmadaOptions, texts: Sequence[str]) -> list[Reading]:
        """Ids of the text part: task token, BOS, text, EOS."""
        readings = []
        for text in texts:
            ids, cut = cls.prompt(options, text)
            readings.append(Reading(tuple(ids), cut))
        return readings

    @classmethod
    def guidance_of(cls, options: Any) -> Guidance:
        """Guidance of a batch, whose scale is one more than MMaDA's own number."""
        return Guidance.beyond(options.guidance)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Ids of the text parts (row, TEXT_LENGTH), padded on the left.

        Rows are those of the texts and then, when guided, of as many empty ones.
        """
        prompts = [self.prompt(self.settings, text)[0] for text in self.guidance.texts(texts)]
        return left_padded(prompts, PAD, self.device, TEXT_LENGTH)[0]

    @torch.inference_mode()
    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        """Unmask by confidence on the cosine schedule; every step reads text and image anew.

        All places are seen but padding, which stands in the count of positions.
        """
        guidance, steps = self.guidance, self.settings.steps
        n_positions, n_rows = math.prod(self.identity.grid), len(conditioning)
        is_seen = F.pad(conditioning != PAD, (0, n_positions + 2), value=True)
        length = is_seen.shape[1]
        seen = is_seen[:, None, None].expand(-1, -1, length, -1)
        places = torch.arange(length, device=self.device).expand(n_rows, -1)
        head = self.network.lm_head.weight[self.first_code : self.first_code + CODES]

        @computing(self.settings.precision)
        def grid_logits(tokens: Tensor, step: int) -> Tensor:
            ids = tokens.where(tokens == self.mask_id, tokens + self.first_code)
            ids = F.pad(F.pad(ids, (1, 0), value=SOI), (0, 1), value=EOI)
            states = self.network.model(
                input_ids=torch.cat([conditioning, guidance.rows(ids)], 1),
                attention_mask=seen,
                position_ids=places,
                use_cache=False,
            ).last_hidden_state
            return guidance.logits(F.linear(states[:, -n_positions - 1 : -1], head))

        path_temperature = compounding(self.settings.path_temperature, steps)
        return self.unmask(grid_logits, guidance.n_samples(n_rows), path_temperature, probe, noise)

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of grids (sample, position).

        The decoder is in float32 and gives pixels in [-1, 1], about; what lies outside is clamped.
        """
        return to_pixels(self.decoder(tokens.view(-1, *self.identity.grid)) / 2 + 0.5)
