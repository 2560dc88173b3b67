"""The mask-and-replace process: its schedule, and a reverse step q(x_{t-1} | x_t, x0).

Gu et al. (2022), doi:10.1109/CVPR52688.2022.01043.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TINY = 1e-300


@dataclass(frozen=True)
class Schedule:
    """Cumulative transition of the forward process, index t = 0..T.

    A token stays with `alpha`, moves to each code with `beta`, is masked with `gamma`;
    `alpha + K beta + gamma = 1`, and at t = 0 nothing has changed.
    """

    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    gamma: NDArray[np.float64]

    @property
    def n_steps(self) -> int:
        """Number of steps T."""
        return len(self.gamma) - 1

    @property
    def revises(self) -> bool:
        """Whether tokens are ever replaced, so that a revealed one may still change.

        Where not, a position changes once, and the step of that change tells the whole trajectory.
        """
        return bool(self.beta.any())

    def one_step(self, t: int) -> tuple[float, float, float]:
        """(alpha, beta, gamma) of the single step t-1 -> t, for t = 1..T.

        A token stays with alpha + beta, becomes each other code with beta, and is masked with
        gamma. Zero stands where the cumulative process leaves nothing to divide by.

        >>> [float(share) for share in absorbing(4).one_step(3)]
        [0.5, 0.0, 0.5]
        """
        alpha = 0.0
        if self.alpha[t - 1] > 0:
            alpha = self.alpha[t] / self.alpha[t - 1]
        gamma = 0.0
        open_before = 1.0 - self.gamma[t - 1]
        if open_before > 0:
            gamma = 1.0 - (1.0 - self.gamma[t]) / open_before
        if self.beta[t] == 0:  # nothing is ever replaced; rounding must not say otherwise
            return alpha, 0.0, gamma
        n_codes = (1.0 - self.alpha[t] - self.gamma[t]) / self.beta[t]
        return alpha, max(1.0 - alpha - gamma, 0.0) / n_codes, gamma


def absorbing(n_steps: int) -> Schedule:
    """Tokens are only ever masked, at a constant rate: the random-reveal limit without revisions.

    >>> absorbing(4).gamma
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    gamma = np.linspace(0.0, 1.0, n_steps + 1)
    return Schedule(alpha=1.0 - gamma, beta=np.zeros_like(gamma), gamma=gamma)


def mask_and_replace(
    n_steps: int, n_codes: int, *, alpha: tuple[float, float], gamma: tuple[float, float]
) -> Schedule:
    """Cumulative alpha and gamma linear in t between the values at t = 1 and t = T.

    What the two leave over replaces tokens, equally by each of `n_codes`. VQ-Diffusion's schedule.
    """
    stay = np.array([1.0, *np.linspace(*alpha, n_steps)])
    mask = np.array([0.0, *np.linspace(*gamma, n_steps)])
    return Schedule(alpha=stay, beta=(1.0 - stay - mask) / n_codes, gamma=mask)


