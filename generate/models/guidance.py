"""Classifier-free guidance of a batch: both branches in one call of the network, then one law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Guidance:
    """Logits u + s (c - u) of a conditional branch c and an unconditional one u.

    Ho & Salimans (2022), arXiv:2207.12598. `scale` is s. Where a batch is `guided` its rows are the
    samples of the conditional branch, then as many of the unconditional one; where it is not, the
    conditional logits are taken as they are.

    >>> guidance = Guidance(scale=3.0, guided=True)
    >>> guidance.logits(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    tensor([[3., 0.]])
    """

    scale: float
    guided: bool

    def texts(self, texts: Sequence[str]) -> list[str]:
        """The texts and, when guided, as many empty ones, for a branch that sees no text."""
        if not self.guided:
            return list(texts)
        return [*texts, *[""] * len(texts)]

    def rows(self, tokens: Tensor) -> Tensor:
        """Tokens (sample, ...) for the conditional and, when guided, again for the other branch."""
        return torch.cat([tokens, tokens]) if self.guided else tokens

    def n_samples(self, n_rows: int) -> int:
        """Samples of so many rows of conditioning."""
        return n_rows // 2 if self.guided else n_rows

    def logits(self, logits: Tensor) -> Tensor:
        """Float32 logits to sample from, (sample, ...), of the logits of all rows, (row, ...)."""
        logits = logits.float()
        if not self.guided:
            return logits
        conditional, unconditional = logits.chunk(2)
        return unconditional + self.scale * (conditional - unconditional)
