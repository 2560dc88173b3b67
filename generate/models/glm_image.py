"""GLM-Image (Z.ai 2026): a language model writes codes of two grids, a diffusion decoder draws them."""

from __future__ import annotations

import functools
import math
import re
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
from generate.study.noise import normals
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import autoregressive
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

PIXELS = 32
"""Pixels along a side of a position of the large grid."""
PREVIEW = 16
"""Positions along a side of the preview, whatever the size of a square image."""
PROMPT = "{text}<sop>{side} {side}<eop><sop>{preview} {preview}<eop><|dit_token_16384|>"
"""The prompt of transformers' processor: the text, both grids, and the begin of an image."""
QUOTED = re.compile(
    r"(?<!\w)'[^']+'(?!\w)"  # no apostrophes within words, which upstream takes for marks, too
    '|"[^"]+"|\u201c[^\u201c\u201d]+\u201d|\u300c[^\u300c\u300d]+\u300d'
)
"""What is to stand in the image as writing: diffusers' pipeline tells its decoder."""


@dataclass(frozen=True)
class GlmImageOptions(PublicOptions):
    """Settings of the published files and of diffusers' pipeline.

    `temperature`, `top_p` and `top_k` (0 is no cut) are of the codes; `decoder_steps` and
    `decoder_guidance` of the diffusion that draws them. `precision` is that of the diffusion
    decoder, too; the VAE after it stays in float32. No file tells `image_size`, pixels of a side.
    """

    checkpoint: str = "zai-org/GLM-Image"
    precision: Precision = "bfloat16"
    temperature: float = 0.9
    top_p: float = 0.75
    top_k: int = 0
    image_size: int = 1024
    decoder_steps: int = 50
    decoder_guidance: float = 1.5


