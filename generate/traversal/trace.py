"""What a traversal returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Trace:
    """Tokens of a batch and how they came about, in bits.

    `tokens`, `token_surprisal`, `token_entropy` and `token_step` are (sample, position), positions in raster
    order; `path_surprisal` and `joint_surprisal` are (sample, step). `token_surprisal` is -log2 p of the token in the
    law it was drawn from, and `token_entropy` the entropy of that law, both before argmax collapses it and after the
    codebook is restricted. `token_step` is the step of the position's last change; None where the order is fixed.
    `path_surprisal` is -log2 q(S_t | s_t) of the positions changed at a step, or -log2 q(S_t | c, s_t) given also the
    candidate tokens, as the model's option says; `joint_surprisal` is -log2 q(S_t, z_{S_t} | s_t) of the positions and
    their tokens, in the law that was drawn from, so under argmax the tokens add nothing. None where not asked for, and
    where the order is fixed. `proposal_surprisal`, (sample, step), belongs to a `Replay` alone: -log2 r(S_t | s_t, Z)
    of the positions in the proposal of paths given all tokens.
    """

    tokens: Tensor
    token_surprisal: Tensor
    token_entropy: Tensor
    token_step: Tensor | None = None
    path_surprisal: Tensor | None = None
    joint_surprisal: Tensor | None = None
    proposal_surprisal: Tensor | None = None
