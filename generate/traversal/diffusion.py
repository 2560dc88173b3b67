"""Discrete diffusion by mask-and-replace (paper eq. 7-8), as in VQ-Diffusion.

Gu et al. (2022), doi:10.1109/CVPR52688.2022.01043. One step draws x0 at every position (execution),
then the next state from q(x_{t-1} | x_t, x0) (path). That has the law of a single draw from the
mixture posterior, but keeps the two kinds of randomness apart. Revealed tokens may be revised where
the schedule replaces tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from generate.study.probes import Probe
from generate.traversal.draw import Law, Noise, surprisal
from generate.traversal.replay import Replay
from generate.traversal.step import Steps
from generate.traversal.trace import Grid, Trace
from generate.traversal.transition import Schedule, Transition
from schemas.timings import stage

GridLogits = Callable[[Tensor, int], Tensor]
"""Guided logits (sample, position, code) of x0.

Called with tokens (sample, position), MASK where open, and the time t = T..1.
"""


def traverse(
    grid_logits: GridLogits,
    n_samples: int,
    n_positions: int,
    n_codes: int,
    *,
    schedule: Schedule,
    law: Law,
    probe: Probe,
    noise: Noise,
    device: torch.device | str = "cpu",
) -> Trace:
    """Denoise from an all-MASK grid (id `n_codes`) in `schedule.n_steps` steps.

    `grid_logits` is asked once a step for `n_samples` grids of `n_positions`, and step k goes from
    t = T - k.

    Argmax takes the mode of x0 and leaves the transition random. A token that came by a uniform
    jump carries the surprisal of that jump. `path_surprisal` and `joint_surprisal` are exact: given
    the state, positions change independently.

    A `Replay` in place of noise scores its tokens: a proposed trajectory follows q(x_{t-1} | x_t,
    x0) with x0 the given tokens. The trajectory that made them is, without revisions, known from
    its reveals. With revisions the steps of the last changes do not say it, so it is made again
    from its noise: where rounding lets it end in other tokens, those are the trace's.

    >>> import numpy as np
    >>> from generate.traversal.draw import PhiloxNoise, TokenLaw
    >>> from generate.traversal.transition import absorbing
    >>> def grid_logits(tokens, t):
    ...     return torch.zeros(len(tokens), 4, 3)  # three codes, equally likely
    >>> trace = traverse(
    ...     grid_logits,
    ...     n_samples=2,
    ...     n_positions=4,
    ...     n_codes=3,
    ...     schedule=absorbing(5),
    ...     law=TokenLaw(),
    ...     probe=Probe(),
    ...     noise=PhiloxNoise(*np.arange(4, dtype=np.uint64).reshape(2, 2)),
    ... )
    >>> trace.token_surprisal[0]
    tensor([1.5850, 1.5850, 1.5850, 1.5850])
    """
    replay = noise if isinstance(noise, Replay) else None
    x0_given, revealed_at = _forced(replay, schedule, device)
    certain = None if replay is None else one_hot(replay.tokens.to(device), n_codes).float()
    steps = Steps(law, probe, noise if replay is None else replay.noise, schedule.n_steps)
    codes = steps.codes(n_codes, device)
    jump_bits = math.log2(max(len(codes) - 1, 1))
    grid = Grid.empty(n_samples, n_positions, n_codes, device)
    for index in range(schedule.n_steps):
        t = schedule.n_steps - index
        state = grid.tokens
        step = steps.at(index, grid_logits(state, t))
        transition = Transition.at(schedule, t, len(codes))
        x0 = step.identities() if x0_given is None else x0_given
        if revealed_at is None:
            new, jumped = transition.move(state, x0, codes, step.uniforms(), mask_id=n_codes)
        else:
            new, jumped = torch.where(revealed_at == index, x0, state), None
        changed = new != state
        bits = surprisal(step.probabilities, x0)
        if jumped is not None:
            bits = torch.where(jumped, jump_bits, bits)
        belief = step.belief()
        proposal = None
        if certain is not None:
            proposal = transition.move_bits(state, new, certain, mask_id=n_codes)
        with stage("bits"):
            path = transition.pattern_bits(state, changed, belief, mask_id=n_codes)
            joint = transition.move_bits(state, new, belief, mask_id=n_codes)
        grid.add_path(path, joint, proposal)
        grid.change(index, changed, new, bits, step.probabilities)
    return grid.trace(torch.float32 if replay is None else torch.float64)


def _forced(
    replay: Replay | None, schedule: Schedule, device: torch.device | str
) -> tuple[Tensor | None, Tensor | None]:
    """What a replay puts in place of draws: x0 and the steps of reveals, (sample, position)."""
    if replay is None:
        return None, None
    tokens = replay.tokens.to(device)
    if replay.token_step is None:
        return tokens, None
    if schedule.revises:
        return None, None
    return tokens, replay.token_step.to(device)
