"""Infinity (Han et al. 2024, arXiv:2412.04431): the bits of grids of rising side, after a T5 text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from generate.errors import ModelError
from generate.models import t5
from generate.models.base import Card, Family, to_pixels
from generate.models.checkpoint import Checkpoint, Source, fill, load_tensors, refuse_keys
from generate.models.component import Part
from generate.models.precision import Precision, computing
from generate.models.public import Geometry, PublicModel, PublicOptions, grid_sides
from generate.models.recent import Recent
from generate.models.t5 import Conditioning
from generate.networks.infinity import Infinity as Network
from generate.networks.infinity import InfinityConfig, named_as_here
from generate.networks.infinity_tokenizer import UNUSED, InfinityTokenizer
from generate.networks.infinity_tokenizer import named_as_here as tokenizer_as_here
from generate.networks.keys_and_values import KeysAndValues
from generate.networks.lfq import DecoderConfig
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import scales
from generate.traversal.bits import MOST_BITS, BitLaw, tokens_of
from generate.traversal.draw import Noise
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

TEXT_LENGTH = 512
"""Most tokens of a text."""
DOWNSAMPLE = 16
"""Pixels of a side of a cell of the finest grid."""
PUBLISHED = (32, 16, 128)
"""Layers of the published transformer, its heads, and numbers of each."""
BITS = 32
"""Bits of a code of the published tokenizer."""
NETWORK_SIZES = {
    "word_embed.weight",
    "lvl_embed.weight",
    "cfg_uncond",
    "text_proj_for_sos.ca.mat_q",
    "blocks.0.sa.scale_mul_1H11",
    "blocks.0.ffn.fc1.weight",
}
DECODER = "decoder."
TOKENIZER_SIZES = {"decoder.conv_in.weight", "decoder.up.0.block.0.conv1.weight"}
"""Tensors that the sizes of the networks are read off."""


@dataclass(frozen=True)
class InfinityOptions(PublicOptions):
    """Settings of upstream's `infer.sh`, whose `cfg` is `guidance` and whose `tau` is `temperature`.

    `weights` and `tokenizer` are the files without their ending; `scales`, which no tensor tells, are
    the sides of the grids. A code of 32 bits is stored as tokens of `token_bits` bits each, which
    changes no image; temperature and top-p act on the two values of a bit, after guidance.
    """

    checkpoint: str = "FoundationVision/Infinity"
    text_encoder: str = "google/flan-t5-xl"
    weights: str = "infinity_2b_reg"
    tokenizer: str = "infinity_vae_d32reg"
    scales: str = "1,2,4,6,8,12,16,20,24,32,40,48,64"
    token_bits: int = 8
    precision: Precision = "bfloat16"
    guidance: float = 4.0
    temperature: float = 0.5
    top_p: float = 0.97


class Infinity(PublicModel):
    """Infinity-2B at 256 to 1024 pixels: next-scale prediction of bits, T5 text.

    Texts are cut to 512 tokens. Each bit of a code is drawn by itself, given the text and all
    coarser scales. Upstream's top-k, 900, cuts nothing of two values. As there, the head and the
    sums that blocks add to are in float32 whatever the precision.
    """

    family: ClassVar[Family] = "scales"
    Options: ClassVar[type[Any]] = InfinityOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "1024": {"scales": InfinityOptions.scales},
        "512": {"scales": "1,2,4,6,8,12,16,20,24,32"},
        "256": {"scales": "1,2,4,6,8,12,16"},
        "evaluation": {"temperature": 1.0},
    }
    card = Card(
        grids="1x1 to 64x64, 1x1 to 32x32, 1x1 to 16x16",
        codebook_size=256,
        quantizer="bsq",
        licence="MIT; text encoder Apache-2.0",
        parameters=3493,
        download=20.7,
        paper="arXiv:2412.04431",
        operations=115.5,
        verified="logits, bits and pixels equal those recorded of upstream's code",
    )
    sources = (
        Source(
            "checkpoint",
            ("{weights}.safetensors|{weights}.pth", "{tokenizer}.safetensors|{tokenizer}.pth"),
            unused=UNUSED,
            float32=("{tokenizer}.",),
        ),
        t5.TEXT_ENCODER,
    )

    def __init__(self, identity: ModelIdentity, options: InfinityOptions, device: str) -> None:
        super().__init__(identity, options, device)
        checkpoint = self.found["checkpoint"]
        weights, tokenizer = checkpoint.weights
        network = load_network(checkpoint, load_tensors(weights), sides_of(options))
        self.network = network.to(self.device, self.dtype)
        self.network.head.float()
        decoding = load_tokenizer(checkpoint, load_tensors(tokenizer), options)
        self.tokenizer = decoding.to(self.device)
        self.text_encoder = self.component("text_encoder")
        self.law = BitLaw(options.temperature, top_p=options.top_p)
        self.states: Recent[Tensor] = Recent()

    @classmethod
    def parts(cls) -> Mapping[str, Part]:
        """The text encoder; the sizes of the others are read off their weights."""
        return {"text_encoder": t5.part()}

    @classmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: InfinityOptions) -> Geometry:
        """From the shapes of both files, and the options `scales` and `token_bits`; a step is a scale.

        The tokens of all scales lie in one row, those of a code together. As long as the weights are
        not fetched, a code has the bits of the published ones. Raises ModelError where the weights
        are of another network, or the options do not fit them.
        """
        sides = sides_of(options)
        n_bits = BITS
        if not found["checkpoint"].bytes_to_fetch:
            n_bits = _bits_of_a_code(found["checkpoint"], len(sides))
        token_bits = options.token_bits
        if not 1 <= token_bits <= MOST_BITS or n_bits % token_bits:
            raise ModelError(
                f"option 'token_bits' of Infinity is {token_bits}; it must divide the {n_bits} bits of "
                f"a code, and be at most {MOST_BITS}."
            )
        per_code = n_bits // token_bits
        sizes = tuple(per_code * side * side for side in sides)
        pixels = DOWNSAMPLE * sides[-1]
        return Geometry(
            2**token_bits,
            (1, sum(sizes)),
            (pixels, pixels),
            len(sides),
            levels=(2,) * token_bits,
            scales=sizes,
            tokens_per_code=per_code,
        )

    @classmethod
    def keys_and_values(
        cls, found: Mapping[str, Checkpoint], options: InfinityOptions
    ) -> KeysAndValues:
        """Those of all scales, by the shapes of the transformer.

        As long as it is not fetched, it has the layers and heads of the published one.
        """
        sides, checkpoint = sides_of(options), found["checkpoint"]
        if checkpoint.bytes_to_fetch:
            return KeysAndValues(*PUBLISHED, sum(side * side for side in sides))
        tensors = load_tensors(checkpoint.weights[0], device="meta")
        return InfinityConfig.read(_of_network(checkpoint, tensors), sides).kept

    @classmethod
    def text_tokenizer(cls, options: InfinityOptions) -> Any:
        """The T5 tokenizer."""
        return t5.tokenizer(cls.find(options)["text_encoder"].folder)

    @classmethod
    def read(cls, options: InfinityOptions, texts: Sequence[str]) -> list[Reading]:
        """T5 tokens of the texts as they are, EOS included.

        `cut` is whether the whole text has more than 512.
        """
        tokenizer = cls.text_tokenizer(options)
        return [t5.read(tokenizer, text, TEXT_LENGTH) for text in texts]

    @torch.inference_mode()
    def encode_text(self, text: str) -> Tensor:
        """T5 states (token, width) of a text."""
        tokens = self.text_tokenizer(self.settings)(
            text, max_length=TEXT_LENGTH, truncation=True, return_tensors="pt"
        ).to(self.device)
        with computing(self.settings.precision):
            states: Tensor = self.text_encoder(**tokens).last_hidden_state[0]
        return states

    def encode(self, texts: Sequence[str]) -> Conditioning:
        """T5 states of the texts and, when guided, learned states that stand for no text.

        An unconditional row sees as many learned states as its text has tokens, as upstream. A text
        is encoded once and kept; the least recent of 512 goes first.
        """
        return self.conditioned([self.states.of(text, self.encode_text) for text in texts])

    def conditioned(self, states: Sequence[Tensor]) -> Conditioning:
        """Conditioning of text states (token, width), which are padded at the end."""
        rows = list(states)
        if self.guidance.guided:
            rows += [self.network.cfg_uncond[: len(row)] for row in states]
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        padded = pad_sequence(rows, batch_first=True)
        mask = torch.arange(padded.shape[1], device=self.device) < lengths[:, None]
        return Conditioning(padded, mask)

    @torch.inference_mode()
    def traverse(self, conditioning: Conditioning, probe: Probe, noise: Noise) -> Trace:
        """Sample scale by scale with preallocated keys and values.

        The trace has no path: the order is fixed.
        """
        guidance, network, token_bits = self.guidance, self.network, self.settings.token_bits
        with computing(self.settings.precision):
            cache = network.empty_cache(conditioning.states, conditioning.mask)
        n_samples = guidance.n_samples(len(conditioning.states))
        context_of = self.tokenizer.walk(n_samples, self.device)

        @computing(self.settings.precision)
        def scale_logits(previous: Tensor | None, scale: int) -> Tensor:
            context = context_of(previous, scale)
            if context is not None:
                context = guidance.rows(context)
            logits = guidance.logits(network.scale_logits(cache, context, scale))
            return tokens_of(logits, token_bits)

        return scales.traverse(
            scale_logits, self.identity.scales, law=self.law, probe=probe, noise=noise
        )

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of the tokens (sample, position) of all scales.

        The decoder is in float32 and gives pixels in [-1, 1]; what lies outside is clamped.
        """
        return to_pixels(self.tokenizer.decode(tokens.to(self.device)) / 2 + 0.5)


