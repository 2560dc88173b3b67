"""MaskGIT of ImageNet's classes, as Besnier et al. (2025, arXiv:2503.17076) trained it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError
from generate.models.base import Card, to_pixels
from generate.models.checkpoint import Checkpoint, Source, fill, load_tensors, refuse_keys
from generate.models.class_names import class_of
from generate.models.guidance import Guidance
from generate.models.llamagen import DOWNSAMPLE, load_tokenizer
from generate.models.masked_model import MaskedModel
from generate.models.precision import computing
from generate.models.public import Geometry, PublicOptions, grid_side
from generate.networks.maskgit import MaskGit as Network
from generate.networks.maskgit import MaskGitConfig
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import masked
from generate.traversal.draw import Noise
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

SIZES = {
    "cls_emb.weight",
    "pos_emb.weight",
    "reg_tokens.weight",
    "tok_emb.weight",
    "transformer.layers.0.attn.wq.weight",
    "transformer.layers.0.ff.w1.weight",
}
"""Tensors that the sizes of the network are read off."""
WRAPPERS = ("module.", "_orig_mod.")
"""What training puts into names of tensors."""


@dataclass(frozen=True)
class MaskGitOptions(PublicOptions):
    """Settings of upstream's quick start, which samples in the order `halton`.

    `weights` and `tokenizer` are the files without their ending, `heads` the number of attention
    heads, which no tensor tells, and `image_size` the pixels of a side. Guidance s means
    (1 + s) c - s u, so that 0 is none. Logits are multiplied by a factor that goes from `sharpness`
    at the first step to `last_sharpness` at the last in equal steps. `path_temperature` falls to 0
    likewise, and is of the order `confidence`, which is this model's too unless an experiment names
    another. `path_surprisal` says what is recorded of the path: `exact`, `given_candidates`
    (cheaper) or `none`.
    """

    checkpoint: str = "llvictorll/Halton-MaskGIT"
    image_tokenizer: str = "FoundationVision/LlamaGen"
    weights: str = "ImageNet_384_large"
    tokenizer: str = "vq_ds16_c2i"
    heads: int = 16
    image_size: int = 384
    steps: int = 32
    guidance: float = 2.0
    sharpness: float = 1.0
    last_sharpness: float = 1.2
    path_temperature: float = 4.5
    path_surprisal: masked.PathSurprisal = "exact"


def _preset(name: str, heads: int, guidance: float) -> dict[str, Any]:
    """Settings of one of the published files."""
    size = int(name.split("_")[0])
    return {
        "weights": f"ImageNet_{name}",
        "heads": heads,
        "image_size": size,
        "guidance": guidance,
    }


class MaskGit(MaskedModel):
    """MaskGIT of ImageNet's classes, 256 and 384 pixels, LlamaGen's tokenizer.

    A prompt is the name of a class, or its number. Under the order `halton` of an experiment of kind
    `order` tokens are upstream's, but for the axes: ours runs across where upstream's runs down. The
    law of a code leaves MASK out, which upstream could draw. Upstream's other sampler goes by
    confidence and draws committed tokens again at every step; here they stay, as in MaskGIT (Chang
    et al. 2022). Figures of the card are those of 384-large; guidance of the presets is upstream's
    of its table of FID.
    """

    Options: ClassVar[type[Any]] = MaskGitOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "256-tiny": _preset("256_tiny", 6, 1.5),
        "256-small": _preset("256_small", 6, 1.0),
        "256-base": _preset("256_base", 12, 0.7),
        "384-small": _preset("384_small", 6, 1.0),
        "384-base": _preset("384_base", 12, 0.7),
        "384-large": _preset("384_large", 16, 0.5),
    }
    card = Card(
        grids="16x16, 24x24",
        codebook_size=16384,
        quantizer="vq-l2",
        licence="MIT",
        parameters=552,
        download=2.2,
        paper="arXiv:2503.17076",
        operations=26.1,
        verified="logits and tokens equal those recorded of upstream's code; the decoder is llamagen's",
    )
    sources = (
        Source("checkpoint", ("{weights}.safetensors|{weights}.pth",)),
        Source(
            "image_tokenizer",
            ("{tokenizer}.safetensors|{tokenizer}.pt",),
            float32=("",),
        ),
    )

    def __init__(self, identity: ModelIdentity, options: MaskGitOptions, device: str) -> None:
        super().__init__(identity, options, device)
        checkpoint, images = self.found["checkpoint"], self.found["image_tokenizer"]
        tensors = load_tensors(checkpoint.weights[0])
        self.network = load_network(checkpoint, tensors, options).to(self.device, self.dtype)
        self.mask_id = self.network.config.codes
        vqvae = load_tokenizer(images, load_tensors(images.weights[0]), identity.grid[0])
        self.vqvae = vqvae.to(self.device)

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: MaskGitOptions) -> Geometry:
        """From the shapes of the embeddings, and the option `image_size`; steps are the option's.

        As long as the weights are not fetched, the codebook is that of the published ones. Raises
        ModelError where the weights are of another grid, or the image size is no multiple of 16.
        """
        side = grid_side("MaskGit", options.image_size, DOWNSAMPLE)
        codebook_size = cls.card.codebook_size or 0
        if not found["checkpoint"].bytes_to_fetch:
            codebook_size = _codebook_size(found["checkpoint"], side, options)
        size = (options.image_size, options.image_size)
        return Geometry(codebook_size, (side, side), size, options.steps)

    @classmethod
    def open_after(cls, identity: ModelIdentity) -> list[int]:
        """Positions that are left open after each step: those of the arccos schedule."""
        return arccos_schedule(math.prod(identity.grid), identity.steps)

    @classmethod
    def read(cls, options: MaskGitOptions, texts: Sequence[str]) -> list[Reading]:
        """The number of the class that each text names.

        Nothing is cut. Raises ModelError for a text that names none.
        """
        return [Reading((class_of(text),), cut=False) for text in texts]

    @classmethod
    def guidance_of(cls, options: Any) -> Guidance:
        """Guidance of a batch; upstream's number is one less than its scale."""
        return Guidance.beyond(options.guidance)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Numbers of the classes (row,) int64, then as many of no class when guided.

        Raises ModelError for a text that names none.
        """
        named = [class_of(text) for text in texts]
        if self.guidance.guided:
            named += [self.network.config.classes] * len(texts)
        return torch.tensor(named, device=self.device)

    @torch.inference_mode()
    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        """Unmask on the arccos schedule, both branches in one call of the network."""
        settings, guidance = self.settings, self.guidance
        steps = settings.steps
        factors: list[float] = np.linspace(
            settings.sharpness, settings.last_sharpness, steps
        ).tolist()

        @computing(settings.precision)
        def grid_logits(tokens: Tensor, step: int) -> Tensor:
            logits = guidance.logits(self.network(guidance.rows(tokens), conditioning))
            return logits * factors[step]

        path_temperature = np.linspace(settings.path_temperature, 0.0, steps).tolist()
        return self.unmask(
            grid_logits, guidance.n_samples(len(conditioning)), path_temperature, probe, noise
        )

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of grids (sample, position).

        The decoder is in float32 and gives pixels in [-1, 1]; what lies outside is clamped.
        """
        return to_pixels(self.vqvae.decode(tokens) / 2 + 0.5)


