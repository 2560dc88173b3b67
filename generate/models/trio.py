"""The trio: a tokenizer, a transformer in two sets of weights, three traversals and a control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError
from generate.models.base import Card, Family, Model, to_pixels
from generate.models.guidance import Guidance
from generate.provenance import weight_file
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import autoregressive, diffusion, masked
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace
from generate.traversal.transition import absorbing
from generate.trio.captions import PAD, tokenise
from generate.trio.tokenizer import Tokenizer, load_tokenizer
from generate.trio.transformer import GridTransformer, Prefix, load_transformer
from generate.trio.weights import SHIPPED
from schemas.provenance import ModelIdentity

GRID = (8, 8)
N_POSITIONS = GRID[0] * GRID[1]
CODEBOOK_SIZE = 256
IMAGE_SIZE = (32, 32)
START = MASK = CODEBOOK_SIZE
"""One id past the codes: the start token of the causal weights, the mask of the others."""


@dataclass(frozen=True)
class TrioOptions:
    """Sampling settings of every member.

    `guidance` is the scale s of u + s (c - u), so that 1 is the plain conditional; `temperature`
    divides the guided logits.
    """

    guidance: float = 2.0
    temperature: float = 1.0


def _tokens(texts: Sequence[str]) -> NDArray[np.int64]:
    """Caption tokens (text, CAPTION_LENGTH); raises if a text is not of the grammar."""
    try:
        return tokenise(texts)
    except ValueError as error:
        raise ModelError(str(error)) from None


class Trio(Model):
    """What the members share: captions in, guided logits of one transformer, images out.

    A member says which of the two sets of weights it has, and which traversal it takes. Weights are
    shipped, so nothing is fetched.
    """

    weights: ClassVar[str]
    card = Card(grids="8x8", codebook_size=CODEBOOK_SIZE, quantizer="vq")
    Options: ClassVar[type[Any]] = TrioOptions

    def __init__(
        self,
        identity: ModelIdentity,
        options: Any,
        network: GridTransformer,
        tokenizer: Tokenizer,
        device: str,
    ) -> None:
        super().__init__(identity)
        self.settings = options
        self.network = network
        self.tokenizer = tokenizer
        self.device = device
        self.law = TokenLaw(temperature=options.temperature)

    @classmethod
    def steps(cls, options: Any) -> int:
        """Steps of the traversal."""
        return int(getattr(options, "steps", N_POSITIONS))

    @classmethod
    def identify(cls, name: str, options: Any) -> ModelIdentity:
        """The shipped weights with their digests.

        The revision is the first twelve digits of the transformer's digest.
        """
        parts = ("tokenizer", cls.weights)
        files = [weight_file(SHIPPED / f"{part}.safetensors") for part in parts]
        return ModelIdentity(
            model=name,
            family=cls.family,
            revision=files[-1].sha256[:12],
            weights=files,
            codebook_size=CODEBOOK_SIZE,
            grid=GRID,
            image_size=IMAGE_SIZE,
            steps=cls.steps(options),
            options=vars(options),
            quantizer=cls.card.quantizer,
        )

    @classmethod
    def load(cls, identity: ModelIdentity, options: Any, device: str) -> Self:
        """Read the shipped weights; they compute in float32."""
        network = load_transformer(SHIPPED / f"{cls.weights}.safetensors").to(device)
        return cls(identity, options, network, load_tokenizer().to(device), device)

    @classmethod
    def read(cls, options: Any, texts: Sequence[str]) -> list[Reading]:
        """Words of the captions, the start token included; none is cut.

        Raises ModelError for a caption outside the grammar.
        """
        return [Reading(tuple(row[row != PAD].tolist()), cut=False) for row in _tokens(texts)]

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Prefix:
        """Keys and values of the captions, then as many of the empty caption when guided.

        Each distinct caption is computed once. Raises ModelError for a word outside the grammar, or
        for too many words.
        """
        distinct = list(dict.fromkeys(texts))
        rows = [distinct.index(text) for text in texts]
        if self.guidance.guided:
            rows += [len(distinct)] * len(texts)
            distinct.append("")
        ids = torch.from_numpy(_tokens(distinct)).to(self.device)
        return self.network.encode_caption(ids).select(torch.tensor(rows, device=self.device))

    @property
    def guidance(self) -> Guidance:
        """Guidance of a batch; only a scale of 1 needs no unconditional branch."""
        scale = self.settings.guidance
        return Guidance(scale, guided=scale != 1.0)

    def n_samples(self, conditioning: Prefix) -> int:
        """Samples of a batch of conditioning."""
        return self.guidance.n_samples(len(conditioning.mask))

    def grid_logits(self, conditioning: Prefix, tokens: Tensor, step: int) -> Tensor:
        """Guided logits (sample, position, code) of grids (sample, position), MASK where open.

        The trio is not told the step.
        """
        rows = self.guidance.rows(tokens)
        return self.guidance.logits(self.network.grid_logits(conditioning, rows))

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, 32, 32, 3) of grids (sample, 64).

        The tokenizer gives pixels in [0, 1].
        """
        return to_pixels(self.tokenizer.decode(tokens.view(-1, *GRID)))