def sides_of(options: InfinityOptions) -> tuple[int, ...]:
    """Sides of the grids of the option `scales`, coarsest first; ModelError where they do not rise.

    >>> sides_of(InfinityOptions(scales="1,2,4"))
    (1, 2, 4)
    """
    return grid_sides("Infinity", options.scales, InfinityOptions.scales)


def _bits_of_a_code(checkpoint: Checkpoint, n_scales: int) -> int:
    """Bits of a code, on which both files agree, if the transformer takes so many scales."""
    weights, tokenizer = checkpoint.weights
    shapes = _of_network(checkpoint, load_tensors(weights, device="meta"))
    decoder = _of_tokenizer(checkpoint, load_tensors(tokenizer, device="meta"))
    n_bits = shapes["word_embed.weight"].shape[1]
    decoded = decoder["decoder.conv_in.weight"].shape[1]
    if decoded != n_bits:
        raise ModelError(
            f"checkpoint '{checkpoint.name}' has codes of {n_bits} bits in {weights.name}, but of "
            f"{decoded} in {tokenizer.name}: name the tokenizer that the weights were trained with."
        )
    most = len(shapes["lvl_embed.weight"])
    if n_scales > most:
        raise ModelError(
            f"option 'scales' of Infinity has {n_scales} sides, but checkpoint '{checkpoint.name}' "
            f"knows {most} scales: leave some out."
        )
    return n_bits


