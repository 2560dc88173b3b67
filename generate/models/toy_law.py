"""The whole law of a toy model by enumeration, with no cleverness: what everything else is tested against.

No loop of the traversals and nothing of `path_probability` is used: sets of a masked step come from
every order in which Gumbel-ranked candidates can be committed, transitions of the diffusion from Bayes'
rule on the forward process.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from generate.models.toy import Toy, ToyDiffusion, ToyMasked
from generate.study.probes import Probe
from generate.traversal.step import allowed_codes

Array = NDArray[np.float64]
Path = tuple[tuple[int, ...], ...]
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Law:
    """Joint probabilities of path and tokens for one prompt, and the causal entropies of the steps, in bits.

    The path is the set of positions changed at each step, S_1 S_2 ... . `path_causal` is A = sum_t H(S_t | s_t) and
    `execution_causal` B = sum_t H(z_{S_t} | S_t, s_t), with s_t the state before the step. `path_given_candidates` is
    A' = sum_t H(S_t | c_t, s_t), and `execution_marginal` B' the expected sum of -log2 p_i(z_i | s_t) over tokens when
    they are committed. `final_step` is H(z_0 | z_1) of a diffusion,
    the execution entropy if the whole trajectory is called the path.
    """

    joint: Mapping[tuple[Path, Tokens], float]
    path_causal: float
    execution_causal: float
    path_given_candidates: float
    execution_marginal: float
    final_step: float = float("nan")

    @property
    def path(self) -> float:
        """H(P)."""
        return entropy(_marginal(self.joint, 0))

    @property
    def tokens(self) -> float:
        """H(Z)."""
        return entropy(_marginal(self.joint, 1))

    @property
    def both(self) -> float:
        """H(P, Z); equals A + B where no token is revised."""
        return entropy(self.joint)

    @property
    def tokens_given_path(self) -> float:
        """H(Z | P)."""
        return self.both - self.path

    @property
    def path_given_tokens(self) -> float:
        """H(P | Z), the residual."""
        return self.both - self.tokens

    @property
    def token_law(self) -> dict[Tokens, float]:
        """Probability of every grid."""
        return {z: p for z, p in _marginal(self.joint, 1).items() if isinstance(z, tuple)}


def entropy(law: Mapping[Any, float]) -> float:
    """Entropy in bits of a law."""
    p = np.array([value for value in law.values() if value > 0])
    return float(-(p * np.log2(p)).sum())


def enumerate_law(model: Toy, text: str, probe: Probe | None = None) -> Law:
    """The law of a toy for one text, under a probe."""
    probe = probe or Probe()
    if isinstance(model, ToyMasked):
        return _masked(model, text, probe)
    if isinstance(model, ToyDiffusion):
        return _diffusion(model, text, probe)
    return _raster(model, text, probe)


def _marginal(joint: Mapping[tuple[Path, Tokens], float], axis: int) -> dict[Hashable, float]:
    law: dict[Hashable, float] = defaultdict(float)
    for event, probability in joint.items():
        law[event[axis]] += probability
    return law


def _drawn_law(model: Toy, text: str, state: Tokens, step: int, probe: Probe) -> Array:
    """Probabilities (position, code) that identities are drawn from at a step; one-hot where argmax picks them."""
    p = _model_law(model, text, state, probe)
    modes: Array = np.eye(p.shape[1])[p.argmax(axis=1)]
    return modes if probe.argmax(step, model.identity.steps) else p


def _model_law(model: Toy, text: str, state: Tokens, probe: Probe) -> Array:
    """Probabilities (position, code) that the model gives, restricted to the allowed codes."""
    allowed = allowed_codes(probe)
    logits = model.logits(model.encode([text]), torch.tensor([state]))
    p: Array = model.law.probabilities(logits, allowed)[0].double().numpy()
    normalised: Array = p / p.sum(axis=1, keepdims=True)
    return normalised


def _raster(model: Toy, text: str, probe: Probe) -> Law:
    n, k = model.settings.positions, model.settings.codes
    reached: dict[Tokens, float] = {(k,) * n: 1.0}
    path: Path = tuple((position,) for position in range(n))
    execution = 0.0
    for position in range(n):
        following: dict[Tokens, float] = {}
        for state, probability in reached.items():
            p = _drawn_law(model, text, state, position, probe)[position]
            execution += probability * entropy(dict(enumerate(p)))
            for code in np.flatnonzero(p):
                following[(*state[:position], int(code), *state[position + 1 :])] = (
                    probability * float(p[code])
                )
        reached = following
    joint = {(path, tokens): probability for tokens, probability in reached.items()}
    return Law(joint, 0.0, execution, 0.0, execution)


def _masked(model: ToyMasked, text: str, probe: Probe) -> Law:
    n, k, temperature = (
        model.settings.positions,
        model.settings.codes,
        model.settings.path_temperature,
    )
    reached: dict[tuple[Path, Tokens], float] = {((), (k,) * n): 1.0}
    sums = np.zeros(4)
    for step, n_left in enumerate(model.masked_after):
        following: dict[tuple[Path, Tokens], float] = defaultdict(float)
        for (path, state), probability in reached.items():
            p, drawn = (
                _model_law(model, text, state, probe),
                _drawn_law(model, text, state, step, probe),
            )
            events, given_candidates, marginal = _commits(p, drawn, state, k, n_left, temperature)
            sets: dict[Hashable, float] = defaultdict(float)
            for (chosen, after), q in events.items():
                sets[chosen] += q
                following[(*path, chosen), after] += probability * q
            set_bits = entropy(sets)
            sums += probability * np.array(
                [set_bits, entropy(events) - set_bits, given_candidates, marginal]
            )
        reached = following
    return Law(reached, *sums.tolist())


def _commits(
    p: Array, drawn: Array, state: Tokens, k: int, n_left: int, temperature: float
) -> tuple[dict[tuple[tuple[int, ...], Tokens], float], float, float]:
    """Probability of each (committed set, next state), H(S | c) and the mean of -log2 p over committed tokens.

    Candidates come from the law `drawn` and are ranked by their probability under `p`.
    """
    positions = [i for i, token in enumerate(state) if token == k]
    events: dict[tuple[tuple[int, ...], Tokens], float] = defaultdict(float)
    given_candidates = marginal = 0.0
    for candidates in itertools.product(*(np.flatnonzero(drawn[i]) for i in positions)):
        chances = drawn[positions, candidates]
        weight = float(np.prod(chances))
        chosen_sets = best_sets(
            np.log(p[positions, candidates]), len(positions) - n_left, temperature
        )
        given_candidates += weight * entropy(chosen_sets)
        for chosen, q in chosen_sets.items():
            after = list(state)
            for index in chosen:
                after[positions[index]] = int(candidates[index])
                marginal -= weight * q * float(np.log2(chances[index]))
            events[tuple(positions[index] for index in chosen), tuple(after)] += weight * q
    return events, given_candidates, marginal


def best_sets(log_p: Array, n: int, temperature: float) -> dict[tuple[int, ...], float]:
    """Probability that `log_p + temperature * Gumbel` is highest at each set of n positions.

    With noise the order is Plackett-Luce: each next one has probability w / (sum of the w that remain), w = p^(1/T).
    Without, the earlier position wins a tie.
    """
    positions = range(len(log_p))
    if temperature == 0:
        return {tuple(sorted(sorted(positions, key=lambda i: (-log_p[i], i))[:n])): 1.0}
    sets: dict[tuple[int, ...], float] = {}
    log_w = log_p / temperature
    for chosen in itertools.combinations(positions, n):
        sets[chosen] = 0.0
        for order in itertools.permutations(chosen):
            log_q, remaining = 0.0, list(positions)
            for position in order:
                log_q += log_w[position] - np.logaddexp.reduce(log_w[remaining])
                remaining.remove(position)
            sets[chosen] += float(np.exp(log_q))
    return sets


def _diffusion(model: ToyDiffusion, text: str, probe: Probe) -> Law:
    n, k = model.settings.positions, model.settings.codes
    states = list(itertools.product(range(k + 1), repeat=n))
    pattern = np.array(
        [[sum(2**i for i in range(n) if a[i] != b[i]) for b in states] for a in states]
    )
    by_path: dict[tuple[int, ...], Array] = {
        (): np.eye(len(states))[-1]
    }  # the last state is all MASK
    path_bits = joint_bits = marginal_bits = last = 0.0
    for step in range(model.settings.steps):
        reach = np.sum(list(by_path.values()), axis=0)
        transition = np.zeros((len(states), len(states)))
        for index in np.flatnonzero(reach):
            p = _drawn_law(model, text, states[index], step, probe)
            moves = _moves(model, states[index], p, model.settings.steps - step, probe)
            transition[index] = moves[np.arange(n), np.array(states)].prod(axis=1)
            marginal_bits += reach[index] * sum(
                -moves[i, code] * np.log2(p[i, code]) for i in range(n) for code in range(k)
                if code != states[index][i] and p[i, code] > 0
            )  # fmt: skip
            path_bits += reach[index] * entropy(
                dict(enumerate(np.bincount(pattern[index], transition[index])))
            )
        step_bits = float(
            sum(reach[i] * entropy(dict(enumerate(transition[i]))) for i in np.flatnonzero(reach))
        )
        joint_bits, last = joint_bits + step_bits, step_bits
        paths, masses = list(by_path), np.stack(list(by_path.values()))
        by_path = {}
        for number in range(2**n):
            moved = masses @ np.where(pattern == number, transition, 0.0)
            by_path |= {
                (*path, number): mass for path, mass in zip(paths, moved, strict=True) if mass.any()
            }
    joint = {
        (
            tuple(tuple(i for i in range(n) if number >> i & 1) for number in path),
            states[index],
        ): float(mass[index])
        for path, mass in by_path.items()
        for index in np.flatnonzero(mass)
    }
    return Law(joint, path_bits, joint_bits - path_bits, path_bits, marginal_bits, last)


def _moves(model: ToyDiffusion, state: Tokens, p: Array, t: int, probe: Probe) -> Array:
    """q(x_{t-1} | x_t) by Bayes' rule, x0 ~ p summed out: (position, code or MASK)."""
    k = model.settings.codes
    usable = np.append(np.ones(k, dtype=bool) if probe.allowed is None else probe.allowed, True)
    before = _forward(
        model.schedule.alpha[t - 1], model.schedule.beta[t - 1], model.schedule.gamma[t - 1], k
    )
    single = _forward(*model.schedule.one_step(t), k)
    moves = np.zeros((len(state), k + 1))
    for i, now in enumerate(state):
        for x0 in np.flatnonzero(p[i]):
            posterior = before[x0] * single[:, now] * usable
            moves[i] += p[i, x0] * (
                posterior / posterior.sum() if posterior.sum() > 0 else np.eye(k + 1)[now]
            )
    return moves


def _forward(alpha: float, beta: float, gamma: float, k: int) -> Array:
    """q(to | from) of the forward process over codes and MASK, which absorbs."""
    matrix = np.zeros((k + 1, k + 1))
    matrix[:k, :k] = beta + alpha * np.eye(k)
    matrix[:k, k] = gamma
    matrix[k, k] = 1.0
    return matrix
