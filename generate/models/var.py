"""VAR (Tian et al. 2024, arXiv:2404.02905): grids of rising side for a class of ImageNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError
from generate.models.base import Card, Family, to_pixels
from generate.models.checkpoint import Checkpoint, Source, fill, load_tensors, matching, refuse_keys
from generate.models.class_names import class_of
from generate.models.guidance import Guidance
from generate.models.precision import computing
from generate.models.public import Geometry, PublicModel, PublicOptions, grid_sides
from generate.networks.keys_and_values import KeysAndValues
from generate.networks.var import DERIVED, Var, VarConfig
from generate.networks.var_tokenizer import UNUSED, VarTokenizer, named_as_here
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import scales
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

DOWNSAMPLE = 16
"""Pixels of a side of a cell of the finest grid."""
NETWORK_SIZES = {
    "head.weight",
    "class_emb.weight",
    "word_embed.weight",
    "pos_1LC",
    "blocks.0.ffn.fc1.weight",
    "blocks.0.attn.scale_mul_1H11",
}
TOKENIZER_SIZES = {
    "quantize.embedding.weight",
    "decoder.conv_in.weight",
    "decoder.up.0.block.0.conv1.weight",
}
"""Tensors that the sizes of the networks are read off."""


@dataclass(frozen=True)
class VarOptions(PublicOptions):
    """Settings of upstream's figures of merit: `cfg` 1.5, top-k 900, top-p .96.

    `weights` and `tokenizer` are the files without their ending; `scales`, which no tensor tells, are
    the sides of the grids (upstream's `pn`). `guidance` is that of the finest scale: it
    rises from 1 at the coarsest in equal steps, and upstream's `cfg` is one less. `top_k` = 0 is no
    cut.
    """

    checkpoint: str = "FoundationVision/var"
    weights: str = "var_d16"
    tokenizer: str = "vae_ch160v4096z32"
    scales: str = "1,2,3,4,5,6,8,10,13,16"
    guidance: float = 2.5
    temperature: float = 1.0
    top_k: int = 900
    top_p: float = 0.96


class VAR(PublicModel):
    """VAR d16 to d30 at 256 pixels and d36 at 512: next-scale prediction, an ImageNet class a prompt.

    A prompt is the name of a class, or its number. Guidance rises from scale to scale; temperature,
    top-k and top-p act after it. Upstream samples under autocast to float16. Figures of the card are
    those of d16, by upstream's classes at their published sizes.
    """

    family: ClassVar[Family] = "scales"
    Options: ClassVar[type[Any]] = VarOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "d16": {"weights": "var_d16"},
        "d20": {"weights": "var_d20"},
        "d24": {"weights": "var_d24"},
        "d30": {"weights": "var_d30"},
        "d36-512": {"weights": "var_d36", "scales": "1,2,3,4,6,9,13,18,24,32"},
        "pictures": {"guidance": 5.0, "top_p": 0.95},
    }
    card = Card(
        grids="1x1 to 16x16, 1x1 to 32x32",
        codebook_size=4096,
        quantizer="vq",
        licence="MIT",
        parameters=375,
        download=1.7,
        paper="arXiv:2404.02905",
        verified="logits, tokens and pixels equal those recorded of upstream's code",
    )
    sources = (
        Source(
            "checkpoint",
            ("{weights}.safetensors|{weights}.pth", "{tokenizer}.safetensors|{tokenizer}.pth"),
            unused=UNUSED,
            float32=("{tokenizer}.",),
        ),
    )

    def __init__(self, identity: ModelIdentity, options: VarOptions, device: str) -> None:
        super().__init__(identity, options, device)
        checkpoint = self.found["checkpoint"]
        weights, tokenizer = checkpoint.weights
        sides = sides_of(options)
        network = load_network(checkpoint, load_tensors(weights), sides)
        self.network = network.to(self.device, self.dtype)
        self.tokenizer = load_tokenizer(checkpoint, load_tensors(tokenizer), sides).to(self.device)
        self.law = TokenLaw(options.temperature, options.top_k or None, options.top_p)

    @classmethod
    def scale_sizes(cls, options: VarOptions) -> list[int]:
        """Positions of each scale, coarsest first.

        The squares of the option `scales`. Raises ModelError where these are no rising sides.
        """
        return [side * side for side in sides_of(options)]

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: VarOptions) -> Geometry:
        """From the shape of the head, and the option `scales`; a step is a scale.

        The positions of all scales lie in one row. As long as the weights are not fetched, the
        codebook is that of the published ones. Raises ModelError where the weights are of another
        network or of other scales.
        """
        sizes = cls.scale_sizes(options)
        codebook_size = cls.card.codebook_size or 0
        if not found["checkpoint"].bytes_to_fetch:
            codebook_size = _codebook_size(found["checkpoint"], sum(sizes))
        side = DOWNSAMPLE * sides_of(options)[-1]
        grid = (1, sum(sizes))
        return Geometry(codebook_size, grid, (side, side), len(sizes), scales=tuple(sizes))

    @classmethod
    def keys_and_values(
        cls, found: Mapping[str, Checkpoint], options: VarOptions
    ) -> KeysAndValues | None:
        """Those of all scales, by the shapes of the transformer; None until it is here.

        No file tells them before: the name of the weights alone says how deep they are.
        """
        checkpoint = found["checkpoint"]
        if checkpoint.bytes_to_fetch:
            return None
        tensors = load_tensors(checkpoint.weights[0], device="meta")
        return VarConfig.read(tensors, sides_of(options)).kept

    @classmethod
    def read(cls, options: VarOptions, texts: Sequence[str]) -> list[Reading]:
        """The number of the class that each text names.

        Nothing is cut. Raises ModelError for a text that names none.
        """
        return [Reading((class_of(text),), cut=False) for text in texts]

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Numbers of the classes (row,) int64, then as many of no class when guided.

        Raises ModelError for a text that names none.
        """
        named = [class_of(text) for text in texts]
        if self.guidance.guided:
            named += [self.network.config.classes] * len(texts)
        return torch.tensor(named, device=self.device)

    def guidance_at(self, scale: int) -> Guidance:
        """Guidance of a scale, from 0: of strength 1 at the coarsest, the option's at the finest.

        Upstream rises in equal steps between them.
        """
        finest = len(self.network.config.scales) - 1
        strength = 1 + (self.settings.guidance - 1) * scale / finest
        return Guidance(strength, self.guidance.guided)

    @torch.inference_mode()
    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        """Sample scale by scale with preallocated keys and values.

        The trace has no path: the order is fixed.
        """
        network, sizes = self.network, self.network.config.sizes
        with computing(self.settings.precision):
            cache = network.empty_cache(conditioning)
        n_samples = self.guidance.n_samples(len(conditioning))
        context_of = self.tokenizer.walk(n_samples, self.device)

        @computing(self.settings.precision)
        def scale_logits(previous: Tensor | None, scale: int) -> Tensor:
            guidance = self.guidance_at(scale)
            context = context_of(previous, scale)
            if context is not None:
                context = guidance.rows(context)
            return guidance.logits(network.scale_logits(conditioning, cache, context, scale))

        @computing(self.settings.precision)
        def all_logits(tokens: Tensor) -> Tensor:
            contexts = self.guidance.rows(self.tokenizer.contexts(tokens.to(self.device)))
            parts = torch.split(network.all_logits(conditioning, contexts), sizes, dim=1)
            guided = [self.guidance_at(scale).logits(part) for scale, part in enumerate(parts)]
            return torch.cat(guided, 1)

        return scales.traverse(
            scale_logits, sizes, law=self.law, probe=probe, noise=noise, all_logits=all_logits
        )

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of the tokens (sample, position) of all scales.

        The decoder is in float32 and gives pixels in [-1, 1]; what lies outside is clamped.
        """
        return to_pixels(self.tokenizer.decode(tokens.to(self.device)) / 2 + 0.5)


def sides_of(options: VarOptions) -> tuple[int, ...]:
    """Sides of the grids of the option `scales`, coarsest first; ModelError where they do not rise.

    >>> sides_of(VarOptions(scales="1,2,4"))
    (1, 2, 4)
    """
    return grid_sides("VAR", options.scales, VarOptions.scales)


def _codebook_size(checkpoint: Checkpoint, n_positions: int) -> int:
    """Codes that the transformer of a checkpoint gives logits of, if it has so many positions."""
    shapes = load_tensors(checkpoint.weights[0], device="meta")
    missing = sorted(NETWORK_SIZES - set(shapes))
    refuse_keys(checkpoint, "VAR transformer", "missing_keys", missing)
    there = shapes["pos_1LC"].shape[1]
    if there != n_positions:
        raise ModelError(
            f"checkpoint '{checkpoint.name}' has {there} positions in {checkpoint.weights[0].name}, "
            f"but the option 'scales' asks for {n_positions}: name another file, or its scales."
        )
    return len(shapes["head.weight"])


def load_network(checkpoint: Checkpoint, tensors: dict[str, Tensor], sides: Sequence[int]) -> Var:
    """The transformer of a state dict, strictly; stored tensors that follow from the scales are left out.

    Raises ModelError where a tensor is absent or unknown.
    """
    missing = sorted(NETWORK_SIZES - set(tensors))
    refuse_keys(checkpoint, "VAR transformer", "missing_keys", missing)
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(DERIVED)}
    with torch.device("meta"):
        network = Var(VarConfig.read(kept, sides))
    return fill(checkpoint, network, kept)


def load_tokenizer(
    checkpoint: Checkpoint, tensors: dict[str, Tensor], sides: Sequence[int]
) -> VarTokenizer:
    """The decoding half of the tokenizer of a state dict, strictly, in float32.

    Sizes are read off the tensors. Raises ModelError where a tensor is absent or unknown.
    """
    from transformers import JanusVQVAEConfig

    missing = sorted(TOKENIZER_SIZES - set(tensors))
    refuse_keys(checkpoint, "VAR tokenizer", "missing_keys", missing)
    widths: list[int] = []
    while f"decoder.up.{len(widths)}.block.0.conv1.weight" in tensors:
        widths.append(len(tensors[f"decoder.up.{len(widths)}.block.0.conv1.weight"]))
    blocks = matching(tensors, r"decoder\.up\.0\.block\.\d+\.conv1\.weight")
    codes, dim = tensors["quantize.embedding.weight"].shape
    config = JanusVQVAEConfig(
        embed_dim=dim,
        num_embeddings=codes,
        latent_channels=dim,
        base_channels=widths[0],
        channel_multiplier=[width // widths[0] for width in widths],
        num_res_blocks=len(blocks) - 1,
    )
    convolutions = matching(tensors, r"quantize\.quant_resi\.qresi_ls\.\d+\.weight")
    with torch.device("meta"):
        network = VarTokenizer(config, sides, len(convolutions))
    named = {name: tensor.float() for name, tensor in named_as_here(tensors).items()}
    return fill(checkpoint, network, named)
