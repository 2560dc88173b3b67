"""Tiny models whose laws can be enumerated, as adapters a study can name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.models.base import Family, Model
from generate.probes import Probe
from generate.traversal import autoregressive, diffusion, masked
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

N_POSITIONS, N_CODES = 4, 3


@dataclass(frozen=True)
class ToyOptions:
    temperature: float = 1.0
    steps: int = 3


def table_logits(tokens: Tensor, salt: Tensor | float = 0.0) -> Tensor:
    """Logits (sample, position, code) as a fixed smooth function of the whole grid, MASK included."""
    positions = torch.arange(tokens.shape[1], dtype=torch.float64)
    codes = torch.arange(N_CODES, dtype=torch.float64)
    weights = 1.0 + torch.cos(positions[:, None] - positions)  # (position, other)
    context = tokens.double() @ weights.T + torch.as_tensor(salt, dtype=torch.float64).reshape(-1, 1)
    return 1.3 * torch.sin(context[..., None] * (0.7 + codes) + 2.1 * positions[:, None] + codes)


class Toy(Model):
    Options: ClassVar[type[Any]] = ToyOptions

    def __init__(self, identity: ModelIdentity, options: ToyOptions) -> None:
        super().__init__(identity)
        self.settings = options
        self.law = TokenLaw(temperature=options.temperature)

    @classmethod
    def identify(cls, name: str, options: ToyOptions) -> ModelIdentity:
        return ModelIdentity(
            model=name,
            family=cls.family,
            revision="toy",
            weights=[],
            codebook_size=N_CODES,
            grid=(2, 2),
            image_size=(4, 4),
            steps=N_POSITIONS if cls.family == "autoregressive" else options.steps,
            options=vars(options),
        )

    @classmethod
    def load(cls, identity: ModelIdentity, options: ToyOptions, device: str) -> Self:
        return cls(identity, options)

    def encode(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([len(text) % 7 / 3 for text in texts])

    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        small = tokens.view(-1, 2, 2, 1).numpy() * 80
        image: NDArray[np.uint8] = small.repeat(2, 1).repeat(2, 2).repeat(3, 3).astype(np.uint8)
        return image


class ToyAutoregressive(Toy):
    family: ClassVar[Family] = "autoregressive"

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        grid = torch.full((len(conditioning), N_POSITIONS), N_CODES)

        def next_logits(previous: Tensor | None, position: int) -> Tensor:
            if previous is not None:
                grid[:, position - 1] = previous
            return table_logits(grid, conditioning)[:, position]

        return autoregressive.traverse(next_logits, N_POSITIONS, law=self.law, probe=probe, noise=noise)


class ToyMasked(Toy):
    family: ClassVar[Family] = "masked"

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        return masked.traverse(
            lambda tokens, step: table_logits(tokens, conditioning),
            len(conditioning),
            N_POSITIONS,
            N_CODES,
            masked_after=masked.cosine_schedule(N_POSITIONS, self.settings.steps),
            path_temperature=np.linspace(1.5, 0.5, self.settings.steps).tolist(),
            law=self.law,
            probe=probe,
            noise=noise,
        )


class ToyDiffusion(Toy):
    family: ClassVar[Family] = "diffusion"

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        return diffusion.traverse(
            lambda tokens, t: table_logits(tokens, conditioning),
            len(conditioning),
            N_POSITIONS,
            N_CODES,
            schedule=diffusion.absorbing(self.settings.steps),
            law=self.law,
            probe=probe,
            noise=noise,
        )
