"""Janus-Pro (Chen et al. 2025, arXiv:2501.17811): a language model that writes image tokens."""

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
from generate.models import multi_modality
from generate.models.base import Card, Family, to_pixels
from generate.models.causal import Conditioning, kept, reading, with_room, word_positions
from generate.models.checkpoint import Checkpoint, Source
from generate.models.component import Layout, Part, layout_of, settings_of
from generate.models.graphed import graphed
from generate.models.guidance import Guidance
from generate.models.padding import left_padded
from generate.models.precision import Precision, computing
from generate.models.public import Geometry, PublicModel, PublicOptions
from generate.networks.keys_and_values import KeysAndValues
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import autoregressive
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

PROMPT = "<|User|>: {text}\n\n<|Assistant|>:{begin_of_image}"
"""The image prompt of upstream's `generation_inference.py`; the tokenizer puts BOS in front."""

CONVERTED = "'deepseek-community/Janus-Pro-1B'"
"""The repository that has the weights in the layout of transformers."""
LAYOUTS = {"multi_modality": Layout(multi_modality.settings, multi_modality.tensors)}
"""Layouts other than that of transformers, by the kind of network that they name."""


@dataclass(frozen=True)
class JanusOptions(PublicOptions):
    """Settings of upstream's `generation_inference.py`: the whole vocabulary, no top-k.

    `JanusForConditionalGeneration.generate` cuts to the 50 best codes unless told not to; here
    `top_k` = 0 is no cut.
    """

    checkpoint: str = "deepseek-community/Janus-Pro-1B"
    precision: Precision = "bfloat16"
    guidance: float = 5.0
    temperature: float = 1.0
    top_k: int = 0


