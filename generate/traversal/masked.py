"""Masked traversal: draw every open position, commit the most confident ones (paper eq. 5-6).

Chang et al. (2022), doi:10.1109/CVPR52688.2022.01103. The execution draw is a candidate for every
masked position; the path draw is Gumbel noise on the candidates' log-probabilities, which decides
what is committed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from generate.study.probes import Probe
from generate.traversal.draw import Noise, TokenLaw, surprisal
from generate.traversal.path_probability import exact_surprisals, set_surprisal_given_candidates
from generate.traversal.replay import Replay
from generate.traversal.step import Step, Steps
from generate.traversal.trace import Grid, Trace

GridLogits = Callable[[Tensor, int], Tensor]
"""Guided logits (sample, position, code).

Called with tokens (sample, position), MASK where open, and the step.
"""

PathSurprisal = Literal["exact", "given_candidates", "none"]
"""What is recorded of the path: -log2 q(S | s) and -log2 q(S, z_S | s), the cheap -log2 q(S | c, s), or
nothing.
"""

WARM = 0.5
"""Least path temperature of proposals: they must reach every path that other candidates allow."""


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


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise -log(-log u) of uniforms in [0, 1), of any shape, always finite.

    A uniform of 0 counts as the smallest normal number of its type.

    >>> gumbel(torch.tensor([0.0, 0.5], dtype=torch.float64))
    tensor([-6.5630,  0.3665], dtype=torch.float64)
    """
    tiny = torch.finfo(uniform.dtype).tiny
    exponential = -torch.log(uniform.clamp(min=tiny))
    return -torch.log(exponential.clamp(min=tiny))


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
    law: TokenLaw,
    probe: Probe,
    noise: Noise,
    path_surprisal: PathSurprisal = "none",
    device: torch.device | str = "cpu",
) -> Trace:
    """Unmask grids in steps, so that `masked_after[k]` positions are left after step k.

    A candidate's confidence is its log-probability (natural) plus `path_temperature[k]` times
    Gumbel noise. Ties, which only a temperature of 0 can make, go to the earlier position. A
    `Replay` in place of noise scores its tokens instead of drawing, exactly, whatever
    `path_surprisal` says.

    `grid_logits` is asked once a step, for `n_samples` grids of `n_positions`; `mask_id` is a token
    that is no code. Every position is committed once, so `token_step` is the order of the reveals.

    Raises FloatingPointError where a confidence is NaN.

    >>> import numpy as np
    >>> from generate.traversal.draw import PhiloxNoise
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
    grid = Grid.empty(n_samples, n_positions, mask_id, device)
    masked = torch.ones_like(grid.tokens, dtype=torch.bool)
    n_masked = n_positions
    for index, n_left in enumerate(masked_after):
        step = steps.at(index, grid_logits(grid.tokens, index))
        n, temperature = n_masked - n_left, path_temperature[index]
        if isinstance(noise, Replay):
            move = _replayed(step, noise, masked, n, temperature)
        else:
            move = _drawn(step, masked, n, temperature, path_surprisal)
        grid.change(index, move.commit, move.tokens, move.token_bits, step.probabilities)
        grid.add_path(move.path_bits, move.joint_bits, move.proposal_bits)
        masked = masked & ~move.commit
        n_masked = n_left
    return grid.trace(torch.float64 if isinstance(noise, Replay) else torch.float32)


def _drawn(
    step: Step, masked: Tensor, n: int, temperature: float, path_surprisal: PathSurprisal
) -> Move:
    """The `n` most confident of freshly drawn candidates."""
    candidates = step.identities()
    bits = surprisal(step.probabilities, candidates)
    perturbation = temperature * gumbel(step.uniforms())
    commit = _most_confident(perturbation - math.log(2.0) * bits, masked, n)
    if path_surprisal == "none":
        return Move(candidates, commit, bits)
    if path_surprisal == "exact" and not step.argmax:
        path, joint = exact_surprisals(step.probabilities, candidates, masked, commit, temperature)
        return Move(candidates, commit, bits, path, joint)
    log_p = -math.log(2.0) * bits
    path = set_surprisal_given_candidates(log_p, masked, commit, temperature)
    if path_surprisal == "exact":  # under argmax the state fixes the candidates
        return Move(candidates, commit, bits, path, path)
    return Move(candidates, commit, bits, path)


def _replayed(step: Step, replay: Replay, masked: Tensor, n: int, temperature: float) -> Move:
    """The given tokens that the replay's path commits, or that a proposal ranks as most confident.

    Under argmax only tokens that are modes take part in a proposal.
    """
    given = replay.tokens.to(masked.device)
    bits = surprisal(step.probabilities, given)
    log_p = -math.log(2.0) * bits
    drawable = given == step.modes() if step.argmax else bits.isfinite()
    possible = masked & drawable
    warm = max(temperature, WARM)
    if replay.token_step is not None:
        commit = replay.token_step.to(masked.device) == step.index
    else:
        confidence = log_p + warm * gumbel(step.uniforms())
        lowest = torch.finfo(confidence.dtype).min
        commit = _most_confident(torch.where(possible, confidence, lowest), masked, n)
    proposal = set_surprisal_given_candidates(log_p, possible, commit, warm)
    if step.argmax:
        log_mode = torch.log(step.probabilities.amax(dim=-1))
        path = joint = set_surprisal_given_candidates(log_mode, masked, commit, temperature)
    else:
        path, joint = exact_surprisals(step.probabilities, given, masked, commit, temperature)
    works = (possible | ~commit).all(dim=-1)
    joint, proposal = joint.where(works, torch.inf), proposal.where(works, 0.0)
    return Move(given, commit, bits, path, joint, proposal)


def _most_confident(confidence: Tensor, masked: Tensor, n: int) -> Tensor:
    """The `n` masked positions of highest confidence in each row; refuses what has no order."""
    confidence = confidence.masked_fill(~masked, -torch.inf)
    if confidence.isnan().any():
        raise FloatingPointError(
            "a confidence is NaN: the logits or the noise of this step are broken."
        )
    order = confidence.argsort(dim=-1, descending=True, stable=True)
    return torch.zeros_like(confidence, dtype=torch.bool).scatter(-1, order[:, :n], True)
