"""The noise that upstream samplers draw, replayed sample by sample, so that tokens can be compared one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class ParityNoise:
    """One torch generator per sample, asked in upstream's order: exponentials for identities, uniforms for the path.

    `torch.multinomial(p, 1)` is the race argmax p / e with standard exponentials e, drawn from the same generator.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def identities(self, step: int, probabilities: Tensor) -> Tensor:
        race = [
            torch.empty(probabilities.shape[1:]).exponential_(1, generator=g)
            for g in self.generators
        ]
        return (probabilities / torch.stack(race)).argmax(-1)

    def path(self, step: int, n: int) -> Tensor:
        return torch.stack([torch.empty(n).uniform_(0, 1, generator=g) for g in self.generators])
