"""LlamaGen (Sun et al. 2024, arXiv:2406.06525): codes in raster order after a T5 caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.models import multi_modality, t5
from generate.models.base import Card, Family, to_pixels
from generate.models.captions import clean_caption
from generate.models.checkpoint import Checkpoint, Source, fill, load_tensors, matching, refuse_keys
from generate.models.component import Part
from generate.models.graphed import graphed
from generate.models.precision import Precision, computing
from generate.models.public import Geometry, PublicModel, PublicOptions, grid_side
from generate.models.recent import Recent
from generate.models.t5 import Conditioning
from generate.networks.keys_and_values import KeysAndValues
from generate.networks.llamagen import LlamaGen as Network
from generate.networks.llamagen import LlamaGenConfig
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import autoregressive
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

CAPTION_LENGTH = 120
PUBLISHED = (36, 20, 64)
"""Layers of the published transformer, its heads, and numbers of each."""
DOWNSAMPLE = 16
NETWORK_SIZES = {
    "tok_embeddings.weight",
    "cls_embedding.uncond_embedding",
    "layers.0.feed_forward.w1.weight",
}
TOKENIZER_SIZES = {
    "quantize.embedding.weight",
    "encoder.conv_in.weight",
    "post_quant_conv.weight",
}
"""Tensors that the sizes of the networks are read off."""


@dataclass(frozen=True)
class LlamaGenOptions(PublicOptions):
    """Settings of upstream's `sample_t2i.py`.

    `weights` is the file of the transformer without its ending, `heads` its number of heads (20 for
    GPT-XL), which no tensor tells; `top_k` = 0 is no cut.
    """

    checkpoint: str = "peizesun/llamagen_t2i"
    text_encoder: str = "google/flan-t5-xl"
    weights: str = "t2i_XL_stage1_256"
    tokenizer: str = "vq_ds16_t2i"
    heads: int = 20
    image_size: int = 256
    precision: Precision = "bfloat16"
    guidance: float = 7.5
    temperature: float = 1.0
    top_k: int = 1000
    top_p: float = 1.0


class LlamaGen(PublicModel):
    """LlamaGen-XL 256 and 512: GPT over VQ-GAN tokens, T5 text.

    Captions are cleaned as upstream cleans them (`generate.models.captions`) and cut to 120 tokens.
    Temperature, top-k and top-p act after guidance.
    """

    family: ClassVar[Family] = "autoregressive"
    Options: ClassVar[type[Any]] = LlamaGenOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "256": {"weights": "t2i_XL_stage1_256", "image_size": 256},
        "512": {"weights": "t2i_XL_stage2_512", "image_size": 512},
    }
    card = Card(
        grids="16x16, 32x32",
        codebook_size=16384,
        quantizer="vq-l2",
        licence="MIT; text encoder Apache-2.0",
        parameters=2073,
        download=14.8,
        paper="arXiv:2406.06525",
        operations=1.18,
        verified="logits, tokens and pixels equal those recorded of upstream's code",
        speeds={"bfloat16": 4.9},
    )
    sources = (
        Source(
            "checkpoint",
            ("{weights}.safetensors|{weights}.pt", "{tokenizer}.safetensors|{tokenizer}.pt"),
            float32=("{tokenizer}.",),
        ),
        t5.TEXT_ENCODER,
    )

    @classmethod
    def parts(cls) -> Mapping[str, Part]:
        """The text encoder; the sizes of the others are read off their weights."""
        return {"text_encoder": t5.part()}

    def __init__(self, identity: ModelIdentity, options: LlamaGenOptions, device: str) -> None:
        super().__init__(identity, options, device)
        checkpoint = self.found["checkpoint"]
        weights, tokenizer = checkpoint.weights
        network = load_network(checkpoint, load_tensors(weights), options)
        self.network = network.to(self.device, self.dtype)
        vqvae = load_tokenizer(checkpoint, load_tensors(tokenizer), identity.grid[0])
        self.vqvae = vqvae.to(self.device)
        self.text_encoder = self.component("text_encoder")
        self.law = TokenLaw(options.temperature, options.top_k or None, options.top_p)
        self.states: Recent[tuple[Tensor, Tensor]] = Recent()

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: LlamaGenOptions) -> Geometry:
        """From the shape of the code embeddings, and the option `image_size`.

        No tensor has the grid. One step a position, one position for 16 x 16 pixels. As long as the
        weights are not fetched, the codebook is that of the published ones. Raises ModelError where
        the weights have no code embeddings, or the image size is no multiple of 16.
        """
        side = grid_side("LlamaGen", options.image_size, DOWNSAMPLE)
        codebook_size = cls.card.codebook_size or 0
        if not found["checkpoint"].bytes_to_fetch:
            codebook_size = _codebook_size(found["checkpoint"])
        size = (options.image_size, options.image_size)
        return Geometry(codebook_size, (side, side), size, side * side)

    @classmethod
    def keys_and_values(
        cls, found: Mapping[str, Checkpoint], options: LlamaGenOptions
    ) -> KeysAndValues:
        """Those of caption and image, by the shapes of the transformer.

        As long as it is not fetched, it has the layers and heads of the published one.
        """
        side, checkpoint = options.image_size // DOWNSAMPLE, found["checkpoint"]
        if checkpoint.bytes_to_fetch:
            return KeysAndValues(*PUBLISHED, CAPTION_LENGTH + side * side)
        tensors = load_tensors(checkpoint.weights[0], device="meta")
        return LlamaGenConfig.read(tensors, heads=options.heads, side=side).kept

    @classmethod
    def text_tokenizer(cls, options: LlamaGenOptions) -> Any:
        """The T5 tokenizer."""
        return t5.tokenizer(cls.find(options)["text_encoder"].folder)

    @classmethod
    def read(cls, options: LlamaGenOptions, texts: Sequence[str]) -> list[Reading]:
        """T5 tokens of the cleaned captions, EOS included.

        `cut` is whether the whole caption has more than 120. Texts that differ only in what
        cleaning removes read alike.
        """
        tokenizer = cls.text_tokenizer(options)
        return [t5.read(tokenizer, clean_caption(text), CAPTION_LENGTH) for text in texts]

    @torch.inference_mode()
    def encode_text(self, text: str) -> tuple[Tensor, Tensor]:
        """T5 states (caption token, width) of a cleaned caption and their mask, (caption token,).

        States are moved to the right, with zeros before them.
        """
        tokens = self.text_tokenizer(self.settings)(
            clean_caption(text),
            max_length=CAPTION_LENGTH,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).to(self.device)
        mask = tokens.attention_mask[0].bool()
        with computing(self.settings.precision):
            states = self.text_encoder(**tokens).last_hidden_state[0] * mask[:, None]
        n_padding = int((~mask).sum())
        return states.roll(n_padding, dims=0), mask.flip(0)

    def encode(self, texts: Sequence[str]) -> Conditioning:
        """T5 states of the texts and, when guided, learned states that stand for no text.

        An unconditional row sees as many learned states as its text has tokens, as upstream. A text
        is encoded once and kept; the least recent of 512 goes first.
        """
        rows = [self.states.of(text, self.encode_text) for text in texts]
        each_states, each_mask = zip(*rows, strict=True)
        states, masks = torch.stack(each_states), torch.stack(each_mask)
        if self.guidance.guided:
            nothing = self.network.cls_embedding.uncond_embedding.expand_as(states)
            states, masks = torch.cat([states, nothing]), torch.cat([masks, masks])
        return Conditioning(states, masks)

    @torch.inference_mode()
    def traverse(self, conditioning: Conditioning, probe: Probe, noise: Noise) -> Trace:
        """Sample in raster order with preallocated keys and values.

        The caption is read in one call, which gives the law of the first code; then comes one code
        a row and call, all of the same shapes.
        """
        guidance = self.guidance
        cache = self.network.empty_cache(conditioning.mask)
        positions = torch.arange(self.identity.steps, device=self.device)

        def after_code(codes: Tensor, place: Tensor) -> Tensor:
            return guidance.logits(self.network.next_logits(guidance.rows(codes), place, cache))

        step = graphed(after_code, self.device)

        @computing(self.settings.precision)
        def next_logits(previous: Tensor | None, position: int) -> Tensor:
            if previous is None:
                return guidance.logits(self.network.prefill(conditioning.states, cache))
            return step(previous, positions[position - 1 : position])

        return autoregressive.traverse(
            next_logits, self.identity.steps, law=self.law, probe=probe, noise=noise
        )

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of grids (sample, position).

        The decoder is in float32 and gives pixels in [-1, 1]; what lies outside is clamped.
        """
        return to_pixels(self.vqvae.decode(tokens) / 2 + 0.5)


