"""A masked model of eight colours: an adapter for ibgenerate, without weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from generate.models.base import Model, to_pixels
from generate.study.probes import Probe
from generate.traversal import masked
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

CODES, SIDE = 8, 4


@dataclass(frozen=True)
class StripesOptions:
    """How many steps, how much likelier a code is for each of its like in the row, what is recorded.

    The store learns from an option of the name `path_surprisal` which bits of the path there are.
    """

    steps: int = 4
    agreement: float = 1.0
    temperature: float = 1.0
    path_surprisal: masked.PathSurprisal = "exact"


class Stripes(Model):
    """Rows of one colour: a code is likelier where its row has it already."""

    family = "masked"
    Options = StripesOptions

    def __init__(self, identity: ModelIdentity, options: StripesOptions) -> None:
        super().__init__(identity)
        self.settings = options

    @classmethod
    def identify(cls, name: str, options: StripesOptions) -> ModelIdentity:
        """Say what fixes the samples: the options alone, and the revision of this file."""
        return ModelIdentity(
            model=name,
            family=cls.family,
            revision="1",
            weights=[],
            codebook_size=CODES,
            grid=(SIDE, SIDE),
            image_size=(2 * SIDE, 2 * SIDE),
            steps=options.steps,
            options=vars(options),
        )

    @classmethod
    def load(cls, identity: ModelIdentity, options: StripesOptions, device: str) -> Self:
        """Give the model; it has nothing to load."""
        return cls(identity, options)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Give logits (text, code): how often each code is the remainder of a letter by eight."""
        rows = []
        for text in texts:
            letters = torch.tensor(list(text.encode()), dtype=torch.long) % CODES
            rows.append(torch.bincount(letters, minlength=CODES) * CODES / max(len(letters), 1))
        return torch.stack(rows).double()

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        """Unmask the grid in steps, and record the exact bits of the path."""
        steps = self.settings.steps

        def grid_logits(tokens: Tensor, step: int) -> Tensor:
            rows = tokens.view(-1, SIDE, SIDE)
            alike = one_hot(rows, CODES + 1)[..., :CODES].sum(2).repeat_interleave(SIDE, 1)
            return conditioning[:, None] + self.settings.agreement * alike

        return masked.traverse(
            grid_logits,
            len(conditioning),
            SIDE * SIDE,
            CODES,
            masked_after=masked.cosine_schedule(SIDE * SIDE, steps),
            path_temperature=[1 - step / steps for step in range(steps)],
            law=TokenLaw(temperature=self.settings.temperature),
            probe=probe,
            noise=noise,
            path_surprisal=self.settings.path_surprisal,
            grid=(SIDE, SIDE),
        )

    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """Give images in which a position is 2 x 2 pixels: red, green and blue are its bits."""
        bits = torch.stack([tokens >> bit & 1 for bit in range(3)], 1)
        small = bits.view(-1, 3, SIDE, SIDE).float()
        return to_pixels(small.repeat_interleave(2, 2).repeat_interleave(2, 3))
