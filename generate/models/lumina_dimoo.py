"""Lumina-DiMOO (Xin et al. 2025, arXiv:2510.06308): masked rows of tokens in a language model."""

from __future__ import annotations

import functools
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
from generate.models.checkpoint import Checkpoint, Source
from generate.models.component import Part
from generate.models.guidance import Guidance
from generate.models.masked_model import MaskedModel
from generate.models.padding import left_padded
from generate.models.precision import Precision, computing
from generate.models.public import Geometry, PublicOptions, grid_side
from generate.models.vq_decoder import decoded
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import masked
from generate.traversal.draw import Noise
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

KIND = "llada"
END_OF_ROW, BEGIN_OF_IMAGE, END_OF_IMAGE = 126084, 126349, 126350
BEGIN_OF_ANSWER, END_OF_ANSWER, FIRST_CODE = 126354, 126355, 126356
"""Special ids of upstream's `config.py`, and that of code 0, behind which there are codes alone."""
PROMPT = "<system>Generate an image according to the text prompt.</system><user>{}</user>"
"""How a text is put to the model; the tags are tokens of its tokenizer."""
NOTHING = "<uncondition>"
"""The text of the unconditional branch, a token of its own."""


@dataclass(frozen=True)
class LuminaDimooOptions(PublicOptions):
    """Settings of upstream's `inference_t2i.py`.

    Guidance s means (1 + s) c - s u, so that 0 is none. The path temperature is the same at every
    step. No file tells `image_size`, pixels of a side. `path_surprisal` says what is recorded of the
    path: `exact`, `given_candidates` (cheaper) or `none`.
    """

    checkpoint: str = "Alpha-VLLM/Lumina-DiMOO"
    steps: int = 64
    guidance: float = 4.0
    path_temperature: float = 1.0
    image_size: int = 1024
    path_surprisal: masked.PathSurprisal = "exact"
    precision: Precision = "bfloat16"


@dataclass(frozen=True)
class Conditioning:
    """Prompts: rows of the texts, then as many unconditional ones when guided.

    `ids` (row, place) are padded on the left, and `is_text` (row, place) is True where there is
    text.
    """

    ids: Tensor  # (row, place) int64
    is_text: Tensor  # (row, place) bool