def _codebook_size(checkpoint: Checkpoint) -> int:
    """Codes that the transformer of a checkpoint has embeddings of."""
    embeddings = "tok_embeddings.weight"
    shapes = load_tensors(checkpoint.weights[0], device="meta")
    missing = sorted({embeddings} - set(shapes))
    refuse_keys(checkpoint, "LlamaGen transformer", "missing_keys", missing)
    return len(shapes[embeddings])


def load_network(
    checkpoint: Checkpoint, tensors: dict[str, Tensor], options: LlamaGenOptions
) -> Network:
    """The transformer of a state dict, strictly; a stored rotation table is not needed.

    Raises ModelError where a tensor is absent or unknown.
    """
    tensors.pop("freqs_cis", None)
    missing = sorted(NETWORK_SIZES - set(tensors))
    refuse_keys(checkpoint, "LlamaGen transformer", "missing_keys", missing)
    side = options.image_size // DOWNSAMPLE
    config = LlamaGenConfig.read(tensors, heads=options.heads, side=side)
    with torch.device("meta"):
        network = Network(config)
    return fill(checkpoint, network, tensors)


def load_tokenizer(checkpoint: Checkpoint, tensors: dict[str, Tensor], side: int) -> Any:
    """LlamaGen's VQ-16, which is Janus' tokenizer under other names, strictly.

    Sizes are read off the tensors; `side` is that of the grid. Raises ModelError where a tensor is
    absent or unknown.
    """
    from transformers import JanusVQVAE, JanusVQVAEConfig

    tensors = {multi_modality.vq_name(key): tensor.float() for key, tensor in tensors.items()}
    tensors.pop("quantize.codebook_used", None)
    missing = sorted(TOKENIZER_SIZES - set(tensors))
    refuse_keys(checkpoint, "LlamaGen tokenizer", "missing_keys", missing)
    codebook = tensors["quantize.embedding.weight"]
    base = len(tensors["encoder.conv_in.weight"])
    first_blocks = matching(tensors, r"encoder\.down\.\d+\.block\.0\.conv2\.weight")
    multipliers = []
    for level in range(len(first_blocks)):
        width = len(tensors[f"encoder.down.{level}.block.0.conv2.weight"])
        multipliers.append(width // base)
    blocks = matching(tensors, r"encoder\.down\.0\.block\.\d+\.conv1\.weight")
    config = JanusVQVAEConfig(
        embed_dim=codebook.shape[1],
        num_embeddings=codebook.shape[0],
        latent_channels=tensors["post_quant_conv.weight"].shape[0],
        base_channels=base,
        channel_multiplier=multipliers,
        num_res_blocks=len(blocks),
        num_patches=side,
    )
    with torch.device("meta"):
        network = JanusVQVAE(config)
    return fill(checkpoint, network, tensors)
