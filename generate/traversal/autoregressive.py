"""Autoregressive traversal: raster order, one token a step (paper eq. 4). The path is fixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from generate.study.probes import Probe
from generate.traversal.draw import Noise, TokenLaw, entropy, surprisal
from generate.traversal.replay import Replay
from generate.traversal.step import Step, Steps
from generate.traversal.trace import Trace

NextLogits = Callable[[Tensor | None, int], Tensor]
"""Guided logits (sample, code) of a position.

Called with the token (sample,) just before it, None at position 0, and the position.
"""

AllLogits = Callable[[Tensor], Tensor]
"""Guided logits (sample, position, code) of all positions of given tokens (sample, position) at once.

Those of a position depend on the tokens before it alone (teacher forcing).
"""


def traverse(
    next_logits: NextLogits,
    n_positions: int,
    *,
    law: TokenLaw,
    probe: Probe,
    noise: Noise,
    all_logits: AllLogits | None = None,
) -> Trace:
    """Draw every token given the ones before it; step i commits position i.

    The trace has tokens and their bits, and no path: the order is fixed. A `Replay` in place of
    noise scores its tokens along the one path there is; `all_logits`, where a model has them, then
    spare the walk from position to position.

    >>> from fractions import Fraction
    >>> def next_logits(previous, position):
    ...     return torch.tensor([[0.0, 1.0], [0.0, 1.0]])  # two samples of two codes
    >>> always_the_mode = Probe(argmax_to=Fraction(1))
    >>> traverse(next_logits, 3, law=TokenLaw(), probe=always_the_mode, noise=None).tokens
    tensor([[1, 1, 1],
            [1, 1, 1]])
    """
    steps = Steps(law, probe, noise, n_positions)
    if isinstance(noise, Replay):
        if all_logits is not None:
            next_logits = _looked_up(all_logits(noise.tokens))
        return _replayed(next_logits, steps, noise.tokens)
    logits = next_logits(None, 0)
    columns = Columns.empty(len(logits), n_positions, logits.device)
    for position in range(n_positions):
        if position > 0:
            logits = next_logits(columns.tokens[:, position - 1], position)
        step = steps.at(position, logits.unsqueeze(1))
        columns.put(step, step.identities())
    return Trace(columns.tokens, columns.surprisal, columns.entropy)


def _replayed(next_logits: NextLogits, steps: Steps, given: Tensor) -> Trace:
    """The trace of the given tokens (sample, position), with the joint bits of each step."""
    logits = next_logits(None, 0)
    tokens = given.to(logits.device)
    columns = Columns.empty(len(tokens), steps.n_steps, logits.device)
    joint = torch.empty(tokens.shape, dtype=torch.float64, device=logits.device)
    for position in range(steps.n_steps):
        if position > 0:
            logits = next_logits(tokens[:, position - 1], position)
        step = steps.at(position, logits.unsqueeze(1))
        here = tokens[:, position, None]
        columns.put(step, here)
        joint[:, position, None] = surprisal(step.belief(), here).double()
    none = torch.zeros_like(joint)
    return Trace(
        given,
        columns.surprisal,
        columns.entropy,
        path_surprisal=none,
        joint_surprisal=joint,
        proposal_surprisal=none,
    )


def _looked_up(known: Tensor) -> NextLogits:
    """Logits of a position out of those of all, (sample, position, code)."""
    return lambda previous, position: known[:, position]


@dataclass(frozen=True)
class Columns:
    """Grids that are written a position at a time, into memory taken once.

    All are (sample, position), and hold nothing of meaning where nothing was put.
    """

    tokens: Tensor  # int64
    surprisal: Tensor  # float32, bits
    entropy: Tensor  # float32, bits

    @classmethod
    def empty(cls, n_samples: int, n_positions: int, device: torch.device) -> Self:
        """Room for so many samples of so many positions."""
        shape = (n_samples, n_positions)
        tokens = torch.empty(shape, dtype=torch.int64, device=device)
        return cls(tokens, torch.empty(shape, device=device), torch.empty(shape, device=device))

    def put(self, step: Step, tokens: Tensor) -> None:
        """Write the tokens (sample, 1) of a step at its position, and their bits in its law."""
        self.tokens[:, step.index, None] = tokens
        self.surprisal[:, step.index, None] = surprisal(step.probabilities, tokens)
        self.entropy[:, step.index, None] = entropy(step.probabilities)