class LuminaDimoo(MaskedModel):
    """Lumina-DiMOO-8B, 512 and 1024: LLaDA over VQ-GAN tokens in rows.

    Text and image all see each other, so nothing is cached from step to step; upstream's cache,
    which changes the law, is not offered. A token ends every row: it is fixed, no position, and no
    code. Temperature is 1. Figures of the card are those of LLaDA-8B's published sizes and the
    larger vocabulary, counted here.
    """

    Options: ClassVar[type[Any]] = LuminaDimooOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "1024": {"image_size": 1024},
        "512": {"image_size": 512},
    }
    card = Card(
        grids="64x64, 32x32",
        codebook_size=8192,
        quantizer="vq",
        licence="Apache-2.0",
        parameters=8228,
        download=16.8,
        paper="arXiv:2510.06308",
        operations=8700,
        verified="logits and tokens equal those recorded of upstream's code",
    )
    sources = (
        Source(
            "checkpoint",
            (
                llada.CONFIG,
                "model.safetensors|model-*-of-*.safetensors",
                "tokenizer.json",
                "*.json",
                "vqvae/config.json",
                "vqvae/diffusion_pytorch_model.safetensors|vqvae/diffusion_pytorch_model.bin",
            ),
            float32=("vqvae/",),
        ),
    )

    @classmethod
    def parts(cls) -> Mapping[str, Part]:
        """The VQ model; the language model's sizes are read off its weights."""
        from diffusers import VQModel

        return {"vqvae": Part(VQModel, "vqvae")}

    def __init__(self, identity: ModelIdentity, options: LuminaDimooOptions, device: str) -> None:
        super().__init__(identity, options, device)
        checkpoint = self.found["checkpoint"]
        self.mask_id = int(llada.described(checkpoint, KIND)["mask_token_id"])
        network = llada.load_language_model(checkpoint, KIND)
        n_ids, n_codes = len(network.lm_head.weight), identity.codebook_size
        if n_ids != FIRST_CODE + n_codes:
            raise ModelError(
                f"checkpoint '{checkpoint.name}' has {n_ids} ids, but {FIRST_CODE} before the codes and "
                f"{n_codes} codes are {FIRST_CODE + n_codes}: fetch it again, or name another."
            )
        self.network = network.to(device, self.dtype)
        self.vqvae = self.component("vqvae", torch.float32)

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: LuminaDimooOptions) -> Geometry:
        """From the VQ model and the option `image_size`; steps are the option's.

        Raises ModelError where the image is no whole number of positions.
        """
        llada.described(found["checkpoint"], KIND)
        vqvae = found["checkpoint"].json("vqvae/config.json")
        downsample = 2 ** (len(vqvae["block_out_channels"]) - 1)
        side = grid_side("Lumina-DiMOO", options.image_size, downsample)
        size = (options.image_size, options.image_size)
        return Geometry(vqvae["num_vq_embeddings"], (side, side), size, options.steps)

    @classmethod
    @functools.cache
    def prompt(cls, options: LuminaDimooOptions, text: str) -> tuple[int, ...]:
        """Ids of the prompt of a text; no text is cut."""
        return tuple(cls.tokenizer(options)(PROMPT.format(text), verbose=False).input_ids)

    @classmethod
    @functools.cache
    def tokenizer(cls, options: LuminaDimooOptions) -> Any:
        """The language model's tokenizer."""
        return llada.tokenizer(cls.find(options)["checkpoint"])

    @classmethod
    def read(cls, options: LuminaDimooOptions, texts: Sequence[str]) -> list[Reading]:
        """Ids of the whole prompts, which are never cut."""
        return [Reading(cls.prompt(options, text), cut=False) for text in texts]

    @classmethod
    def guidance_of(cls, options: Any) -> Guidance:
        """Guidance of a batch, whose scale is one more than Lumina-DiMOO's own number."""
        return Guidance.beyond(options.guidance)

    def encode(self, texts: Sequence[str]) -> Conditioning:
        """Ids of the prompts and, when guided, of as many unconditional ones, as long as the longest."""
        asked = self.guidance.texts(texts, NOTHING)
        prompts = [self.prompt(self.settings, text) for text in asked]
        return Conditioning(*left_padded(prompts, 0, self.device))

    @torch.inference_mode()
    def traverse(self, conditioning: Conditioning, probe: Probe, noise: Noise) -> Trace:
        """Unmask by confidence on the cosine schedule; every step reads text and image anew.

        Places are counted from the first of the text; padding is seen by nobody.
        """
        guidance, steps = self.guidance, self.settings.steps
        rows, columns = self.identity.grid
        n_rows = len(conditioning.ids)
        n_after = rows * (columns + 1) + 4
        is_seen = F.pad(conditioning.is_text, (0, n_after), value=True)
        places = (is_seen.cumsum(1) - 1).clamp(min=0)
        seen = is_seen[:, None, None].expand(-1, -1, is_seen.shape[1], -1)
        n_codes = self.identity.codebook_size
        head = self.network.lm_head.weight[FIRST_CODE : FIRST_CODE + n_codes]

        @computing(self.settings.precision)
        def grid_logits(tokens: Tensor, step: int) -> Tensor:
            answer = guidance.rows(self.answer(tokens))
            states = self.network.model(
                input_ids=torch.cat([conditioning.ids, answer], 1),
                attention_mask=seen,
                position_ids=places,
                use_cache=False,
            ).last_hidden_state
            image = states[:, -n_after + 2 : -2].unflatten(1, (rows, columns + 1))
            return guidance.logits(F.linear(image[:, :, :-1].flatten(1, 2), head))

        path_temperature = [self.settings.path_temperature] * steps
        return self.unmask(grid_logits, guidance.n_samples(n_rows), path_temperature, probe, noise)

    def answer(self, tokens: Tensor) -> Tensor:
        """Ids of the answer that a grid is, (sample, place), of its tokens (sample, position).

        A token ends every row, and two stand around the image and two around the answer.
        """
        ids = tokens.where(tokens == self.mask_id, tokens + FIRST_CODE)
        ids = F.pad(ids.view(-1, *self.identity.grid), (0, 1), value=END_OF_ROW).flatten(1)
        ids = F.pad(F.pad(ids, (1, 0), value=BEGIN_OF_IMAGE), (0, 1), value=END_OF_IMAGE)
        return F.pad(F.pad(ids, (1, 0), value=BEGIN_OF_ANSWER), (0, 1), value=END_OF_ANSWER)

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of grids (sample, position), decoded in float32."""
        return to_pixels(decoded(self.vqvae, tokens, self.identity.grid))