class Janus(PublicModel):
    """Janus-Pro 1B and 7B: Llama with image tokens of their own, LlamaGen's tokenizer.

    Image tokens enter by their own embedding and leave by their own head, so no offset separates
    them from words. Temperature and top-k act after guidance. Figures of the card are those of 1B;
    7B downloads 14.8 GB and was not run here. The repositories of deepseek-ai are read as they are.
    """

    family: ClassVar[Family] = "autoregressive"
    Options: ClassVar[type[Any]] = JanusOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "1B": {"checkpoint": "deepseek-community/Janus-Pro-1B"},
        "7B": {"checkpoint": "deepseek-community/Janus-Pro-7B"},
    }
    card = Card(
        grids="24x24",
        codebook_size=16384,
        quantizer="vq-l2",
        licence="DeepSeek model licence",
        parameters=1867,
        download=4.2,
        paper="arXiv:2501.17811",
        operations=3.19,
        verified="tokens and pixels equal those of transformers' Janus",
        speeds={"bfloat16": 4.0},
    )
    sources = (
        Source(
            "checkpoint",
            (
                "config.json",
                "model.safetensors|model-*-of-*.safetensors|pytorch_model.bin"
                "|pytorch_model-*-of-*.bin",
                "tokenizer.json",
                "tokenizer_config.json",
                "*.json",
            ),
            unused=multi_modality.LEFT_OUT,
            float32=("model.vqmodel.", multi_modality.VQ),
        ),
    )

    @classmethod
    def parts(cls) -> Mapping[str, Part]:
        """The whole network, in the layout of transformers or in that of deepseek-ai."""
        from transformers import JanusForConditionalGeneration

        return {"network": Part(JanusForConditionalGeneration, layouts=LAYOUTS)}

    def __init__(self, identity: ModelIdentity, options: JanusOptions, device: str) -> None:
        super().__init__(identity, options, device)
        network = self.component("network", "auto").model
        self.language_model = network.language_model.to(self.dtype)
        self.embed_prompt = network.language_model.get_input_embeddings()
        self.embed_codes = torch.nn.Sequential(
            network.generation_embeddings, network.generation_aligner
        ).to(self.dtype)
        self.head = network.generation_head.to(self.dtype)
        self.vqmodel = network.vqmodel.float()
        self.law = TokenLaw(temperature=options.temperature, top_k=options.top_k or None)

    @classmethod
    def config(cls, checkpoint: Checkpoint) -> Any:
        """The description of the whole network; what a file leaves out is as in the class."""
        from transformers import JanusConfig

        return JanusConfig.from_dict(dict(settings_of(cls.parts()["network"], checkpoint)))

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: JanusOptions) -> Geometry:
        """From the vision and tokenizer configurations; one step a position.

        The grid has as many places a side as the vision tower has patches. What a file leaves out
        is as in the class: transformers writes only what differs.
        """
        config = cls.config(found["checkpoint"])
        vision: Any = config.vision_config
        vq: Any = config.vq_config
        side = vision.image_size // vision.patch_size
        pixels = side * 2 ** (len(vq.channel_multiplier) - 1)
        return Geometry(vq.num_embeddings, (side, side), (pixels, pixels), side * side)

    @classmethod
    def keys_and_values(
        cls, found: Mapping[str, Checkpoint], options: JanusOptions
    ) -> KeysAndValues:
        """Those of an image, by the description of the language model.

        The prompt has as many more as it has words.
        """
        text: Any = cls.config(found["checkpoint"]).text_config
        return kept(text, cls.geometry(found, options).n_positions)

    @classmethod
    @functools.cache
    def tokenizer(cls, options: JanusOptions) -> Any:
        """The tokenizer of a checkpoint; it names the begin-of-image token."""
        from transformers import AutoTokenizer

        checkpoint = cls.find(options)["checkpoint"]
        if layout_of(cls.parts()["network"], checkpoint) is not None:
            named = checkpoint.json("tokenizer_config.json")
            return multi_modality.tokenizer(checkpoint.folder, named)
        return AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)

    @classmethod
    def ids(cls, options: JanusOptions, text: str) -> list[int]:
        """Token ids of the image prompt of a text: BOS, the conversation, begin-of-image.

        Spaces around the text are left out, as upstream. Never cut: the language model takes far
        longer prompts. Raises ModelError if the tokenizer does not put BOS first and begin-of-image
        last, without which images are of something else.
        """
        tokenizer = cls.tokenizer(options)
        begin_of_image = getattr(tokenizer, "boi_token", None)
        prompt = PROMPT.format(text=text.strip(), begin_of_image=begin_of_image)
        found: list[int] = tokenizer(prompt).input_ids
        ends = [tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids(begin_of_image)]
        if [found[0], found[-1]] != ends or None in ends:
            raise ModelError(
                f"the tokenizer of checkpoint '{options.checkpoint}' puts {found[0]} first and "
                f"{found[-1]} last in an image prompt, not BOS and begin-of-image ({ends[0]}, "
                f"{ends[1]}): take tokenizer.json and tokenizer_config.json of {CONVERTED}."
            )
        return found

    @classmethod
    def read(cls, options: JanusOptions, texts: Sequence[str]) -> list[Reading]:
        """Tokens of the image prompt, which is never cut."""
        return [Reading(tuple(cls.ids(options, text)), cut=False) for text in texts]

    @classmethod
    def guidance_of(cls, options: Any) -> Guidance:
        """Guidance of a batch; upstream has an unconditional branch at every scale but 1."""
        return Guidance(options.guidance, guided=options.guidance != 1.0)

    def encode(self, texts: Sequence[str]) -> Conditioning:
        """Padded prompts, and unconditional ones when guided.

        Those keep BOS, BOI and their length; the rest of them is padding that is seen.
        """
        tokenizer = self.tokenizer(self.settings)
        prompts = [self.ids(self.settings, text) for text in texts]
        pad = tokenizer.pad_token_id
        ids, is_text = left_padded(prompts, pad, self.device)
        mask = is_text.long()
        if self.guidance.guided:
            begin_of_image = tokenizer.convert_tokens_to_ids(tokenizer.boi_token)
            kept = (ids == tokenizer.bos_token_id) | (ids == begin_of_image)
            ids, mask = torch.cat([ids, ids.masked_fill(~kept, pad)]), torch.cat([mask, mask])
        return Conditioning(ids, mask)

    @torch.inference_mode()
    def traverse(self, conditioning: Conditioning, probe: Probe, noise: Noise) -> Trace:
        """Sample in raster order with preallocated keys and values.

        The prompt is read in one call, and then one code a row and call, each of the same shapes:
        the mask is that of the whole sequence, and the cache knows where it stands. The
        unconditional branch gets the codes of the conditional one.
        """
        guidance = self.guidance
        n_positions = math.prod(self.identity.grid)
        n_prompt = conditioning.ids.shape[1]
        mask = with_room(conditioning.mask, n_positions)
        position_ids = word_positions(mask)
        places = torch.arange(mask.shape[1], device=self.device)
        states = reading(self.language_model, mask)

        def after(embedded: Tensor, position_ids: Tensor) -> Tensor:
            last = states(inputs_embeds=embedded, position_ids=position_ids)
            return guidance.logits(self.head(last))

        def after_code(codes: Tensor, place: Tensor) -> Tensor:
            embedded = self.embed_codes(guidance.rows(codes))[:, None]
            return after(embedded, position_ids.index_select(1, place))

        step = graphed(after_code, self.device)

        @computing(self.settings.precision)
        def next_logits(previous: Tensor | None, position: int) -> Tensor:
            """Logits at a position, from the prompt at first, then from one code a row."""
            if previous is None:
                return after(self.embed_prompt(conditioning.ids), position_ids[:, :n_prompt])
            place = n_prompt + position - 1
            return step(previous, places[place : place + 1])

        return autoregressive.traverse(
            next_logits, n_positions, law=self.law, probe=probe, noise=noise
        )

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of grids (sample, position).

        The decoder is in float32 and gives pixels in [-1, 1]; what lies outside is clamped.
        """
        return to_pixels(self.vqmodel.decode(tokens) / 2 + 0.5)