def _of_network(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the names of the transformer; refuses one that does not tell its sizes."""
    named = named_as_here(tensors)
    missing = sorted(NETWORK_SIZES - set(named))
    refuse_keys(checkpoint, "Infinity transformer", "missing_keys", missing)
    return named


def _of_tokenizer(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the names of the tokenizer; refuses one that does not tell its sizes."""
    named = tokenizer_as_here(tensors)
    missing = sorted(TOKENIZER_SIZES - set(named))
    refuse_keys(checkpoint, "Infinity tokenizer", "missing_keys", missing)
    return named


def load_network(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], sides: Sequence[int]
) -> Network:
    """The transformer of a published state dict, strictly.

    Stored tensors that follow from others are left out. Raises ModelError where a tensor is absent
    or unknown.
    """
    named = _of_network(checkpoint, tensors)
    with torch.device("meta"):
        network = Network(InfinityConfig.read(named, sides))
    return fill(checkpoint, network, named)


def load_tokenizer(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], options: InfinityOptions
) -> InfinityTokenizer:
    """The decoding half of the tokenizer of a published state dict, strictly, in float32.

    Sizes are read off the tensors. Raises ModelError where a tensor is absent or unknown.
    """
    named = _of_tokenizer(checkpoint, tensors)
    config = DecoderConfig.read({name.removeprefix(DECODER): part for name, part in named.items()})
    with torch.device("meta"):
        network = InfinityTokenizer(config, sides_of(options), options.token_bits)
    exact = {name: tensor.float() for name, tensor in named.items()}
    return fill(checkpoint, network, exact)
