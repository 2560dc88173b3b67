"""The trio: a tokenizer, a transformer in two sets of weights, three traversals and a control."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from generate.errors import ModelError, one_line
from generate.models.base import Family, to_pixels
from generate.models.precision import STORAGE, Precision, computing, require
from generate.models.scene_model import SceneModel, SceneOptions
from generate.study.noise import normals
from generate.study.probes import Probe
from generate.traversal import autoregressive, diffusion, masked
from generate.traversal.draw import Noise
from generate.traversal.trace import Trace
from generate.traversal.transition import absorbing
from generate.trio.quantizers import LAB
from generate.trio.tokenizer import load_tokenizer
from generate.trio.transformer import (
    GridTransformer,
    IndependentBits,
    Prefix,
    load_transformer,
)
from generate.trio.weights import SHIPPED, file_name
from schemas.provenance import ModelIdentity

GRID = (8, 8)
N_POSITIONS = GRID[0] * GRID[1]

QuantizerName = Literal["vq", "fsq", "fsq-865", "lfq", "bsq"]
"""The keys of `generate.trio.quantizers.LAB`."""


@dataclass(frozen=True)
class TrioOptions(SceneOptions):
    """Sampling settings of every member over one grid.

    `quantizer` says whose tokens: those of the shipped `vq`, or of one of the lab, for which there
    are any-order weights. `prior` is a file of transformer weights for them that the recipe
    (`generate.trio.train`) made, in place of the shipped ones; relative to where the program runs.
    `independent_bits` draws the bits of a code, of `lfq` or `bsq`, as if they were independent, each by its
    own chance (`generate.trio.transformer.IndependentBits`). The transformer computes in `precision`.
    """

    quantizer: QuantizerName = "vq"
    prior: str = ""
    independent_bits: bool = False
    precision: Precision = "float32"


class Trio(SceneModel):
    """What the members over one grid share: guided logits of one transformer of 8 x 8 positions.

    A member says which of the two sets of weights it has, and which traversal it takes.
    """

    weights: ClassVar[str]
    network: GridTransformer
    card = replace(
        SceneModel.card,
        grids="8x8",
        codebook_size=256,
        quantizer="vq, fsq, lfq, bsq",
        parameters=1.65,
    )
    Options: ClassVar[type[Any]] = TrioOptions

    @classmethod
    def steps(cls, options: Any) -> int:
        """Steps of the traversal: the option of that name, else one a position.

        Windows of argmax are shares of them.
        """
        return int(getattr(options, "steps", N_POSITIONS))

    @classmethod
    def identify(cls, name: str, options: Any) -> ModelIdentity:
        """The weights with their digests.

        The revision is the first twelve digits of the transformer's digest. Raises ModelError for a
        quantizer that has no such weights, or whose codes are no bits, and for a prior that is not
        there.
        """
        geometry = LAB[options.quantizer]
        settings = dict(vars(options))
        if options.independent_bits and set(geometry.levels) != {2}:
            raise ModelError(
                f"codes of quantizer '{options.quantizer}' are no bits: take lfq or bsq, or leave "
                "independent_bits out."
            )
        for setting in ("quantizer", "prior", "independent_bits", "precision"):
            if settings[setting] == getattr(TrioOptions, setting):
                del settings[setting]  # runs from before there was a choice are of this model
        return cls.described(
            name,
            cls.files(options.quantizer, options.prior),
            codebook_size=math.prod(geometry.levels),
            levels=list(geometry.levels) if len(geometry.levels) > 1 else [],
            grid=GRID,
            steps=cls.steps(options),
            options=settings,
            quantizer=geometry.kind,
        )

    @classmethod
    def files(cls, quantizer: str, prior: str = "") -> tuple[Path, Path]:
        """The weights of a quantizer: of the tokenizer, shipped, and of the member or its `prior`.

        Raises ModelError, with what there is, where the member has none for it.
        """
        tokenizer, network = [
            SHIPPED / file_name(part, quantizer) for part in ("tokenizer", cls.weights)
        ]
        if prior:
            network = Path(prior)
            if not network.is_file():
                raise ModelError(
                    f"prior '{prior}' is no file: give weights that `python -m generate.trio.train` "
                    "made, or leave the option out for the shipped ones."
                )
        elif not network.is_file():
            raise ModelError(
                f"the {cls.weights} weights of quantizer '{quantizer}' are not shipped: take "
                "trio-mim, trio-diffusion or trio-raster, or quantizer: vq."
            )
        return tokenizer, network

    @classmethod
    def load(cls, identity: ModelIdentity, options: Any, device: str) -> Self:
        """Read the weights; all but the transformer computes in float32.

        Raises ModelError for a prior that holds no such weights, or is over another number of codes,
        and for a precision that the device does not have.
        """
        require(identity.model, options.precision, device)
        files = cls.files(options.quantizer, options.prior)
        tokenizer = load_tokenizer(files[0])
        try:
            transformer = load_transformer(files[1])
        except Exception as error:  # safetensors and torch raise classes of every kind
            raise ModelError(
                f"prior '{options.prior}' holds no transformer of the trio ({one_line(error, 120)})."
            ) from None
        found = ("causal" if transformer.config.causal else "masked", transformer.config.codes)
        if found != (cls.weights, tokenizer.codes):
            raise ModelError(
                f"prior '{options.prior}' has {found[0]} weights over {found[1]} codes: this member "
                f"with quantizer '{options.quantizer}' takes {cls.weights} weights over "
                f"{tokenizer.codes}."
            )
        if options.independent_bits:
            transformer.head = nn.Sequential(transformer.head, IndependentBits(tokenizer.codes))
        transformer = transformer.to(device, STORAGE[options.precision])
        return cls(identity, options, transformer, tokenizer.to(device), device)

    @property
    def mask(self) -> int:
        """One id past the codes: the start token of the causal weights, the mask of the others."""
        return self.network.config.codes

    def grid_logits(self, conditioning: Prefix, tokens: Tensor, step: int) -> Tensor:
        """Guided logits (sample, position, code) of grids (sample, position), `mask` where open.

        The trio is not told the step.
        """
        rows = self.guidance.rows(tokens)
        with computing(self.settings.precision):
            return self.guidance.logits(self.network.grid_logits(conditioning, rows))

    def encode(self, texts: Sequence[str]) -> Prefix:
        """Keys and values of the captions, as `SceneModel.encode`, in the precision asked for."""
        with computing(self.settings.precision):
            return super().encode(texts)

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
        cache = self.network.cache(conditioning)
        start = torch.full((n_samples,), self.mask, device=self.device)

        @computing(self.settings.precision)
        def next_logits(previous: Tensor | None, position: int) -> Tensor:
            rows = guidance.rows(start if previous is None else previous)
            return guidance.logits(self.network.next_logits(cache, rows, position))

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
class RenderedOptions(MaskedOptions):
    """Settings of the member whose decoder draws.

    `rendering` is the root mean square length of the noise on the latents, which have length one.
    """

    rendering: float = 0.3


class TrioRendered(TrioMasked):
    """The member by confidence, with a decoder that adds noise to the latents it is given.

    Equal tokens give images that differ: a third source of diversity beside path and execution.
    """

    Options = RenderedOptions

    @classmethod
    def identify(cls, name: str, options: Any) -> ModelIdentity:
        """As of `TrioMasked`, with a decoder that draws."""
        return super().identify(name, options).model_copy(update={"rendering": True})

    @torch.inference_mode()
    def render(self, tokens: Tensor, keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """8-bit images (sample, 32, 32, 3) of grids (sample, 64), one Philox key a sample.

        The noise is normal and independent in every channel of every latent.
        """
        vectors = self.tokenizer.quantizer.vectors(tokens.view(-1, *GRID))
        drawn = torch.from_numpy(normals(keys, vectors[0].numel())).view(vectors.shape)
        spread = self.settings.rendering / math.sqrt(vectors.shape[-1])
        noisy = vectors + spread * drawn.to(vectors)
        return to_pixels(self.tokenizer.images(noisy).clamp(0, 1))


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
