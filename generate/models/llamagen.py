"""LlamaGen text-to-image (Sun et al. 2024, arXiv:2406.06525): codes in raster order after a T5 caption."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.models.base import Card, Family, to_pixels
from generate.models.captions import clean_caption
from generate.models.checkpoint import Checkpoint, Source, fill, load_tensors, refuse_keys
from generate.models.public import Dtype, Geometry, PublicModel, PublicOptions
from generate.networks.llamagen import LlamaGen as Network
from generate.networks.llamagen import LlamaGenConfig
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import autoregressive
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

CAPTION_LENGTH = 120
DOWNSAMPLE = 16


@dataclass(frozen=True)
class LlamaGenOptions(PublicOptions):
    """Settings of upstream's `sample_t2i.py`.

    `weights` is the file of the transformer without its ending, `heads` its number of heads (20 for GPT-XL), which
    no tensor tells; `top_k` = 0 is no cut.
    """

    checkpoint: str = "peizesun/llamagen_t2i"
    text_encoder: str = "google/flan-t5-xl"
    weights: str = "t2i_XL_stage1_256"
    tokenizer: str = "vq_ds16_t2i"
    heads: int = 20
    image_size: int = 256
    dtype: Dtype = "bfloat16"
    guidance: float = 7.5
    temperature: float = 1.0
    top_k: int = 1000
    top_p: float = 1.0


@dataclass(frozen=True)
class Conditioning:
    """Text states and which of them are text: rows of the texts, then as many unconditional ones when guided."""

    states: Tensor  # (row, caption token, width)
    mask: Tensor  # (row, caption token) bool


class LlamaGen(PublicModel):
    """LlamaGen-XL 256 and 512: GPT over VQ-GAN tokens, T5 text."""

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
        licence="MIT (code)",
        parameters=2073,
        paper="arXiv:2406.06525",
    )
    sources = (
        Source(
            "checkpoint",
            ("{weights}.safetensors|{weights}.pt", "{tokenizer}.safetensors|{tokenizer}.pt"),
        ),
        Source(
            "text_encoder",
            (
                "config.json",
                "model.safetensors|model-*-of-*.safetensors|pytorch_model.bin|pytorch_model-*-of-*.bin",
                "tokenizer.json|spiece.model",
                "*.json",
            ),
            unused=("decoder.", "lm_head."),
        ),
    )

    def __init__(self, identity: ModelIdentity, options: LlamaGenOptions, device: str) -> None:
        from transformers import T5EncoderModel

        super().__init__(identity, options, device)
        checkpoint = self.found["checkpoint"]
        weights, tokenizer = checkpoint.weights
        self.network = load_network(checkpoint, load_tensors(weights), options).to(
            self.device, self.dtype
        )
        self.step = self.compiled(self.network.next_logits)
        self.vqvae = load_tokenizer(checkpoint, load_tensors(tokenizer), identity.grid[0]).to(
            self.device
        )
        self.text_encoder = self.component(T5EncoderModel, "", source="text_encoder")
        self.law = TokenLaw(options.temperature, options.top_k or None, options.top_p)
        self.encode_text = functools.lru_cache(maxsize=512)(self._encode_text)

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: LlamaGenOptions) -> Geometry:
        """From the option `image_size`, as no tensor depends on the grid, and the shape of the code embeddings."""
        shapes = load_tensors(found["checkpoint"].weights[0], device="meta")
        if "tok_embeddings.weight" not in shapes:
            refuse_keys(
                found["checkpoint"],
                "LlamaGen transformer",
                "missing_keys",
                ["tok_embeddings.weight"],
            )
        codebook_size = len(shapes["tok_embeddings.weight"])
        side = options.image_size // DOWNSAMPLE
        size = (options.image_size, options.image_size)
        return Geometry(codebook_size, (side, side), size, side * side)

    @classmethod
    @functools.cache
    def text_tokenizer(cls, options: LlamaGenOptions) -> Any:
        """The T5 tokenizer."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(
            cls.find(options)["text_encoder"].folder, local_files_only=True
        )

    @classmethod
    def read(cls, options: LlamaGenOptions, texts: Sequence[str]) -> list[Reading]:
        """T5 tokens of the cleaned captions, EOS included."""
        tokenizer = cls.text_tokenizer(options)
        whole = [tokenizer(clean_caption(text), verbose=False).input_ids for text in texts]
        kept = [
            tokenizer(clean_caption(text), max_length=CAPTION_LENGTH, truncation=True).input_ids
            for text in texts
        ]
        return [
            Reading(tuple(ids), cut=len(all_) > CAPTION_LENGTH)
            for ids, all_ in zip(kept, whole, strict=True)
        ]

    @torch.inference_mode()
    def _encode_text(self, text: str) -> tuple[Tensor, Tensor]:
        """T5 states (caption token, width) of a cleaned caption, moved to the right, zeros before it; their mask."""
        tokens = self.text_tokenizer(self.settings)(
            clean_caption(text),
            max_length=CAPTION_LENGTH,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).to(self.device)
        mask = tokens.attention_mask[0].bool()
        states = self.text_encoder(**tokens).last_hidden_state[0] * mask[:, None]
        n_padding = int((~mask).sum())
        return states.roll(n_padding, dims=0), mask.flip(0)

    def encode(self, texts: Sequence[str]) -> Conditioning:
        """Text states; an unconditional row sees as many learned states as its own text has tokens."""
        states, masks = (
            torch.stack(part) for part in zip(*map(self.encode_text, texts), strict=True)
        )
        if self.guided:
            nothing = self.network.cls_embedding.uncond_embedding.expand_as(states)
            states, masks = torch.cat([states, nothing]), torch.cat([masks, masks])
        return Conditioning(states, masks)

    @torch.inference_mode()
    def traverse(self, conditioning: Conditioning, probe: Probe, noise: Noise) -> Trace:
        """Sample in raster order with preallocated keys and values."""
        cache = self.network.empty_cache(conditioning.mask)
        positions = torch.arange(self.identity.steps, device=self.device)

        def next_logits(previous: Tensor | None, position: int) -> Tensor:
            if previous is None:
                logits = self.network.prefill(conditioning.states, cache)
            else:
                logits = self.step(self.both(previous), positions[position - 1 : position], cache)
            return self.guided_logits(logits, self.settings.guidance)

        return autoregressive.traverse(
            next_logits, self.identity.steps, law=self.law, probe=probe, noise=noise
        )

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """Images of grids."""
        return to_pixels(self.vqvae.decode(tokens) / 2 + 0.5)


