"""Next-scale traversal: the tokens of a scale at once, one scale after another. The path is fixed.

Tian et al. (2024), arXiv:2404.02905, section 3.2. Positions are those of all scales one after another,
coarsest first; a step is a scale. The tokens of a scale are drawn independently given all coarser
scales, so their bits add up: the surprisal of a grid is the sum over its positions. With scales of one
position each this is the autoregressive traversal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from generate.study.probes import Probe
from generate.traversal.draw import Law, Noise, entropy, surprisal
from generate.traversal.replay import Replay
from generate.traversal.step import Step, Steps
from generate.traversal.trace import Trace

ScaleLogits = Callable[[Tensor | None, int], Tensor]
"""Guided logits (sample, position of the scale, code) of a scale, or what else the law takes.

Called with the tokens (sample, position) of the scale just before it, None at the first, and the
number of the scale, from 0.
"""

AllLogits = Callable[[Tensor], Tensor]
"""Guided logits (sample, position, code) of all scales of given tokens (sample, position) at once.

Those of a scale depend on the tokens of the scales before it alone (teacher forcing).
"""


def traverse(
    scale_logits: ScaleLogits,
    sizes: Sequence[int],
    *,
    law: Law,
    probe: Probe,
    noise: Noise,
    all_logits: AllLogits | None = None,
) -> Trace:
    """Draw the tokens of every scale given those of the scales before it; step k is scale k.

    `sizes` are the positions of each scale, at least one each. The trace has tokens and their bits,
    `token_step` is the scale of each position, and there is no path: the order is fixed. A `Replay`
    in place of noise scores its tokens along the one path there is; `all_logits`, where a model has
    them, then spare the walk from scale to scale.

    >>> from fractions import Fraction
    >>> from generate.traversal.draw import TokenLaw
    >>> def scale_logits(previous, scale):
    ...     return torch.tensor([0.0, 1.0]).expand(1, (1, 4)[scale], 2)  # one sample of two codes
    >>> always_the_mode = Probe(argmax_to=Fraction(1))
    >>> trace = traverse(scale_logits, [1, 4], law=TokenLaw(), probe=always_the_mode, noise=None)
    >>> trace.tokens.tolist(), trace.token_step.tolist()
    ([[1, 1, 1, 1, 1]], [[0, 1, 1, 1, 1]])
    """
    steps = Steps(law, probe, noise, len(sizes))
    if isinstance(noise, Replay):
        if all_logits is not None:
            scale_logits = _looked_up(all_logits(noise.tokens), sizes)
        return _replayed(scale_logits, sizes, steps, noise.tokens)
    logits = scale_logits(None, 0)
    columns = Columns.empty(len(logits), sizes, logits.device)
    for scale in range(len(sizes)):
        if scale > 0:
            logits = scale_logits(columns.of(columns.tokens, scale - 1), scale)
        step = steps.at(scale, logits, columns.positions(scale))
        columns.put(step, step.identities())
    return Trace(columns.tokens, columns.surprisal, columns.entropy, token_step=columns.steps())


def _replayed(
    scale_logits: ScaleLogits, sizes: Sequence[int], steps: Steps, given: Tensor
) -> Trace:
    """The trace of the given tokens (sample, position), with the joint bits of each step."""
    logits = scale_logits(None, 0)
    tokens = given.to(logits.device)
    columns = Columns.empty(len(tokens), sizes, logits.device)
    shape = (len(tokens), len(sizes))
    joint = torch.empty(shape, dtype=torch.float64, device=logits.device)
    for scale in range(len(sizes)):
        if scale > 0:
            logits = scale_logits(columns.of(tokens, scale - 1), scale)
        step = steps.at(scale, logits, columns.positions(scale))
        here = columns.of(tokens, scale)
        columns.put(step, here)
        joint[:, scale] = surprisal(step.belief(), here).double().sum(1)
    none = torch.zeros_like(joint)
    return Trace(
        given,
        columns.surprisal,
        columns.entropy,
        token_step=columns.steps(),
        path_surprisal=none,
        joint_surprisal=joint,
        proposal_surprisal=none,
    )


def _looked_up(known: Tensor, sizes: Sequence[int]) -> ScaleLogits:
    """Logits of a scale out of those of all, (sample, position, code)."""
    parts = torch.split(known, list(sizes), dim=1)
    return lambda previous, scale: parts[scale]


@dataclass(frozen=True)
class Columns:
    """Grids that are written a scale at a time, into memory taken once.

    All are (sample, position), and hold nothing of meaning where nothing was put. `ends` (scale,) is
    the number of positions up to the end of each scale.
    """

    tokens: Tensor  # int64
    surprisal: Tensor  # float32, bits
    entropy: Tensor  # float32, bits
    ends: Sequence[int]

    @classmethod
    def empty(cls, n_samples: int, sizes: Sequence[int], device: torch.device) -> Self:
        """Room for so many samples of scales of `sizes` positions.

        On `device`, tokens int64 and bits float32; nothing is initialised.
        """
        ends = torch.tensor(sizes).cumsum(0).tolist()
        shape = (n_samples, ends[-1])
        tokens = torch.empty(shape, dtype=torch.int64, device=device)
        bits = torch.empty((2, *shape), device=device)
        return cls(tokens, bits[0], bits[1], ends)

    def of(self, values: Tensor, scale: int) -> Tensor:
        """The part of `values` (sample, position) that is of a scale.

        A view (sample, position of the scale): what is written to it is written to `values`.
        """
        return values[:, self.positions(scale)]

    def positions(self, scale: int) -> slice:
        """Which positions of the grid are those of a scale.

        They lie in one piece.
        """
        start = self.ends[scale - 1] if scale else 0
        return slice(start, self.ends[scale])

    def put(self, step: Step, tokens: Tensor) -> None:
        """Write the tokens (sample, position of the scale) of a step, and their bits in its law.

        The step is that of the scale; what is there is written over.
        """
        self.of(self.tokens, step.index).copy_(tokens)
        self.of(self.surprisal, step.index).copy_(surprisal(step.probabilities, tokens))
        self.of(self.entropy, step.index).copy_(entropy(step.probabilities))

    def steps(self) -> Tensor:
        """The scale of each position, from 0, (sample, position) int64.

        It is the same for every sample, and the memory of one.
        """
        ends = torch.tensor(self.ends, device=self.tokens.device)
        positions = torch.arange(self.ends[-1], device=self.tokens.device)
        return torch.bucketize(positions, ends, right=True).expand_as(self.tokens)
