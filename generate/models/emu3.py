"""Emu3 (Wang et al. 2024, arXiv:2409.18869): next-token prediction of images in rows, by a Llama."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError
from generate.models.base import Card, Family, to_pixels
from generate.models.causal import Conditioning, kept, reading, with_room, word_positions
from generate.models.checkpoint import Checkpoint, Source
from generate.models.component import Part, load, settings_of
from generate.models.graphed import graphed
from generate.models.guidance import Guidance
from generate.models.padding import left_padded
from generate.models.precision import Precision, computing
from generate.models.public import Geometry, PublicModel, PublicOptions, grid_side
from generate.networks.keys_and_values import KeysAndValues
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import autoregressive
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

BEGIN, BEGIN_OF_IMAGE, IMAGE_FOLLOWS = "<|extra_203|>", "<|image start|>", "<|image token|>"
END_OF_ROW = "<|extra_200|>"
"""Special tokens, by the names that the published vocabulary has for them."""
CODE = "<|visual token {:06d}|>"
"""The name of a code in the vocabulary."""
POSITIVE = " masterpiece, film grained, best quality."
NEGATIVE = (
    "lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, "
    "cropped, worst quality, low quality, normal quality, jpeg artifacts, signature, watermark, "
    "username, blurry."
)
"""What upstream's script puts after every text, and the text that its guidance leads away from."""


@dataclass(frozen=True)
class Emu3Options(PublicOptions):
    """Settings of upstream's `image_generation.py`.

    `positive` is put after every text, and `negative` is the text that guidance leads away from; the
    preset `plain` leaves both out. No file tells `image_size`, pixels of a side. `top_k` = 0 is no
    cut.
    """

    checkpoint: str = "BAAI/Emu3-Gen-hf"
    precision: Precision = "bfloat16"
    guidance: float = 3.0
    temperature: float = 1.0
    top_k: int = 2048
    image_size: int = 720
    positive: str = POSITIVE
    negative: str = NEGATIVE


