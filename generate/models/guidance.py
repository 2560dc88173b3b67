"""Classifier-free guidance of a batch: both branches in one call of the network, then one law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

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

    @classmethod
    def beyond(cls, number: float) -> Self:
        """Guidance of models whose number s means (1 + s) c - s u, so that 0 is none.

        >>> Guidance.beyond(4.0)
        Guidance(scale=5.0, guided=True)
        """
        return cls(1.0 + number, guided=number > 0.0)

    def texts(self, texts: Sequence[str], negative: str = "") -> list[str]:
        """The texts and, when guided, as many negative ones after them.

        For models whose unconditional branch is a text, mostly the empty one; others make its rows
        themselves.
        """
        if not self.guided:
            return list(texts)
        return [*texts, *[negative] * len(texts)]

    def rows(self, tokens: Tensor) -> Tensor:
        """Tokens (sample, ...), and when guided the same again for the unconditional branch.

        Both branches see the same grid, which is what makes the difference of their logits
        guidance.
        """
        return torch.cat([tokens, tokens]) if self.guided else tokens

    def n_samples(self, n_rows: int) -> int:
        """How many samples `n_rows` rows of conditioning are for.

        Half of the rows when guided, all of them when not.
        """
        return n_rows // 2 if self.guided else n_rows

    def logits(self, logits: Tensor) -> Tensor:
        """Float32 logits to sample from, (sample, ...), of the logits of all rows, (row, ...).

        u + s (c - u) when guided, in float32 whatever the type they come in; else the conditional
        ones.
        """
        logits = logits.float()
        if not self.guided:
            return logits
        conditional, unconditional = logits.chunk(2)
        return unconditional + self.scale * (conditional - unconditional)
