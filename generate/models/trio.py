"""The trio: a tokenizer, a transformer in two sets of weights, three traversals and a control."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

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
from generate.trio.quantizers import LAB
from generate.trio.stage_tokenizer import draw_images
from generate.trio.tokenizer import Tokenizer, load_tokenizer
from generate.trio.transformer import GridTransformer, Prefix, load_transformer
from generate.trio.weights import SHIPPED, file_name
from schemas.provenance import ModelIdentity

GRID = (8, 8)
N_POSITIONS = GRID[0] * GRID[1]
IMAGE_SIZE = (32, 32)
SCENES_AT_ONCE = 256
VERIFIED = "drawn scenes follow their captions, by the scene network"
"""What the tests hold the shipped weights to: floors under the figures of the model card."""

QuantizerName = Literal["vq", "fsq", "fsq-865", "lfq", "bsq"]
"""The keys of `generate.trio.quantizers.LAB`."""


@dataclass(frozen=True)
class TrioOptions:
    """Sampling settings of every member.

    `guidance` is the scale s of u + s (c - u), so that 1 is the plain conditional; `temperature`
    divides the guided logits. `quantizer` says whose tokens: those of the shipped `vq`, or of one
    of the lab, for which there are any-order weights.
    """

    guidance: float = 2.0
    temperature: float = 1.0
    quantizer: QuantizerName = "vq"


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
    card = Card(
        grids="8x8",
        codebook_size=256,
        quantizer="vq, fsq, lfq, bsq",
        licence="Apache-2.0",
        parameters=1.65,
        verified=VERIFIED,
    )
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

        The revision is the first twelve digits of the transformer's digest. Raises ModelError for a
        quantizer that has no such weights.
        """
        files = [weight_file(path) for path in cls.files(options.quantizer)]
        geometry = LAB[options.quantizer]
        settings = dict(vars(options))
        if settings["quantizer"] == "vq":  # runs from before there were others are of this model
            del settings["quantizer"]
        return ModelIdentity(
            model=name,
            family=cls.family,
            revision=files[-1].sha256[:12],
            weights=files,
            codebook_size=math.prod(geometry.levels),
            levels=list(geometry.levels) if len(geometry.levels) > 1 else [],
            grid=GRID,
            image_size=IMAGE_SIZE,
            steps=cls.steps(options),
            options=settings,
            quantizer=geometry.kind,
        )

    @classmethod
    def files(cls, quantizer: str) -> tuple[Path, Path]:
        """The shipped weights of a quantizer: of the tokenizer, and of the member.

        Raises ModelError, with what there is, where the member has none for it.
        """
        tokenizer, network = [
            SHIPPED / file_name(part, quantizer) for part in ("tokenizer", cls.weights)
        ]
        if not network.is_file():
            raise ModelError(
                f"the {cls.weights} weights of quantizer '{quantizer}' are not shipped: take "
                "trio-mim, trio-diffusion or trio-raster, or quantizer: vq."
            )
        return tokenizer, network

    @classmethod
    def load(cls, identity: ModelIdentity, options: Any, device: str) -> Self:
        """Read the shipped weights; they compute in float32."""
        tokenizer, network = cls.files(options.quantizer)
        transformer = load_transformer(network).to(device)
        return cls(identity, options, transformer, load_tokenizer(tokenizer).to(device), device)

    @property
    def mask(self) -> int:
        """One id past the codes: the start token of the causal weights, the mask of the others."""
        return self.network.config.codes

    @classmethod
    def read(cls, options: Any, texts: Sequence[str]) -> list[Reading]:
        """Words of the captions, the start token included; none is cut.

        Raises ModelError for a caption outside the grammar.
        """
        return [Reading(tuple(row[row != PAD].tolist()), cut=False) for row in _tokens(texts)]

    def codes_of_images(self, n_images: int, seed: int) -> Iterator[NDArray[np.integer[Any]]]:
        """Ids of fresh scenes, all attributes and wordings equally often."""
        for index, start in enumerate(range(0, n_images, SCENES_AT_ONCE)):
            rng = np.random.default_rng([seed, index])
            scenes = draw_images(min(SCENES_AT_ONCE, n_images - start), rng)
            with torch.inference_mode():
                ids = self.tokenizer.encode(scenes.to(self.device)).flatten(1)
            yield ids.cpu().numpy()

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
        """Guided logits (sample, position, code) of grids (sample, position), `mask` where open.

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
    card = replace(Trio.card, quantizer="vq")

    @torch.inference_mode()
    def traverse(self, conditioning: Prefix, probe: Probe, noise: Noise) -> Trace:
        """Sample in raster order with cached keys and values, one code a row and step.

        The trace has no path: the order is fixed.
        """
        guidance = self.guidance
        n_samples = self.n_samples(conditioning)
        cache = self.network.empty_cache(conditioning.mask.shape[0])
        start = torch.full((n_samples,), self.mask, device=self.device)

        def next_logits(previous: Tensor | None, position: int) -> Tensor:
            rows = guidance.rows(start if previous is None else previous)
            return guidance.logits(self.network.next_logits(conditioning, cache, rows, position))

        return autoregressive.traverse(
            next_logits,
            N_POSITIONS,
            law=self.law,
            probe=probe,
            noise=noise,
            all_logits=lambda tokens: self.grid_logits(conditioning, tokens, step=0),
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
            self.mask,
            masked_after=masked.cosine_schedule(N_POSITIONS, steps),
            path_temperature=np.linspace(self.settings.path_temperature, 0.0, steps).tolist(),
            path_surprisal=self.settings.path_surprisal,
            law=self.law,
            probe=probe,
            noise=noise,
            grid=GRID,
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
            self.network.config.codes,
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
        shape = (self.n_samples(conditioning), N_POSITIONS)
        grid = torch.full(shape, self.mask, device=self.device)

        def next_logits(previous: Tensor | None, position: int) -> Tensor:
            if previous is not None:
                grid[:, position - 1] = previous
            return self.grid_logits(conditioning, grid, position)[:, position]

        return autoregressive.traverse(
            next_logits, N_POSITIONS, law=self.law, probe=probe, noise=noise
        )