class TrioAutoregressive(Trio):
    """Causal weights in raster order.

    The only member whose weights were trained for its order; `TrioRaster` is its control.
    """

    family: ClassVar[Family] = "autoregressive"
    weights = "causal"

    @torch.inference_mode()
    def traverse(self, conditioning: Prefix, probe: Probe, noise: Noise) -> Trace:
        """Sample in raster order with cached keys and values, one code a row and step.

        The trace has no path: the order is fixed.
        """
        guidance = self.guidance
        n_samples = self.n_samples(conditioning)
        cache = self.network.empty_cache(conditioning.mask.shape[0])
        start = torch.full((n_samples,), START, device=self.device)

        def next_logits(previous: Tensor | None, position: int) -> Tensor:
            rows = guidance.rows(start if previous is None else previous)
            return guidance.logits(self.network.next_logits(conditioning, cache, rows, position))

        return autoregressive.traverse(
            next_logits, N_POSITIONS, law=self.law, probe=probe, noise=noise
        )


@dataclass(frozen=True)
class MaskedOptions(TrioOptions):
    """Settings of confidence-ordered unmasking.

    The path temperature falls linearly to 0 at the last step, and `path_surprisal` says what is
    recorded of the path: `exact`, `given_candidates` (cheap) or `none`.
    """

    steps: int = 12
    path_temperature: float = 2.0
    path_surprisal: masked.PathSurprisal = "given_candidates"


class TrioMasked(Trio):
    """Any-order weights, most confident candidates first.

    Positions are committed on the cosine schedule, in 12 steps by default.
    """

    family: ClassVar[Family] = "masked"
    weights = "masked"
    Options = MaskedOptions

    @torch.inference_mode()
    def traverse(self, conditioning: Prefix, probe: Probe, noise: Noise) -> Trace:
        """Unmask by confidence on the cosine schedule.

        The path temperature falls linearly from the option to 0 at the last step, where everything
        left is committed.
        """
        steps = self.settings.steps
        return masked.traverse(
            partial(self.grid_logits, conditioning),
            self.n_samples(conditioning),
            N_POSITIONS,
            MASK,
            masked_after=masked.cosine_schedule(N_POSITIONS, steps),
            path_temperature=np.linspace(self.settings.path_temperature, 0.0, steps).tolist(),
            path_surprisal=self.settings.path_surprisal,
            law=self.law,
            probe=probe,
            noise=noise,
            device=self.device,
        )


@dataclass(frozen=True)
class DiffusionOptions(TrioOptions):
    """Settings of the absorbing diffusion.

    The time at which a position is revealed is uniform over the `steps`.
    """

    steps: int = 12


class TrioDiffusion(Trio):
    """The same any-order weights, revealed at random times.

    Tokens are never revised, and which are revealed next does not depend on what they are, so the
    path says nothing about them.
    """

    family: ClassVar[Family] = "diffusion"
    weights = "masked"
    Options = DiffusionOptions

    @torch.inference_mode()
    def traverse(self, conditioning: Prefix, probe: Probe, noise: Noise) -> Trace:
        """Denoise from an all-MASK grid on the absorbing schedule.

        The network is not told the time, as it was trained for any set of open positions.
        """
        return diffusion.traverse(
            partial(self.grid_logits, conditioning),
            self.n_samples(conditioning),
            N_POSITIONS,
            CODEBOOK_SIZE,
            schedule=absorbing(self.settings.steps),
            law=self.law,
            probe=probe,
            noise=noise,
            device=self.device,
        )


class TrioRaster(Trio):
    """The any-order weights in raster order: a control for the causal weights.

    What differs from `TrioAutoregressive` is the weights alone, what differs from `TrioMasked` the
    order alone.
    """

    family: ClassVar[Family] = "autoregressive"
    weights = "masked"

    @torch.inference_mode()
    def traverse(self, conditioning: Prefix, probe: Probe, noise: Noise) -> Trace:
        """Sample in raster order, the rest of the grid masked.

        The whole grid is computed at every step, and one position of it is used.
        """
        grid = torch.full((self.n_samples(conditioning), N_POSITIONS), MASK, device=self.device)

        def next_logits(previous: Tensor | None, position: int) -> Tensor:
            if previous is not None:
                grid[:, position - 1] = previous
            return self.grid_logits(conditioning, grid, position)[:, position]

        return autoregressive.traverse(
            next_logits, N_POSITIONS, law=self.law, probe=probe, noise=noise
        )