@dataclass(frozen=True)
class Transition:
    """q(x_{t-1} | x_t, x0) of one step: probability of each outcome, by the state of a position.

    Every weight is normalised over the `n_codes` that may appear: `mask_*` from MASK, `same_*` from
    a token that equals x0, `other_*` from one that differs. `*_jump` is the total over codes that
    are neither x_t nor x0.
    """

    n_codes: int
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
        """The transition from time t to t - 1, for t = T..1, over `n_codes` that may appear.

        Bayes' rule on the forward process, renormalised where a probe allows fewer codes than the
        schedule was made for. From a state that the forward process cannot reach, nothing moves.
        """
        a, b, g = schedule.alpha[t - 1], schedule.beta[t - 1], schedule.gamma[t - 1]
        at, bt, ct = schedule.one_step(t)
        mask = _normalised(g, ct * (a + b), ct * b * (n_codes - 1))
        same = _normalised((at + bt) * (a + b), bt * b * (n_codes - 1))
        other = _normalised((at + bt) * b, bt * (a + b), bt * b * max(n_codes - 2, 0))
        return cls(n_codes, *mask, *same, *other)

    def move(
        self, state: Tensor, x0: Tensor, codes: Tensor, uniform: Tensor, *, mask_id: int
    ) -> tuple[Tensor, Tensor]:
        """Next state of every position, and which jumped to a code that is neither x_t nor x0.

        `state`, `x0` and `uniform` are (sample, position); `codes` (code,) are the ids that may
        appear. The unit interval is cut into stay, reveal x0, jump; what is left of the uniform
        inside a jump picks the code.
        """
        is_mask, is_x0 = state == mask_id, state == x0
        stay = _by_state(is_mask, is_x0, self.mask_stay, self.same_stay, self.other_stay)
        reveal = _by_state(is_mask, is_x0, self.mask_reveal, 0.0, self.other_reveal)
        jumped = (uniform >= stay + reveal) & (stay + reveal < 1)
        new = torch.where(uniform < stay, state, x0)
        if not jumped.any():
            return new, jumped
        rest = (uniform - stay - reveal) / (1 - stay - reveal).clamp(min=TINY)
        one_excluded = torch.where(is_mask, x0, state)
        low = torch.searchsorted(codes, torch.minimum(one_excluded, x0))
        high = torch.searchsorted(codes, torch.maximum(one_excluded, x0))
        n_others = len(codes) - 1 - (low != high).long()
        pick = (rest.clamp(0, 1) * n_others).long()
        pick = torch.minimum(pick, (n_others - 1).clamp(min=0))
        pick = pick + (pick >= low).long()
        pick = pick + ((pick >= high) & (low != high)).long()
        return torch.where(jumped, codes[pick.clamp(max=len(codes) - 1)], new), jumped

    def pattern_bits(
        self, state: Tensor, changed: Tensor, belief: Tensor, *, mask_id: int
    ) -> Tensor:
        """-log2 of the probability that exactly the `changed` positions change, given the state, (sample,).

        `belief` is the law of x0, (sample, position, code). Exact, as positions change
        independently.
        """
        p_same = _believed(belief, state, mask_id)
        revise = p_same * (1 - self.same_stay) + (1 - p_same) * (1 - self.other_stay)
        change = torch.where(state == mask_id, 1 - self.mask_stay, revise)
        probability = torch.where(changed, change, 1 - change)
        return -torch.log2(probability).sum(dim=-1).float()

    def move_bits(self, state: Tensor, new: Tensor, belief: Tensor, *, mask_id: int) -> Tensor:
        """-log2 q(x_{t-1} | x_t) of the move from `state` to `new`, x0 summed out, (sample,).

        `belief` is the law of x0, (sample, position, code). Each of the codes a jump can reach gets
        the same share of it.
        """
        p_old, p_new = _believed(belief, state, mask_id), _believed(belief, new, mask_id)
        one_of, one_of_others = 1 / max(self.n_codes - 1, 1), 1 / max(self.n_codes - 2, 1)
        reveal = self.mask_reveal * p_new + self.mask_jump * one_of * (1 - p_new)
        stay = self.same_stay * p_old + self.other_stay * (1 - p_old)
        revise = self.other_reveal * p_new + self.same_jump * one_of * p_old
        revise = revise + self.other_jump * one_of_others * (1 - p_old - p_new).clamp(min=0)
        from_mask = torch.where(new == mask_id, self.mask_stay, reveal)
        from_token = torch.where(new == state, stay, revise)
        probability = torch.where(state == mask_id, from_mask, from_token)
        return -torch.log2(probability).sum(dim=-1).float()


def _normalised(*weights: float) -> list[float]:
    """Weights divided by their sum; all zero (an impossible state) stays put, the first outcome."""
    total = sum(weights)
    if total > 0:
        return [weight / total for weight in weights]
    return [1.0, *[0.0] * (len(weights) - 1)]


def _believed(belief: Tensor, tokens: Tensor, mask_id: int) -> Tensor:
    """Probability of each token as x0, (sample, position) float64; of MASK it means nothing."""
    code = tokens.clamp(max=mask_id - 1).unsqueeze(-1)
    return belief.gather(-1, code).squeeze(-1).double()


def _by_state(is_mask: Tensor, is_x0: Tensor, mask: float, same: float, other: float) -> Tensor:
    choice = torch.full(is_mask.shape, other, dtype=torch.float64, device=is_mask.device)
    return choice.masked_fill(is_x0, same).masked_fill(is_mask, mask)
