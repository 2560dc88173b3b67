"""What a traversal returns, and the record of a grid while it fills."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from generate.traversal.draw import entropy


@dataclass(frozen=True)
class Trace:
    """Tokens of a batch and how they came about, in bits.

    `tokens`, `token_surprisal`, `token_entropy` and `token_step` are (sample, position), positions
    in raster order; `path_surprisal` and `joint_surprisal` are (sample, step).

    - `token_surprisal` is -log2 p of the token in the law it was drawn from, and `token_entropy` the
      entropy of that law, both before argmax collapses it and after the codebook is restricted.
    - `token_step` is the step of the position's last change; None where the order is fixed.
    - `path_surprisal` is -log2 q(S_t | s_t) of the positions changed at a step, or
      -log2 q(S_t | c, s_t) given also the candidate tokens, as the model's option says.
    - `joint_surprisal` is -log2 q(S_t, z_{S_t} | s_t) of the positions and their tokens, in the law
      that was drawn from, so under argmax the tokens add nothing. This and `path_surprisal` are None
      where not asked for, and where the order is fixed.
    - `proposal_surprisal`, (sample, step), belongs to a `Replay` alone: -log2 r(S_t | s_t, Z) of
      the positions in the proposal of paths given all tokens.
    """

    tokens: Tensor
    token_surprisal: Tensor
    token_entropy: Tensor
    token_step: Tensor | None = None
    path_surprisal: Tensor | None = None
    joint_surprisal: Tensor | None = None
    proposal_surprisal: Tensor | None = None


@dataclass
class Grid:
    """A batch of grids while a traversal fills them.

    Tensors are (sample, position), and open positions hold the id of MASK; lists hold one (sample,)
    a step, and stay empty where nothing was asked for.
    """

    tokens: Tensor
    step: Tensor
    surprisal: Tensor
    entropy: Tensor
    path_bits: list[Tensor] = field(default_factory=list)
    joint_bits: list[Tensor] = field(default_factory=list)
    proposal_bits: list[Tensor] = field(default_factory=list)

    @classmethod
    def empty(
        cls, n_samples: int, n_positions: int, mask_id: int, device: torch.device | str
    ) -> Self:
        """Grids (sample, position) with every position open, that is holding `mask_id`.

        Steps, surprisals and entropies start at 0, which means nothing before a position is
        changed.
        """
        shape = (n_samples, n_positions)
        return cls(
            tokens=torch.full(shape, mask_id, dtype=torch.int64, device=device),
            step=torch.zeros(shape, dtype=torch.int64, device=device),
            surprisal=torch.zeros(shape, device=device),
            entropy=torch.zeros(shape, device=device),
        )

    def change(
        self, index: int, changed: Tensor, tokens: Tensor, bits: Tensor, probabilities: Tensor
    ) -> None:
        """Put `tokens` where `changed`, and note there the step, surprisal in bits and the law's entropy.

        All are (sample, position), but `probabilities`, the laws (sample, position, code).
        """
        self.tokens = torch.where(changed, tokens, self.tokens)
        self.step = self.step.masked_fill(changed, index)
        self.surprisal = torch.where(changed, bits, self.surprisal)
        self.entropy = torch.where(changed, entropy(probabilities), self.entropy)

    def add_path(
        self,
        path: Tensor | None,
        joint: Tensor | None = None,
        proposal: Tensor | None = None,
    ) -> None:
        """Note the bits of one step's path, (sample,) each; None is not asked for.

        What is given must be given at every step, since `trace` takes the n-th entry for step n.
        """
        if path is not None:
            self.path_bits.append(path)
        if joint is not None:
            self.joint_bits.append(joint)
        if proposal is not None:
            self.proposal_bits.append(proposal)

    def trace(self, dtype: torch.dtype) -> Trace:
        """The finished grids, with the bits of their paths in a floating-point type `dtype`.

        What no step noted is None. Nothing checks that no position is left open.
        """
        return Trace(
            self.tokens,
            self.surprisal,
            self.entropy,
            token_step=self.step,
            path_surprisal=_by_step(self.path_bits, dtype),
            joint_surprisal=_by_step(self.joint_bits, dtype),
            proposal_surprisal=_by_step(self.proposal_bits, dtype),
        )


def _by_step(bits: list[Tensor], dtype: torch.dtype) -> Tensor | None:
    """Bits (sample, step), or None if no step has any."""
    if not bits:
        return None
    return torch.stack(bits, dim=1).to(dtype)