class Emu3(PublicModel):
    """Emu3-Gen at 720: a Llama of 8B over VQ tokens in rows, 8 x 8 pixels each.

    Codes are words of the vocabulary, found by their names; here they run from 0, and the law of a
    code leaves all other words out. A token ends every row: it is fixed, no position, and no code.
    Temperature and top-k act after guidance. It is read in the layout of transformers. Figures of
    the card are those of the published description, counted here; the files are in float32.
    """

    family: ClassVar[Family] = "autoregressive"
    Options: ClassVar[type[Any]] = Emu3Options
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "720": {"image_size": 720},
        "plain": {"positive": "", "negative": ""},
    }
    card = Card(
        grids="90x90",
        codebook_size=32768,
        quantizer="vq",
        licence="Apache-2.0",
        parameters=8763,
        download=35.1,
        paper="arXiv:2409.18869",
        operations=304,
        verified="tokens and pixels equal those of transformers' Emu3",
    )
    sources = (
        Source(
            "checkpoint",
            (
                "config.json",
                "model.safetensors|model-*-of-*.safetensors",
                "tokenizer.json",
                "*.json",
            ),
            float32=("vqmodel.", "model.vqmodel."),
        ),
    )

    @classmethod
    def parts(cls) -> Mapping[str, Part]:
        """The whole network: language model, head and VQ model."""
        from transformers import Emu3ForConditionalGeneration

        return {"network": Part(Emu3ForConditionalGeneration, keys=("vocabulary_map",))}

    def __init__(self, identity: ModelIdentity, options: Emu3Options, device: str) -> None:
        super().__init__(identity, options, device)
        checkpoint = self.found["checkpoint"]
        words = self.words(checkpoint)
        network = load(self.parts()["network"], checkpoint, dtype="auto")
        self.language_model = network.model.text_model.to(self.device, self.dtype)
        self.vqmodel = network.model.vqmodel.to(self.device).float()
        ids = [words[CODE.format(code)] for code in range(identity.codebook_size)]
        self.words_of_codes = torch.tensor([*ids, words[END_OF_ROW]], device=self.device)
        self.head = network.lm_head.weight[ids].to(self.device, self.dtype)
        self.law = TokenLaw(temperature=options.temperature, top_k=options.top_k or None)

    @classmethod
    @functools.cache
    def words(cls, checkpoint: Checkpoint) -> Mapping[str, int]:
        """The ids of all words by their names, from the description of the network.

        Raises ModelError where one is missing that an image needs.
        """
        settings = settings_of(cls.parts()["network"], checkpoint)
        words: dict[str, int] = settings["vocabulary_map"]
        n_codes = cls.vq_config(checkpoint).codebook_size
        needed = [BEGIN, BEGIN_OF_IMAGE, IMAGE_FOLLOWS, END_OF_ROW]
        missing = [name for name in needed if name not in words]
        missing += [CODE.format(code) for code in range(n_codes) if CODE.format(code) not in words]
        if missing:
            raise ModelError(
                f"the vocabulary_map of checkpoint '{checkpoint.name}' lacks {len(missing)} words that "
                f"an image needs, first '{missing[0]}': fetch it again, or name another."
            )
        return words

    @classmethod
    @functools.cache
    def vq_config(cls, checkpoint: Checkpoint) -> Any:
        """The description of the VQ model; what a file leaves out is as in the class."""
        from transformers import Emu3VQVAEConfig

        settings = settings_of(cls.parts()["network"], checkpoint)
        return Emu3VQVAEConfig.from_dict(dict(settings.get("vq_config") or {}))

    @classmethod
    def side(cls, checkpoint: Checkpoint, options: Emu3Options) -> int:
        """Rows of the grid, and columns; ModelError where the image is no whole number of them."""
        downsample = 2 ** (len(cls.vq_config(checkpoint).channel_multiplier) - 1)
        return grid_side("Emu3", options.image_size, downsample)

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: Emu3Options) -> Geometry:
        """From the VQ model and the option `image_size`; one step a position.

        Raises ModelError where the vocabulary lacks a code.
        """
        checkpoint = found["checkpoint"]
        cls.words(checkpoint)
        side = cls.side(checkpoint, options)
        size = (options.image_size, options.image_size)
        n_codes = cls.vq_config(checkpoint).codebook_size
        return Geometry(n_codes, (side, side), size, side * side)

    @classmethod
    def keys_and_values(
        cls, found: Mapping[str, Checkpoint], options: Emu3Options
    ) -> KeysAndValues:
        """Those of an image and of the ends of its rows, by the description of the language model.

        The prompt has as many more as it has words.
        """
        from transformers import Emu3TextConfig

        settings = settings_of(cls.parts()["network"], found["checkpoint"])
        text = Emu3TextConfig.from_dict(dict(settings.get("text_config") or {}))
        side = cls.side(found["checkpoint"], options)
        return kept(text, side * (side + 1))

    @classmethod
    @functools.cache
    def tokenizer(cls, options: Emu3Options) -> Any:
        """The tokenizer of a checkpoint."""
        from transformers import PreTrainedTokenizerFast

        folder = cls.find(options)["checkpoint"].folder
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)

    @classmethod
    def ids(cls, options: Emu3Options, text: str) -> list[int]:
        """Ids of the image prompt of a text: BEGIN, the text, and the sides of the grid.

        Never cut: the language model takes far longer prompts. Raises ModelError if the tokenizer
        does not take the special tokens as one word each.
        """
        checkpoint = cls.find(options)["checkpoint"]
        words, side = cls.words(checkpoint), cls.side(checkpoint, options)
        prompt = f"{BEGIN}{text}{BEGIN_OF_IMAGE}{side}*{side}{IMAGE_FOLLOWS}"
        found: list[int] = cls.tokenizer(options)(prompt, add_special_tokens=False).input_ids
        ends = [words[BEGIN], words[IMAGE_FOLLOWS]]
        if [found[0], found[-1]] != ends or words[BEGIN_OF_IMAGE] not in found:
            raise ModelError(
                f"the tokenizer of checkpoint '{options.checkpoint}' puts {found[0]} first and "
                f"{found[-1]} last in an image prompt, not {ends[0]} and {ends[1]}: fetch it again, or "
                "name another."
            )
        return found

    @classmethod
    def read(cls, options: Emu3Options, texts: Sequence[str]) -> list[Reading]:
        """Ids of the image prompt, which is never cut."""
        return [
            Reading(tuple(cls.ids(options, text + options.positive)), cut=False) for text in texts
        ]

    @classmethod
    def guidance_of(cls, options: Any) -> Guidance:
        """Guidance of a batch; upstream has a negative branch at every scale but 1."""
        return Guidance(options.guidance, guided=options.guidance != 1.0)

    def encode(self, texts: Sequence[str]) -> Conditioning:
        """Padded prompts, and those of the negative text when guided."""
        asked = [text + self.settings.positive for text in texts]
        texts = self.guidance.texts(asked, self.settings.negative)
        ids, is_text = left_padded(
            [self.ids(self.settings, text) for text in texts], 0, self.device
        )
        return Conditioning(ids, is_text.long())

    @torch.inference_mode()
    def traverse(self, conditioning: Conditioning, probe: Probe, noise: Noise) -> Trace:
        """Sample in raster order with preallocated keys and values.

        The prompt is read in one call, and then one code a row and call, all of the same shapes. A
        row of the grid begins with a call more, for the token that ends the one before.
        """
        guidance = self.guidance
        rows, columns = self.identity.grid
        n_prompt = conditioning.ids.shape[1]
        mask = with_room(conditioning.mask, rows * (columns + 1))
        position_ids = word_positions(mask)
        places = torch.arange(mask.shape[1], device=self.device)
        states = reading(self.language_model, mask)
        end_of_row = len(self.words_of_codes) - 1

        def after(ids: Tensor, position_ids: Tensor) -> Tensor:
            last = states(input_ids=ids, position_ids=position_ids)
            return guidance.logits(last @ self.head.mT)

        def after_code(codes: Tensor, place: Tensor) -> Tensor:
            ids = self.words_of_codes[guidance.rows(codes)][:, None]
            return after(ids, position_ids.index_select(1, place))

        step = graphed(after_code, self.device)

        @computing(self.settings.precision)
        def next_logits(previous: Tensor | None, position: int) -> Tensor:
            """Logits at a position, from the prompt at first, then from one code a row."""
            if previous is None:
                return after(conditioning.ids, position_ids[:, :n_prompt])
            row, column = divmod(position, columns)
            place = n_prompt + position - 1 + row
            if column == 0:
                step(previous, places[place - 1 : place])
                previous = torch.full_like(previous, end_of_row)
            return step(previous, places[place : place + 1])

        return autoregressive.traverse(
            next_logits, rows * columns, law=self.law, probe=probe, noise=noise
        )

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of grids (sample, position).

        The decoder is in float32 and gives pixels in [-1, 1]; what lies outside is clamped.
        """
        return to_pixels(self.vqmodel.decode(tokens.view(-1, *self.identity.grid)) / 2 + 0.5)
