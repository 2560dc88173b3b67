"""Discrete diffusion by mask-and-replace (paper eq. 7-8), as in VQ-Diffusion.

Gu et al. (2022), doi:10.1109/CVPR52688.2022.01043. One step draws x0 at every position (execution), then the next
state from q(x_{t-1} | x_t, x0) (path). That has the law of a single draw from the mixture posterior, but keeps the
two kinds of randomness apart. Revealed tokens may be revised where the schedule replaces tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.study.probes import Probe
from generate.traversal.draw import Noise, TokenLaw, entropy, identify, surprisal
from generate.traversal.replay import Replay
from generate.traversal.trace import Trace

GridLogits = Callable[[Tensor, int], Tensor]
"""Guided logits (sample, position, code) of x0 for tokens (sample, position), MASK where open, at time t = T..1."""


@dataclass(frozen=True)
class Schedule:
    """Cumulative transition of the forward process, index t = 0..T: a token stays with `alpha`, moves to each code
    with `beta`, is masked with `gamma`; `alpha + K beta + gamma = 1`, and at t = 0 nothing has changed.
    """

    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    gamma: NDArray[np.float64]

    @property
    def n_steps(self) -> int:
        """Number of steps T."""
        return len(self.gamma) - 1

    def one_step(self, t: int) -> tuple[float, float, float]:
        """(alpha, beta, gamma) of the single step t-1 -> t."""
        alpha = self.alpha[t] / self.alpha[t - 1] if self.alpha[t - 1] > 0 else 0.0
        open_before = 1.0 - self.gamma[t - 1]
        gamma = 1.0 - (1.0 - self.gamma[t]) / open_before if open_before > 0 else 0.0
        if self.beta[t] == 0:  # nothing is ever replaced; rounding must not say otherwise
            return alpha, 0.0, gamma
        n_codes = (1.0 - self.alpha[t] - self.gamma[t]) / self.beta[t]
        return alpha, max(1.0 - alpha - gamma, 0.0) / n_codes, gamma


def absorbing(n_steps: int) -> Schedule:
    """Tokens are only ever masked, at a constant rate: the random-reveal limit without revisions."""
    gamma = np.linspace(0.0, 1.0, n_steps + 1)
    return Schedule(alpha=1.0 - gamma, beta=np.zeros_like(gamma), gamma=gamma)


def mask_and_replace(
    n_steps: int, n_codes: int, *, alpha: tuple[float, float], gamma: tuple[float, float]
) -> Schedule:
    """Cumulative alpha and gamma linear in t between the values at t = 1 and t = T; what is left replaces tokens."""
    stay, mask = (np.array([0.0, *np.linspace(*ends, n_steps)]) for ends in (alpha, gamma))
    stay[0] = 1.0
    return Schedule(alpha=stay, beta=(1.0 - stay - mask) / n_codes, gamma=mask)


@dataclass(frozen=True)
class Transition:
    """q(x_{t-1} | x_t, x0) of one step: probabilities of the three kinds of outcome, by the state of a position.

    Every weight is normalised over the `n_codes` that may appear: `mask_*` from MASK, `same_*` from a token that
    equals x0, `other_*` from one that differs. `*_jump` is the total over codes that are neither x_t nor x0.
    """

    mask_stay: float
    mask_reveal: float
    mask_jump: float
    same_stay: float
    same_jump: float
    other_stay: float
    other_reveal: float
    other_jump: float

    @classmethod
    def at(cls, schedule: Schedule, t: int, n_codes: int) -> Transition:
        """The transition from time t to t - 1."""
        a, b, g = schedule.alpha[t - 1], schedule.beta[t - 1], schedule.gamma[t - 1]
        at, bt, ct = schedule.one_step(t)
        mask = _normalised(g, ct * (a + b), ct * b * (n_codes - 1))
        same = _normalised((at + bt) * (a + b), bt * b * (n_codes - 1))
        other = _normalised((at + bt) * b, bt * (a + b), bt * b * max(n_codes - 2, 0))
        return cls(*mask, *same, *other)


def _normalised(*weights: float) -> list[float]:
    """Weights divided by their sum; all zero (an impossible state) stays put, the first outcome."""
    total = sum(weights)
    return [w / total for w in weights] if total > 0 else [1.0, *[0.0] * (len(weights) - 1)]


def traverse(
    grid_logits: GridLogits,
    n_samples: int,
    n_positions: int,
    n_codes: int,
    *,
    schedule: Schedule,
    law: TokenLaw,
    probe: Probe,
    noise: Noise,
    device: torch.device | str = "cpu",
) -> Trace:
    """Denoise from an all-MASK grid (id `n_codes`) in `schedule.n_steps` steps; step k goes from t = T - k.

    Argmax takes the mode of x0 and leaves the transition random. A token that came by a uniform jump carries the
    surprisal of that jump. `path_surprisal` and `joint_surprisal` are exact: given the state, positions change
    independently.
    """
    if isinstance(noise, Replay):
        return _replay(grid_logits, n_codes, schedule, law, probe, noise, device)
    n_steps = schedule.n_steps
    shape = (n_samples, n_positions)
    state = torch.full(shape, n_codes, dtype=torch.int64, device=device)
    step_of = torch.zeros(shape, dtype=torch.int64, device=device)
    surprisals, entropies = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
    path_bits, joint_bits = torch.zeros((2, n_samples, n_steps), device=device)
    allowed = None if probe.allowed is None else torch.from_numpy(probe.allowed).to(device)
    codes = torch.arange(n_codes, device=device) if allowed is None else allowed.nonzero()[:, 0]
    for step in range(n_steps):
        t = n_steps - step
        transition = Transition.at(schedule, t, len(codes))
        argmax = probe.argmax(step, n_steps)
        probabilities = law.probabilities(grid_logits(state, t), allowed)
        x0 = identify(probabilities, step, argmax=argmax, noise=noise)
        uniform = noise.path(step, n_positions).to(device)
        new, jumped = _move(state, x0, transition, codes, uniform, mask_id=n_codes)
        changed = new != state
        bits = torch.where(
            jumped, float(np.log2(max(len(codes) - 1, 1))), surprisal(probabilities, x0)
        )
        belief = torch.nn.functional.one_hot(x0, n_codes).float() if argmax else probabilities
        path_bits[:, step] = _pattern_bits(state, changed, transition, belief, mask_id=n_codes)
        joint_bits[:, step] = _move_bits(
            state, new, transition, belief, len(codes), mask_id=n_codes
        )
        surprisals = torch.where(changed, bits, surprisals)
        entropies = torch.where(changed, entropy(probabilities), entropies)
        step_of = step_of.masked_fill(changed, step)
        state = new
    return Trace(
        state,
        surprisals,
        entropies,
        token_step=step_of,
        path_surprisal=path_bits,
        joint_surprisal=joint_bits,
    )


def _replay(
    grid_logits: GridLogits,
    n_codes: int,
    schedule: Schedule,
    law: TokenLaw,
    probe: Probe,
    replay: Replay,
    device: torch.device | str,
) -> Trace:
    """Score given tokens. A proposed trajectory follows q(x_{t-1} | x_t, x0) with x0 the given tokens.

    What that is without revisions is the law of the reveals. With revisions the steps of the last changes do not say
    the trajectory, so the sampled one is made again from its noise: where rounding lets it end in other tokens, those
    are the trace's.
    """
    given, n_steps = replay.tokens.to(device), schedule.n_steps
    state = torch.full_like(given, n_codes)
    step_of = torch.zeros_like(given)
    surprisals, entropies = torch.zeros((2, *given.shape), device=device)
    allowed = None if probe.allowed is None else torch.from_numpy(probe.allowed).to(device)
    codes = torch.arange(n_codes, device=device) if allowed is None else allowed.nonzero()[:, 0]
    certain = torch.nn.functional.one_hot(given, n_codes).float()
    path, joint, proposed = torch.zeros(
        (3, len(given), n_steps), dtype=torch.float64, device=device
    )
    for step in range(n_steps):
        t = n_steps - step
        transition = Transition.at(schedule, t, len(codes))
        argmax = probe.argmax(step, n_steps)
        probabilities = law.probabilities(grid_logits(state, t), allowed)
        belief = (
            torch.nn.functional.one_hot(probabilities.argmax(dim=-1), n_codes).float()
            if argmax
            else probabilities
        )
        if replay.token_step is not None and not schedule.beta.any():
            new = torch.where(replay.token_step.to(device) == step, given, state)
        else:
            own = replay.token_step is not None
            x0 = identify(probabilities, step, argmax=argmax, noise=replay.noise) if own else given
            uniform = replay.path(step, given.shape[1]).to(device)
            new, _ = _move(state, x0, transition, codes, uniform, mask_id=n_codes)
        changed = new != state
        path[:, step] = _pattern_bits(state, changed, transition, belief, mask_id=n_codes)
        joint[:, step] = _move_bits(state, new, transition, belief, len(codes), mask_id=n_codes)
        proposed[:, step] = _move_bits(state, new, transition, certain, len(codes), mask_id=n_codes)
        surprisals = torch.where(
            changed, surprisal(probabilities, new.clamp(max=n_codes - 1)), surprisals
        )
        entropies = torch.where(changed, entropy(probabilities), entropies)
        step_of = step_of.masked_fill(changed, step)
        state = new
    return Trace(state, surprisals, entropies, step_of, path, joint, proposed)


def _move(
    state: Tensor,
    x0: Tensor,
    transition: Transition,
    codes: Tensor,
    uniform: Tensor,
    *,
    mask_id: int,
) -> tuple[Tensor, Tensor]:
    """Next state of every position, and which positions jumped to a code that is neither x_t nor x0.

    The unit interval is cut into stay, reveal x0, jump; what is left of the uniform inside a jump picks the code.
    """
    is_mask, is_x0 = state == mask_id, state == x0
    stay = _by_state(
        is_mask, is_x0, transition.mask_stay, transition.same_stay, transition.other_stay
    )
    reveal = _by_state(is_mask, is_x0, transition.mask_reveal, 0.0, transition.other_reveal)
    jumped = uniform >= stay + reveal
    new = torch.where(uniform < stay, state, x0)
    if not (jumped & (stay + reveal < 1)).any():
        return new, torch.zeros_like(jumped)
    jumped = jumped & (stay + reveal < 1)
    rest = ((uniform - stay - reveal) / (1 - stay - reveal).clamp(min=1e-300)).clamp(0, 1)
    excluded_low = torch.minimum(torch.where(is_mask, x0, state), x0)
    excluded_high = torch.maximum(torch.where(is_mask, x0, state), x0)
    low, high = torch.searchsorted(codes, excluded_low), torch.searchsorted(codes, excluded_high)
    n_others = len(codes) - 1 - (low != high).long()
    pick = torch.minimum((rest * n_others).long(), (n_others - 1).clamp(min=0))
    pick = pick + (pick >= low).long()
    pick = pick + ((pick >= high) & (low != high)).long()
    return torch.where(jumped, codes[pick.clamp(max=len(codes) - 1)], new), jumped


def _pattern_bits(
    state: Tensor, changed: Tensor, transition: Transition, belief: Tensor, *, mask_id: int
) -> Tensor:
    """-log2 of the probability that exactly the `changed` positions change, given the state, (sample,)."""
    is_mask = state == mask_id
    p_same = belief.gather(-1, state.clamp(max=mask_id - 1).unsqueeze(-1)).squeeze(-1).double()
    revise = p_same * (1 - transition.same_stay) + (1 - p_same) * (1 - transition.other_stay)
    change = torch.where(is_mask, 1 - transition.mask_stay, revise)
    probability = torch.where(changed, change, 1 - change)
    return -torch.log2(probability).sum(dim=-1).float()


def _move_bits(
    state: Tensor,
    new: Tensor,
    transition: Transition,
    belief: Tensor,
    n_codes: int,
    *,
    mask_id: int,
) -> Tensor:
    """-log2 q(x_{t-1} | x_t) of the move from `state` to `new`, x0 summed out, (sample,).

    Each of the codes a jump can reach gets the same share of it.
    """

    def believed(tokens: Tensor) -> Tensor:
        return belief.gather(-1, tokens.clamp(max=mask_id - 1).unsqueeze(-1)).squeeze(-1).double()

    p_old, p_new = believed(state), believed(new)
    one_of, one_of_others = 1 / max(n_codes - 1, 1), 1 / max(n_codes - 2, 1)
    reveal = transition.mask_reveal * p_new + transition.mask_jump * one_of * (1 - p_new)
    stay = transition.same_stay * p_old + transition.other_stay * (1 - p_old)
    revise = transition.other_reveal * p_new + transition.same_jump * one_of * p_old
    revise = revise + transition.other_jump * one_of_others * (1 - p_old - p_new).clamp(min=0)
    from_mask = torch.where(new == mask_id, transition.mask_stay, reveal)
    from_token = torch.where(new == state, stay, revise)
    return -torch.log2(torch.where(state == mask_id, from_mask, from_token)).sum(dim=-1).float()


def _by_state(is_mask: Tensor, is_x0: Tensor, mask: float, same: float, other: float) -> Tensor:
    choice = torch.full(is_mask.shape, other, dtype=torch.float64, device=is_mask.device)
    return choice.masked_fill(is_x0, same).masked_fill(is_mask, mask)
