"""Models so small that `toy_law` enumerates their law: for tests, and to try a study in seconds."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError
from generate.models.base import Card, Family, Model
from generate.study.probes import Probe
from generate.traversal import autoregressive, diffusion, masked, scales
from generate.traversal.bits import BitLaw
from generate.traversal.draw import Law, Noise, TokenLaw
from generate.traversal.trace import Trace
from generate.traversal.transition import Schedule
from schemas.provenance import ModelIdentity


@dataclass(frozen=True)
class ToyOptions:
    """Size of the model, which random model it is, and how it is sampled.

    `sharpness` is the amplitude of the logits: 0 makes every code equally likely.
    """

    positions: int = 4
    codes: int = 3
    seed: int = 0
    sharpness: float = 1.5
    temperature: float = 1.0


class Toy(Model):
    """What the toys share: logits are a fixed random function of the whole grid and the prompt.

    >>> from generate.traversal import PhiloxNoise
    >>> options = ToyMasked.options({"positions": 4, "codes": 3})
    >>> model = ToyMasked.load(ToyMasked.identify("toy-masked", options), options, "cpu")
    >>> keys = np.arange(4, dtype=np.uint64).reshape(2, 2)  # path and execution keys of two samples
    >>> trace = model.traverse(model.encode(["a cat", "a dog"]), Probe(), PhiloxNoise(*keys))
    >>> trace.tokens.shape, model.decode(trace.tokens).shape
    (torch.Size([2, 4]), (2, 4, 4, 3))
    """

    Options: ClassVar[type[Any]] = ToyOptions
    card = Card(verified="frequencies and bits equal those of the enumerated law")

    def __init__(self, identity: ModelIdentity, options: Any) -> None:
        super().__init__(identity)
        self.settings = options
        self.law: Law = TokenLaw(temperature=options.temperature)
        rng = np.random.default_rng(options.seed)
        n, k = options.positions, options.codes
        self.weight = torch.from_numpy(rng.normal(size=(n, k, n, k + 1)))
        self.bias = torch.from_numpy(rng.uniform(0, 2 * np.pi, size=(n, k)))

    @classmethod
    def steps(cls, options: Any) -> int:
        """Steps of the traversal: the option of that name, else one a position.

        Windows of argmax are shares of them.
        """
        return int(getattr(options, "steps", options.positions))

    @classmethod
    def scale_sizes(cls, options: Any) -> list[int]:
        """Positions of each scale, coarsest first.

        None here: only one of the toys has scales.
        """
        return []

    @classmethod
    def grid(cls, options: Any) -> tuple[int, int]:
        """Rows and columns of the grid.

        Two rows where the number of positions is even, and one otherwise.
        """
        n = options.positions
        return (2, n // 2) if n % 2 == 0 else (1, n)

    @classmethod
    def identify(cls, name: str, options: Any) -> ModelIdentity:
        """The options are the whole model: no weight files, and the seed is the revision."""
        grid = cls.grid(options)
        return ModelIdentity(
            model=name,
            family=cls.family,
            revision=f"seed-{options.seed}",
            weights=[],
            codebook_size=options.codes,
            grid=grid,
            image_size=(2 * grid[0], 2 * grid[1]),
            steps=cls.steps(options),
            options=vars(options),
            scales=cls.scale_sizes(options),
        )

    @classmethod
    def load(cls, identity: ModelIdentity, options: Any, device: str) -> Self:
        """The model, whose tables are drawn from the option `seed`.

        They stay on the CPU in float64, whatever `device` says.
        """
        return cls(identity, options)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """A phase per text, (text,) float64 in [0, 2), which `logits` adds to its angles.

        It is a hash of the text: alike texts do not have alike phases.
        """
        phases = [zlib.crc32(text.encode()) % 1000 / 500 for text in texts]
        return torch.tensor(phases, dtype=torch.float64)

    def logits(self, phase: Tensor, tokens: Tensor) -> Tensor:
        """Logits (sample, position, code) of grids (sample, position), id `codes` where open.

        `phase` is the conditioning, (sample,).
        """
        grid = torch.nn.functional.one_hot(tokens, self.settings.codes + 1).double()
        context = torch.einsum("iajb,sjb->sia", self.weight, grid)
        angle = context + self.bias + phase[:, None, None]
        logits: Tensor = self.settings.sharpness * torch.sin(angle)
        return logits

    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of grids (sample, position).

        A position is 2 x 2 pixels. Up to 255 codes have a grey level each, rising with the id, and
        none is black.
        """
        grid = tokens.view(-1, *self.identity.grid)
        grey = ((grid + 1) * 255 // self.settings.codes).to(torch.uint8).unsqueeze(-1).numpy()
        image: NDArray[np.uint8] = grey.repeat(2, 1).repeat(2, 2).repeat(3, 3)
        return image


class ToyAutoregressive(Toy):
    """An enumerable model in raster order.

    Its logits at a position depend on the codes before it, with all later ones open.
    """

    family: ClassVar[Family] = "autoregressive"

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        """Sample in raster order, with all later positions open.

        The trace has no path: the order is fixed.
        """
        n, open_id = self.settings.positions, self.settings.codes
        grid = torch.full((len(conditioning), n), open_id)

        def next_logits(previous: Tensor | None, position: int) -> Tensor:
            if previous is not None:
                grid[:, position - 1] = previous
            return self.logits(conditioning, grid)[:, position]

        return autoregressive.traverse(next_logits, n, law=self.law, probe=probe, noise=noise)


@dataclass(frozen=True)
class ToyScalesOptions(ToyOptions):
    """Settings of next-scale prediction.

    `steps` is the number of scales, from 1 to the number of positions.
    """

    steps: int = 3


class ToyScales(Toy):
    """An enumerable model of several scales, each drawn at once.

    Its logits at a scale depend on the codes of the scales before it, with all others open.
    """

    family: ClassVar[Family] = "scales"
    Options = ToyScalesOptions

    @classmethod
    def grid(cls, options: Any) -> tuple[int, int]:
        """Rows and columns of the grid: one row, of all scales one after another.

        Raises ModelError where there are more scales than positions.
        """
        return 1, sum(cls.scale_sizes(options))

    @classmethod
    def scale_sizes(cls, options: Any) -> list[int]:
        """Positions of each scale, one at least: they end at N (k / T)^2, rounded, as squares do.

        Raises ModelError where there are more scales than positions.

        >>> ToyScales.scale_sizes(ToyScales.options({"positions": 5, "steps": 3}))
        [1, 1, 3]
        """
        n, n_scales = options.positions, options.steps
        if not 1 <= n_scales <= n:
            raise ModelError(
                f"option 'steps' of {cls.__name__} is {n_scales}; with {n} positions there are 1 to {n} scales."
            )
        ends = [0]
        for scale in range(1, n_scales + 1):
            end = round(n * (scale / n_scales) ** 2)
            ends.append(min(max(end, ends[-1] + 1), n - n_scales + scale))
        sizes: list[int] = np.diff(ends).tolist()
        return sizes

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        """Sample scale by scale, with the positions of the scale and of all later ones open.

        The trace has no path: the order is fixed.
        """
        n, open_id = self.settings.positions, self.settings.codes
        grid = torch.full((len(conditioning), n), open_id)
        sizes = self.identity.scales
        ends = np.cumsum(sizes).tolist()

        def scale_logits(previous: Tensor | None, scale: int) -> Tensor:
            start = ends[scale - 1] if scale else 0
            if previous is not None:
                grid[:, start - previous.shape[1] : start] = previous
            return self.logits(conditioning, grid)[:, start : ends[scale]]

        return scales.traverse(scale_logits, sizes, law=self.law, probe=probe, noise=noise)


@dataclass(frozen=True)
class ToyBitsOptions(ToyScalesOptions):
    """Settings of next-scale prediction of codes of bits.

    `positions` counts tokens, of which a code has `tokens_per_code`; the 2^b values of a token,
    `codes`, are b bits. `top_p` acts on the two values of a bit.
    """

    codes: int = 4
    steps: int = 2
    tokens_per_code: int = 2
    top_p: float = 1.0


class ToyBits(ToyScales):
    """An enumerable model of several scales, whose codes are drawn bit by bit.

    A code is several tokens of a few bits each. Given the scales before, all bits are independent.
    """

    Options = ToyBitsOptions

    def __init__(self, identity: ModelIdentity, options: Any) -> None:
        super().__init__(identity, options)
        self.law = BitLaw(temperature=options.temperature, top_p=options.top_p)

    @classmethod
    def scale_sizes(cls, options: Any) -> list[int]:
        """Positions of each scale, whole codes; as many codes as `ToyScales` has positions.

        Raises ModelError where codes are no whole number of bits, or positions of codes.

        >>> ToyBits.scale_sizes(ToyBits.options({"positions": 8}))
        [2, 6]
        """
        n_tokens, codes = options.tokens_per_code, options.codes
        if codes < 2 or codes & (codes - 1):
            raise ModelError(
                f"option 'codes' of ToyBits is {codes}; a token of bits has 2, 4, 8 ... codes."
            )
        if n_tokens < 1 or options.positions % n_tokens:
            raise ModelError(
                f"option 'tokens_per_code' of ToyBits is {n_tokens}; it must divide the "
                f"{options.positions} positions."
            )
        of_codes = replace(options, positions=options.positions // n_tokens)
        return [n_tokens * size for size in super().scale_sizes(of_codes)]

    @classmethod
    def identify(cls, name: str, options: Any) -> ModelIdentity:
        """As of all toys, with the bits of a token and the tokens of a code."""
        known = super().identify(name, options)
        bits = options.codes.bit_length() - 1
        return known.model_copy(
            update={"levels": [2] * bits, "tokens_per_code": options.tokens_per_code}
        )

    def logits(self, phase: Tensor, tokens: Tensor) -> Tensor:
        """Logits (sample, position, bit, value) of grids (sample, position), id `codes` where open.

        They are the first ones that a toy of so many codes gives.
        """
        bits = len(self.identity.levels)
        logits = super().logits(phase, tokens)[..., : 2 * bits]
        return logits.reshape(*tokens.shape, bits, 2)


@dataclass(frozen=True)
class ToyMaskedOptions(ToyOptions):
    """Settings of confidence-ordered unmasking; every step has the one path temperature.

    `path_surprisal` says what is recorded of the path: `exact`, `given_candidates` (cheap) or
    `none`.
    """

    steps: int = 3
    path_temperature: float = 1.0
    path_surprisal: masked.PathSurprisal = "exact"


class ToyMasked(Toy):
    """An enumerable model, most confident candidates first.

    It is a masked model of the cosine schedule, with one path temperature for all steps.
    """

    family: ClassVar[Family] = "masked"
    Options = ToyMaskedOptions

    @property
    def masked_after(self) -> list[int]:
        """Positions still masked after each step, one number a step, falling to 0.

        >>> options = ToyMasked.options({"positions": 4, "steps": 3})
        >>> ToyMasked.load(ToyMasked.identify("toy-masked", options), options, "cpu").masked_after
        [3, 1, 0]
        """
        return masked.cosine_schedule(self.settings.positions, self.settings.steps)

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        """Unmask by confidence on the cosine schedule.

        The trace has the bits of the path that the option `path_surprisal` names.
        """
        return masked.traverse(
            lambda tokens, step: self.logits(conditioning, tokens),
            len(conditioning),
            self.settings.positions,
            self.settings.codes,
            masked_after=self.masked_after,
            path_temperature=[self.settings.path_temperature] * self.settings.steps,
            law=self.law,
            probe=probe,
            noise=noise,
            path_surprisal=self.settings.path_surprisal,
            grid=self.identity.grid,
        )


@dataclass(frozen=True)
class ToyDiffusionOptions(ToyOptions):
    """Settings of the mask-and-replace diffusion.

    At each step of the forward process a constant share is masked, and the share `replaced` of the
    rest becomes another code.
    """

    steps: int = 3
    replaced: float = 0.0


class ToyDiffusion(Toy):
    """An enumerable mask-and-replace diffusion.

    Without the option `replaced` it only masks, and tokens are never revised.
    """

    family: ClassVar[Family] = "diffusion"
    Options = ToyDiffusionOptions

    @property
    def schedule(self) -> Schedule:
        """Masked at a constant rate; of the tokens left, the share `replaced` changes at each step.

        A replaced token is drawn anew, each code with equal probability.
        """
        steps, n_codes = self.settings.steps, self.settings.codes
        gamma = np.linspace(0.0, 1.0, steps + 1)
        kept = (1.0 - self.settings.replaced) ** np.arange(steps + 1)
        return Schedule((1 - gamma) * kept, (1 - gamma) * (1 - kept) / n_codes, gamma)

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        """Denoise from a grid whose positions are all MASK.

        The trace has exact bits of the path, the positions that change at each step.
        """
        return diffusion.traverse(
            lambda tokens, t: self.logits(conditioning, tokens),
            len(conditioning),
            self.settings.positions,
            self.settings.codes,
            schedule=self.schedule,
            law=self.law,
            probe=probe,
            noise=noise,
        )