def load_network(
    checkpoint: Checkpoint, tensors: dict[str, Tensor], options: LlamaGenOptions
) -> Network:
    """The transformer of a state dict, strictly; a stored rotation table is not needed."""
    tensors.pop("freqs_cis", None)
    needed = {
        "tok_embeddings.weight",
        "cls_embedding.uncond_embedding",
        "layers.0.feed_forward.w1.weight",
    }
    refuse_keys(checkpoint, "LlamaGen transformer", "missing_keys", sorted(needed - set(tensors)))
    config = LlamaGenConfig.read(
        tensors, heads=options.heads, side=options.image_size // DOWNSAMPLE
    )
    with torch.device("meta"):
        network = Network(config)
    return fill(checkpoint, network, tensors)


def load_tokenizer(checkpoint: Checkpoint, tensors: dict[str, Tensor], side: int) -> Any:
    """LlamaGen's VQ-16, which is Janus' tokenizer under other names, strictly; sizes are read off the tensors."""
    from transformers import JanusVQVAE, JanusVQVAEConfig

    tensors = {
        _janus_name(key): tensor
        for key, tensor in tensors.items()
        if key != "quantize.codebook_used"
    }
    needed = {"quantize.embedding.weight", "encoder.conv_in.weight", "post_quant_conv.weight"}
    refuse_keys(checkpoint, "LlamaGen tokenizer", "missing_keys", sorted(needed - set(tensors)))
    base = len(tensors["encoder.conv_in.weight"])
    first_blocks = [
        key for key in tensors if re.fullmatch(r"encoder\.down\.\d+\.block\.0\.conv2\.weight", key)
    ]
    widths = [
        len(tensors[f"encoder.down.{level}.block.0.conv2.weight"])
        for level in range(len(first_blocks))
    ]
    config = JanusVQVAEConfig(
        embed_dim=tensors["quantize.embedding.weight"].shape[1],
        num_embeddings=tensors["quantize.embedding.weight"].shape[0],
        latent_channels=tensors["post_quant_conv.weight"].shape[0],
        base_channels=base,
        channel_multiplier=[width // base for width in widths],
        num_res_blocks=sum(
            bool(re.fullmatch(r"encoder\.down\.0\.block\.\d+\.conv1\.weight", key))
            for key in tensors
        ),
        num_patches=side,
    )
    with torch.device("meta"):
        network = JanusVQVAE(config)
    return fill(checkpoint, network, {key: tensor.float() for key, tensor in tensors.items()})


def _janus_name(key: str) -> str:
    """The name that a tensor of LlamaGen's tokenizer has in JanusVQVAE."""
    key = key.replace(".conv_blocks.", ".down." if key.startswith("encoder.") else ".up.").replace(
        ".res.", ".block."
    )
    for number, name in enumerate(("block_1", "attn_1", "block_2")):
        key = key.replace(f".mid.{number}.", f".mid.{name}.")
    return key