def arccos_schedule(n_positions: int, n_steps: int) -> list[int]:
    """Positions still masked after each step: shares 2/pi arccos((k+1)/T), in float32.

    After step k at least k + 1 positions are filled in.

    >>> arccos_schedule(16, 4)
    [14, 11, 8, 0]
    """
    shares = 1.0 - torch.arccos(torch.arange(1, n_steps + 1) / n_steps) / (math.pi / 2)
    filled = (shares * n_positions).int().tolist()
    return [n_positions - max(n, step + 1) for step, n in enumerate(filled)]


def _codebook_size(checkpoint: Checkpoint, side: int, options: MaskGitOptions) -> int:
    """Codes that the transformer of a checkpoint has, if it has so many positions."""
    shapes = renamed(load_tensors(checkpoint.weights[0], device="meta"))
    refuse_keys(checkpoint, "MaskGIT", "missing_keys", sorted(SIZES - set(shapes)))
    config = MaskGitConfig.read(shapes, options.heads)
    if config.positions != side**2:
        raise ModelError(
            f"checkpoint '{checkpoint.name}' has {config.positions} positions in "
            f"{checkpoint.weights[0].name}, but {options.image_size} pixels ask for {side**2}: name "
            "another file, or its image_size."
        )
    if config.inner % options.heads:
        raise ModelError(
            f"option 'heads' of MaskGit is {options.heads}, but the attention of "
            f"{checkpoint.weights[0].name} has {config.inner} numbers, of which it is no divisor."
        )
    return config.codes


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors without what training puts into their names."""
    plain = {}
    for name, tensor in tensors.items():
        for wrapper in WRAPPERS:
            name = name.replace(wrapper, "")
        plain[name] = tensor
    return plain


def load_network(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], options: MaskGitOptions
) -> Network:
    """The transformer of a state dict, strictly.

    Raises ModelError where a tensor is absent or unknown.
    """
    plain = renamed(tensors)
    refuse_keys(checkpoint, "MaskGIT", "missing_keys", sorted(SIZES - set(plain)))
    with torch.device("meta"):
        network = Network(MaskGitConfig.read(plain, options.heads))
    return fill(checkpoint, network, plain)
