"""Laws of the final grid by enumeration: loops over every state, candidate and order, no cleverness.

`law(state)` gives the identity law of every position, (position, code), of a grid with masks.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from generate.traversal.transition import Schedule

State = tuple[int, ...]
Law = Callable[[State], NDArray[np.float64]]
GridLaw = dict[State, float]


def autoregressive(law: Law, n_positions: int, n_codes: int) -> GridLaw:
    result = {}
    for grid in itertools.product(range(n_codes), repeat=n_positions):
        p = 1.0
        for i in range(n_positions):
            state = grid[:i] + (n_codes,) * (n_positions - i)
            p *= law(state)[i, grid[i]]
        result[grid] = p
    return result


def top_set(weights: Sequence[float], n: int) -> dict[frozenset[int], float]:
    """Probability of each set of the n largest of log(weight) + Gumbel: Plackett-Luce, summed over orders."""
    result: dict[frozenset[int], float] = defaultdict(float)
    for order in itertools.permutations(range(len(weights)), n):
        p, left = 1.0, float(sum(weights))
        for i in order:
            p *= weights[i] / left
            left -= weights[i]
        result[frozenset(order)] += p
    return result


def masked(
    law: Law,
    n_positions: int,
    n_codes: int,
    masked_after: Sequence[int],
    temperatures: Sequence[float],
) -> GridLaw:
    states: GridLaw = {(n_codes,) * n_positions: 1.0}
    for n_left, temperature in zip(masked_after, temperatures, strict=True):
        following: GridLaw = defaultdict(float)
        for state, p_state in states.items():
            laws = law(state)
            open_positions = [i for i in range(n_positions) if state[i] == n_codes]
            for candidates in itertools.product(range(n_codes), repeat=len(open_positions)):
                chosen = [laws[i, c] for i, c in zip(open_positions, candidates, strict=True)]
                p_candidates = float(np.prod(chosen))
                if p_candidates == 0:
                    continue
                weights = [p ** (1 / temperature) for p in chosen]
                for kept, p_set in top_set(weights, len(open_positions) - n_left).items():
                    new = list(state)
                    for k in kept:
                        new[open_positions[k]] = candidates[k]
                    following[tuple(new)] += p_state * p_candidates * p_set
        states = following
    return dict(states)


def posterior(
    state: int, x0: int, schedule: Schedule, t: int, codes: Sequence[int], mask: int
) -> dict[int, float]:
    """q(x_{t-1} | x_t, x0) from Bayes' rule on the forward matrices of one position."""
    alpha, beta, gamma = schedule.one_step(t)

    def forward(old: int, new: int) -> float:
        if old == mask:
            return float(new == mask)
        return gamma if new == mask else alpha * (old == new) + beta

    def cumulative(old: int, new: int) -> float:
        a, b, g = schedule.alpha[t - 1], schedule.beta[t - 1], schedule.gamma[t - 1]
        return float(g) if new == mask else float(a * (old == new) + b)

    weights = {new: forward(new, state) * cumulative(x0, new) for new in (*codes, mask)}
    total = sum(weights.values())
    if total == 0:  # a token that this x0 cannot have led to: it stays
        return {state: 1.0}
    return {new: w / total for new, w in weights.items()}


def diffusion(
    law: Law, n_positions: int, n_codes: int, schedule: Schedule, codes: Sequence[int]
) -> GridLaw:
    states: GridLaw = {(n_codes,) * n_positions: 1.0}
    for t in range(schedule.n_steps, 0, -1):
        following: GridLaw = defaultdict(float)
        for state, p_state in states.items():
            laws = law(state)
            moves = []
            for i, token in enumerate(state):
                mixture: dict[int, float] = defaultdict(float)
                for x0 in codes:
                    if laws[i, x0] > 0:
                        for new, q in posterior(token, x0, schedule, t, codes, n_codes).items():
                            mixture[new] += float(laws[i, x0]) * q
                moves.append({new: q for new, q in mixture.items() if q > 0})
            for new in itertools.product(*moves):
                p = float(np.prod([move[token] for move, token in zip(moves, new, strict=True)]))
                following[new] += p_state * p
        states = following
    return dict(states)