class GlmImage(PublicModel):
    """GLM-Image: GLM-4-9B writes codes of a preview and of the image, a DiT of 7B draws the image.

    The preview (16x16) comes first and is a grid of its own: the image's codes follow from it, so
    its bits are bits of the route, but the decoder does not see it. The decoder starts from normal
    latents, which are the rendering noise, and takes 5,800 TFLOP an image beside those of the card.
    What a text quotes would pass the tokens by on its way into the decoder: such texts are refused.
    The law of a code leaves the 128 words out that are none, which upstream could draw. Figures of
    the card are counted here, from published descriptions; that of the VAE is CogView4's.
    """

    family: ClassVar[Family] = "autoregressive"
    Options: ClassVar[type[Any]] = GlmImageOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "1024": {"image_size": 1024},
        "512": {"image_size": 512},
        "readme": {"decoder_steps": 30},
    }
    card = Card(
        grids="16x16 + 32x32",
        codebook_size=16384,
        quantizer="vq-l2",
        licence="MIT; ViT and VQ weights Apache-2.0",
        parameters=16474,
        download=35.4,
        paper="https://z.ai/blog/glm-image",
        operations=22.6,
        verified="tokens and pixels equal those of transformers' and diffusers' GLM-Image",
    )
    sources = (
        Source(
            "checkpoint",
            (
                "vision_language_encoder/config.json",
                "vision_language_encoder/model.safetensors"
                "|vision_language_encoder/model-*-of-*.safetensors",
                "processor/tokenizer.json",
                "processor/tokenizer_config.json",
                "text_encoder/config.json",
                "text_encoder/model.safetensors|text_encoder/model-*-of-*.safetensors",
                "transformer/config.json",
                "transformer/diffusion_pytorch_model.safetensors"
                "|transformer/diffusion_pytorch_model-*-of-*.safetensors",
                "vae/config.json",
                "vae/diffusion_pytorch_model.safetensors",
                "scheduler/scheduler_config.json",
            ),
            unused=("model.visual.", "model.vqmodel."),
            float32=("vae/",),
        ),
    )

    @classmethod
    def parts(cls) -> Mapping[str, Part]:
        """Language model, encoder of quoted writing, diffusion transformer and VAE."""
        from diffusers import AutoencoderKL, GlmImageTransformer2DModel
        from transformers import GlmImageForConditionalGeneration, T5EncoderModel

        return {
            "language_model": Part(GlmImageForConditionalGeneration, "vision_language_encoder"),
            "text_encoder": Part(T5EncoderModel, "text_encoder"),
            "transformer": Part(
                GlmImageTransformer2DModel,
                "transformer",
                keys=("attention_head_dim", "num_attention_heads"),
            ),
            "vae": Part(AutoencoderKL, "vae", keys=("latents_mean", "latents_std")),
        }

    def __init__(self, identity: ModelIdentity, options: GlmImageOptions, device: str) -> None:
        super().__init__(identity, options, device)
        checkpoint = self.found["checkpoint"]
        unused = self.sources[0].unused
        network = load(self.parts()["language_model"], checkpoint, dtype="auto", unused=unused)
        self.language_model = network.model.language_model.to(self.device, self.dtype)
        self.head = network.lm_head.weight[: identity.codebook_size].to(self.device, self.dtype)
        self.law = TokenLaw(options.temperature, options.top_k or None, options.top_p)
        self.offsets = torch.cat([within(PREVIEW), PREVIEW + within(self.side)], 1).to(self.device)
        self.pipeline = self.decoder()
        self.writing = self.no_writing()

    @property
    def side(self) -> int:
        """Positions along a side of the large grid."""
        return math.isqrt(self.identity.scales[1])

    def decoder(self) -> Any:
        """The pipeline of diffusers without its language model: it draws codes that it is given."""
        from diffusers import FlowMatchEulerDiscreteScheduler, GlmImagePipeline

        kind: Any = GlmImagePipeline
        scheduler: Any = FlowMatchEulerDiscreteScheduler
        schedule = self.found["checkpoint"].json("scheduler/scheduler_config.json")
        pipeline = kind(
            tokenizer=None,
            processor=None,
            text_encoder=None,
            vision_language_encoder=None,
            vae=self.component("vae", torch.float32),
            transformer=self.component("transformer"),
            scheduler=scheduler.from_config(schedule),
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    @torch.inference_mode()
    def no_writing(self) -> Tensor:
        """What the decoder is told where a text quotes nothing, (1, 1, channel)."""
        encoder = self.component("text_encoder")
        ids = torch.tensor([[encoder.config.eos_token_id]], device=self.device)
        states: Tensor = encoder(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return states

    @classmethod
    def config(cls, checkpoint: Checkpoint) -> Any:
        """The description of the language model and its tokenizer of images."""
        from transformers import GlmImageConfig

        settings = settings_of(cls.parts()["language_model"], checkpoint)
        return GlmImageConfig.from_dict(dict(settings))

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: GlmImageOptions) -> Geometry:
        """From the networks' descriptions and the option `image_size`; one step a position.

        Raises ModelError where the networks are not of one codebook, or of other positions.
        """
        checkpoint, parts = found["checkpoint"], cls.parts()
        described = cls.config(checkpoint)
        codes: Any = described.vq_config
        words: Any = described.text_config
        decoder = settings_of(parts["transformer"], checkpoint)
        n_codes: int = codes.num_embeddings
        told = (decoder["prior_vq_quantizer_codebook_size"], described.image_start_token_id)
        if told != (n_codes, n_codes) or words.vision_vocab_size < n_codes:
            raise ModelError(
                f"checkpoint '{checkpoint.name}' has {n_codes} codes, but its decoder {told[0]}, its "
                f"head {words.vision_vocab_size} words, and word {told[1]} begins an image: fetch it "
                "again, or name another."
            )
        levels = len(settings_of(parts["vae"], checkpoint)["block_out_channels"])
        pixels = 2 ** (levels - 1) * decoder["patch_size"] * 2
        if pixels != PIXELS:
            raise ModelError(
                f"checkpoint '{checkpoint.name}' draws {pixels} pixels a position, not {PIXELS}: fetch "
                "it again, or name another."
            )
        side = grid_side("GLM-Image", options.image_size, PIXELS)
        scales = (PREVIEW**2, side**2)
        n_positions = sum(scales)
        size = (options.image_size, options.image_size)
        return Geometry(n_codes, (1, n_positions), size, n_positions, scales=scales, rendering=True)

    @classmethod
    def guidance_of(cls, options: GlmImageOptions) -> Guidance:
        """Guidance of a batch: none.

        The option of that name is of the decoder alone.
        """
        return Guidance(1.0, guided=False)

    @classmethod
    def keys_and_values(
        cls, found: Mapping[str, Checkpoint], options: GlmImageOptions
    ) -> KeysAndValues:
        """Those of both grids, by the description of the language model.

        The prompt has as many more as it has words.
        """
        text: Any = cls.config(found["checkpoint"]).text_config
        return kept(text, cls.geometry(found, options).n_positions)

    @classmethod
    @functools.cache
    def tokenizer(cls, options: GlmImageOptions) -> Any:
        """The tokenizer of a checkpoint."""
        from transformers import PreTrainedTokenizerFast

        folder = cls.find(options)["checkpoint"].folder / "processor"
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)

    @classmethod
    def ids(cls, options: GlmImageOptions, text: str) -> list[int]:
        """Ids of the image prompt of a text, which is never cut.

        Raises ModelError for a text that quotes something, and if the tokenizer does not put the
        begin of an image last.
        """
        quoted = QUOTED.search(text)
        if quoted:
            raise ModelError(
                f"text {text!r} quotes {quoted[0]!r}, which the decoder of GLM-Image would be told to "
                "write, but here it sees tokens alone: leave the quotation marks out."
            )
        side = options.image_size // PIXELS
        prompt = PROMPT.format(text=text, side=side, preview=PREVIEW)
        found: list[int] = cls.tokenizer(options)(prompt).input_ids
        checkpoint = cls.find(options)["checkpoint"]
        begin = settings_of(cls.parts()["language_model"], checkpoint)["image_start_token_id"]
        if found[-1] != begin:
            raise ModelError(
                f"the tokenizer of checkpoint '{options.checkpoint}' puts {found[-1]} last in an image "
                f"prompt, not the begin of an image, {begin}: fetch it again, or name another."
            )
        return found

    @classmethod
    def read(cls, options: GlmImageOptions, texts: Sequence[str]) -> list[Reading]:
        """Ids of the image prompt, which is never cut."""
        return [Reading(tuple(cls.ids(options, text)), cut=False) for text in texts]

    def encode(self, texts: Sequence[str]) -> Conditioning:
        """Padded prompts; the codes are not guided."""
        prompts = [self.ids(self.settings, text) for text in texts]
        ids, is_text = left_padded(prompts, 0, self.device)
        return Conditioning(ids, is_text.long())

    def places(self, mask: Tensor) -> Tensor:
        """Positions (axis, row, place) of prompts and codes on the axes of time, row and column.

        Words lie on the diagonal; a grid starts where what is before it ends, and its codes differ
        in row and column alone.
        """
        of_words = word_positions(mask).expand(3, *mask.shape)
        n_words = mask.sum(1)[None, :, None]
        return torch.cat([of_words, n_words + self.offsets[:, None]], 2)

    @torch.inference_mode()
    def traverse(self, conditioning: Conditioning, probe: Probe, noise: Noise) -> Trace:
        """Sample the preview, then the image, each in raster order, with preallocated keys and values.

        The prompt is read in one call, and then one code a row and call.
        """
        n_positions = sum(self.identity.scales)
        n_prompt = conditioning.ids.shape[1]
        mask = with_room(conditioning.mask, n_positions)
        position_ids = self.places(conditioning.mask)
        places = torch.arange(mask.shape[1], device=self.device)
        states = reading(self.language_model, mask)

        def after(ids: Tensor, position_ids: Tensor) -> Tensor:
            logits: Tensor = states(input_ids=ids, position_ids=position_ids) @ self.head.mT
            return logits.float()

        def after_code(codes: Tensor, place: Tensor) -> Tensor:
            return after(codes[:, None], position_ids.index_select(2, place))

        step = graphed(after_code, self.device)

        @computing(self.settings.precision)
        def next_logits(previous: Tensor | None, position: int) -> Tensor:
            """Logits at a position, from the prompt at first, then from one code a row."""
            if previous is None:
                return after(conditioning.ids, position_ids[:, :, :n_prompt])
            place = n_prompt + position - 1
            return step(previous, places[place : place + 1])

        return autoregressive.traverse(
            next_logits, n_positions, law=self.law, probe=probe, noise=noise
        )

    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of both grids (sample, position), of one noise for all.

        It is that of key 0: a diffusion decoder has no image without noise.
        """
        return self.render(tokens, np.zeros(len(tokens), np.uint64))

    @torch.inference_mode()
    def render(self, tokens: Tensor, keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of both grids (sample, position), one Philox key each.

        The noise is the latents that the diffusion starts from; the preview is left out, and each
        code of the image is that of two by two patches.
        """
        codes = tokens[:, -self.identity.scales[1] :].view(-1, self.side, self.side)
        patches = codes.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1)
        height, width = self.identity.image_size
        channels = self.pipeline.transformer.config.in_channels
        factor = self.pipeline.vae_scale_factor
        shape = (len(keys), channels, height // factor, width // factor)
        latents = torch.from_numpy(normals(keys, math.prod(shape[1:]))).view(shape).float()
        writing = self.writing.expand(len(keys), -1, -1)
        (image,) = self.pipeline(
            prompt_embeds=writing,
            negative_prompt_embeds=writing,
            prior_token_ids=patches.to(self.device),
            latents=latents,
            height=height,
            width=width,
            num_inference_steps=self.settings.decoder_steps,
            guidance_scale=self.settings.decoder_guidance,
            output_type="pt",
            return_dict=False,
        )
        return to_pixels(image)


def within(side: int) -> Tensor:
    """Offsets (axis, position) of the codes of a square grid on the axes of time, row and column.

    >>> within(2).tolist()
    [[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1]]
    """
    position = torch.arange(side * side)
    return torch.stack([torch.zeros_like(position), position // side, position % side])
