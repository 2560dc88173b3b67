"""Masked traversal: draw every open position, commit the most confident ones (paper eq. 5-6).

Chang et al. (2022), doi:10.1109/CVPR52688.2022.01103. The execution draw is a candidate for every
masked position; the path draw is Gumbel noise on the candidates' log-probabilities, which decides
what is committed. A probe may ask for another order, see `generate.traversal.order`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from generate.study.probes import Probe
from generate.traversal.draw import Law, Noise, surprisal
from generate.traversal.order import Order, drawable, order
from generate.traversal.replay import Replay
from generate.traversal.step import Step, Steps
from generate.traversal.trace import Grid, Trace
from schemas.timings import stage

GridLogits = Callable[[Tensor, int], Tensor]
"""Guided logits (sample, position, code).

Called with tokens (sample, position), MASK where open, and the step.
"""

PathSurprisal = Literal["exact", "given_candidates", "none"]
"""What is recorded of the path: -log2 q(S | s) and -log2 q(S, z_S | s), the cheap -log2 q(S | c, s), or
nothing.
"""


def cosine_schedule(n_positions: int, n_steps: int) -> list[int]:
    """Positions still masked after each step.

    That is floor(N cos(pi/2 (k+1)/T)), and at least one fewer than before. Evaluated in float32 as
    upstream samplers do: at a third of the steps left, N/2 comes out one short.

    >>> cosine_schedule(64, 4)
    [59, 45, 24, 0]
    """
    share = torch.cos(torch.arange(1, n_steps + 1, dtype=torch.float32) / n_steps * (math.pi / 2))
    masked = n_positions
    after = []
    for target in torch.floor(n_positions * share).int().tolist()[:-1]:
        masked = max(1, min(masked - 1, target))
        after.append(masked)
    return [*after, 0]


@dataclass(frozen=True)
class Move:
    """What a step commits, and how many bits that takes.

    `tokens`, `commit` (bool) and `token_bits` are (sample, position), the rest (sample,); None is
    not asked for.
    """

    tokens: Tensor
    commit: Tensor
    token_bits: Tensor
    path_bits: Tensor | None = None
    joint_bits: Tensor | None = None
    proposal_bits: Tensor | None = None


def traverse(
    grid_logits: GridLogits,
    n_samples: int,
    n_positions: int,
    mask_id: int,
    *,
    masked_after: Sequence[int],
    path_temperature: Sequence[float],
    law: Law,
    probe: Probe,
    noise: Noise,
    path_surprisal: PathSurprisal = "none",
    grid: tuple[int, int] | None = None,
    device: torch.device | str = "cpu",
) -> Trace:
    """Unmask grids in steps, so that `masked_after[k]` positions are left after step k.

    A candidate's confidence is its log-probability (natural) plus `path_temperature[k]` times
    Gumbel noise, unless `probe.order` names another order. Ties, which only a temperature of 0 can
    make, go to the earlier position. The order `entropy_bounded` has no schedule: of `masked_after`
    it takes the number of steps, the last of which commits what is left, and a grid that is full
    before is left alone. A `Replay` in place of noise scores its tokens instead of drawing, exactly,
    whatever `path_surprisal` says.

    `grid_logits` is asked once a step, for `n_samples` grids of `n_positions`; `mask_id` is a token
    that is no code, and `grid` the rows and columns of the positions, which a fixed order needs.
    Every position is committed once, so `token_step` is the order of the reveals.

    Raises FloatingPointError where a confidence is NaN, and ModelError for a fixed order without
    `grid`.

    >>> import numpy as np
    >>> from generate.traversal.draw import PhiloxNoise, TokenLaw
    >>> def grid_logits(tokens, step):  # code 1 is 1000 times as likely as code 0
    ...     return torch.tensor([1.0, 1000.0]).log().expand(len(tokens), 4, 2)
    >>> keys = np.arange(4, dtype=np.uint64).reshape(2, 2)  # path and execution keys of two samples
    >>> trace = traverse(
    ...     grid_logits,
    ...     n_samples=2,
    ...     n_positions=4,
    ...     mask_id=2,
    ...     masked_after=cosine_schedule(4, 2),
    ...     path_temperature=[1.0, 0.0],
    ...     law=TokenLaw(),
    ...     probe=Probe(),
    ...     noise=PhiloxNoise(*keys),
    ... )
    >>> trace.tokens.shape, sorted(trace.token_step[0].tolist())
    (torch.Size([2, 4]), [0, 0, 1, 1])
    """
    steps = Steps(law, probe, noise, len(masked_after))
    chosen_by = order(probe.order, grid, probe.entropy_bound)
    filled = Grid.empty(n_samples, n_positions, mask_id, device)
    masked = torch.ones_like(filled.tokens, dtype=torch.bool)
    n_masked = n_positions
    for index, n_left in enumerate(masked_after):
        step = steps.at(index, grid_logits(filled.tokens, index))
        n, temperature = n_masked - n_left, path_temperature[index]
        if isinstance(noise, Replay):
            move = _replayed(chosen_by, step, noise, masked, n, temperature)
        else:
            move = _drawn(chosen_by, step, masked, n, temperature, path_surprisal)
        filled.change(index, move.commit, move.tokens, move.token_bits, step.probabilities)
        filled.add_path(move.path_bits, move.joint_bits, move.proposal_bits)
        masked = masked & ~move.commit
        n_masked = n_left
    return filled.trace(torch.float64 if isinstance(noise, Replay) else torch.float32)


def _drawn(
    order: Order,
    step: Step,
    masked: Tensor,
    n: int,
    temperature: float,
    path_surprisal: PathSurprisal,
) -> Move:
    """The `n` positions that the order chooses, with freshly drawn candidates."""
    candidates = order.candidates(step)
    bits = surprisal(step.probabilities, candidates)
    with stage("draw"):
        commit = order.select(step, candidates, masked, n, temperature)
    if path_surprisal == "none":
        return Move(candidates, commit, bits)
    with stage("bits"):
        if path_surprisal == "exact":
            path, joint = order.surprisals(step, candidates, masked, commit, temperature)
            return Move(candidates, commit, bits, path, joint)
        path = order.surprisal_given_candidates(step, candidates, masked, commit, temperature)
    return Move(candidates, commit, bits, path)


def _replayed(
    order: Order, step: Step, replay: Replay, masked: Tensor, n: int, temperature: float
) -> Move:
    """The given tokens that the replay's path commits, or those that the order proposes."""
    given = replay.tokens.to(masked.device)
    bits = surprisal(step.probabilities, given)
    if replay.token_step is not None:
        commit = replay.token_step.to(masked.device) == step.index
    else:
        commit = order.propose(step, given, masked, n, temperature)
    proposal = order.proposal_surprisal(step, given, masked, commit, temperature)
    path, joint = order.surprisals(step, given, masked, commit, temperature)
    works = (drawable(step, given) | ~commit).all(dim=-1)
    joint, proposal = joint.where(works, torch.inf), proposal.where(works, 0.0)
    return Move(given, commit, bits, path, joint, proposal)
