"""The whole law of a toy model by enumeration: what everything else is tested against.

No loop of the traversals and nothing of `path_probability` is used: sets of a masked step come from
every order in which Gumbel-ranked candidates can be committed, transitions of the diffusion from
Bayes' rule on the forward process. Only where a Halton sequence puts positions is taken from there.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from generate.models.toy import Toy, ToyDiffusion, ToyMasked
from generate.study.probes import Probe
from generate.traversal.order import halton
from generate.traversal.step import allowed_codes
from schemas.study import OrderName

Array = NDArray[np.float64]
Path = tuple[tuple[int, ...], ...]
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Law:
    """Joint probabilities of path and tokens for one prompt, and entropies of the steps in bits.

    The path is the set of positions changed at each step, S_1 S_2 ... . `path_causal` is A = sum_t
    H(S_t | s_t) and `execution_causal` B = sum_t H(z_{S_t} | S_t, s_t), with s_t the state before
    the step. `path_given_candidates` is A' = sum_t H(S_t | c_t, s_t), and `execution_marginal` B'
    the expected sum of -log2 p_i(z_i | s_t) over tokens when they are committed. `final_step` is
    H(z_0 | z_1) of a diffusion, the execution entropy if the whole trajectory is called the path;
    NaN for the other families.
    """

    joint: Mapping[tuple[Path, Tokens], float]
    path_causal: float
    execution_causal: float
    path_given_candidates: float
    execution_marginal: float
    final_step: float = float("nan")

    @property
    def path(self) -> float:
        """H(P), the entropy of the path, in bits."""
        return entropy(_marginal(self.joint, 0))

    @property
    def tokens(self) -> float:
        """H(Z), the entropy of the finished grid, in bits."""
        return entropy(_marginal(self.joint, 1))

    @property
    def both(self) -> float:
        """H(P, Z), the entropy of path and grid together, in bits.

        Equals A + B where no token is revised.
        """
        return entropy(self.joint)

    @property
    def tokens_given_path(self) -> float:
        """H(Z | P) = H(P, Z) - H(P), in bits."""
        return self.both - self.path

    @property
    def path_given_tokens(self) -> float:
        """H(P | Z) = H(P, Z) - H(Z), the residual, in bits.

        What the finished grid does not tell of the path that made it.
        """
        return self.both - self.tokens

    @property
    def token_law(self) -> dict[Tokens, float]:
        """Probability of every grid that can occur, by its codes in raster order; they sum to one.

        This is the joint law with the path summed out.
        """
        return _marginal(self.joint, 1)


def entropy(law: Mapping[Any, float]) -> float:
    """Entropy in bits of a law, given as the probability of each outcome.

    >>> entropy({"heads": 0.5, "tails": 0.5, "edge": 0.0})
    1.0
    """
    p = np.array(list(law.values()))
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def enumerate_law(model: Toy, text: str, probe: Probe | None = None) -> Law:
    """The law of a toy for one text, under a probe or none.

    Takes time exponential in positions: for four of them, a second.
    """
    probe = probe or Probe()
    if isinstance(model, ToyMasked):
        return _masked(model, text, probe)
    if isinstance(model, ToyDiffusion):
        return _diffusion(model, text, probe)
    sizes = model.identity.scales or [1] * model.settings.positions
    return _in_order(model, text, probe, sizes)


def _marginal(joint: Mapping[tuple[Path, Tokens], float], axis: int) -> dict[Any, float]:
    """Law of the path (axis 0) or of the tokens (axis 1)."""
    law: dict[Any, float] = defaultdict(float)
    for event, probability in joint.items():
        law[event[axis]] += probability
    return law


def _drawn_law(model: Toy, text: str, state: Tokens, step: int, probe: Probe) -> Array:
    """Probabilities (position, code) that identities are drawn from; one-hot under argmax."""
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


def _in_order(model: Toy, text: str, probe: Probe, sizes: Sequence[int]) -> Law:
    """The law of a fixed order, whose steps draw so many positions at once, given those before."""
    n, k = model.settings.positions, model.settings.codes
    reached: dict[Tokens, float] = {(k,) * n: 1.0}
    path: list[tuple[int, ...]] = []
    execution = 0.0
    for step, size in enumerate(sizes):
        start = sum(sizes[:step])
        path.append(tuple(range(start, start + size)))
        following: dict[Tokens, float] = {}
        for state, probability in reached.items():
            p = _drawn_law(model, text, state, step, probe)[start : start + size]
            execution += probability * sum(entropy(dict(enumerate(law))) for law in p)
            for codes in itertools.product(*map(np.flatnonzero, p)):
                after = (*state[:start], *map(int, codes), *state[start + size :])
                following[after] = probability * float(p[np.arange(size), codes].prod())
        reached = following
    joint = {(tuple(path), tokens): probability for tokens, probability in reached.items()}
    return Law(joint, 0.0, execution, 0.0, execution)


def _masked(model: ToyMasked, text: str, probe: Probe) -> Law:
    n, k = model.settings.positions, model.settings.codes
    temperature = model.settings.path_temperature
    reached: dict[tuple[Path, Tokens], float] = {((), (k,) * n): 1.0}
    sums = np.zeros(4)
    for step, n_left in enumerate(model.masked_after):
        following: dict[tuple[Path, Tokens], float] = defaultdict(float)
        for (path, state), probability in reached.items():
            p = _model_law(model, text, state, probe)
            drawn = _drawn_law(model, text, state, step, probe)
            ranks = _ranks(model, probe, temperature)
            events, given_candidates, marginal = _commits(p, drawn, state, k, n_left, ranks)
            sets: dict[Hashable, float] = defaultdict(float)
            for (chosen, after), q in events.items():
                sets[chosen] += q
                following[(*path, chosen), after] += probability * q
            set_bits = entropy(sets)
            execution = entropy(events) - set_bits
            sums += probability * np.array([set_bits, execution, given_candidates, marginal])
        reached = following
    return Law(reached, *sums.tolist())


@dataclass(frozen=True)
class Ranks:
    """What an order ranks open positions by, and the scale of the noise on it.

    `place` (position,) is where each comes in a fixed order, `bound` the bits that the order
    `entropy_bounded` commits at once.
    """

    order: OrderName
    temperature: float
    place: Array
    bound: float

    def n_committed(self, p: Array, positions: list[int], n_left: int) -> int:
        """How many of the open positions a step commits, of which the schedule leaves `n_left` open.

        Of `entropy_bounded` the most whose entropies less the largest are within the bound, counted
        from the least.
        """
        if self.order != "entropy_bounded" or n_left == 0:
            return len(positions) - n_left
        bits = sorted(entropy(dict(enumerate(p[position]))) for position in positions)
        found = 0
        for n in range(1, len(bits) + 1):
            if sum(bits[:n]) - max(bits[:n]) <= self.bound:
                found = n
        return found

    def of(self, p: Array, positions: list[int], candidates: Tokens) -> tuple[Array, float]:
        """Ranks of some positions with their candidates, and the scale of the noise."""
        law = p[positions]
        if self.order == "confidence":
            return np.log(law[np.arange(len(positions)), candidates]), self.temperature
        if self.order.startswith("entropy"):
            scale = self.temperature if self.order == "entropy" else 0.0
            return (law * np.log(np.where(law > 0, law, 1.0))).sum(axis=1), scale
        if self.order == "random":
            return np.zeros(len(positions)), 1.0
        return -self.place[positions], 0.0


def _ranks(model: ToyMasked, probe: Probe, temperature: float) -> Ranks:
    """How the order of a probe ranks positions; that of a Halton sequence is asked of `halton`."""
    place = np.arange(model.settings.positions, dtype=np.float64)
    if probe.order == "halton":
        place = halton(model.identity.grid).double().numpy()
    return Ranks(probe.order, temperature, place, probe.entropy_bound)


def _commits(
    p: Array, drawn: Array, state: Tokens, k: int, n_left: int, ranks: Ranks
) -> tuple[dict[tuple[tuple[int, ...], Tokens], float], float, float]:
    """Probability of each (committed set, next state), H(S | c) and the mean bits of the tokens.

    Candidates come from the law `drawn` and are ranked by the order under `p`.
    """
    positions = [i for i, token in enumerate(state) if token == k]
    events: dict[tuple[tuple[int, ...], Tokens], float] = defaultdict(float)
    given_candidates = marginal = 0.0
    n = ranks.n_committed(p, positions, n_left)
    possible = [np.flatnonzero(drawn[i]).tolist() for i in positions]
    for candidates in itertools.product(*possible):
        chances = drawn[positions, candidates]
        weight = float(np.prod(chances))
        rank, scale = ranks.of(p, positions, candidates)
        chosen_sets = best_sets(rank, n, scale)
        given_candidates += weight * entropy(chosen_sets)
        for chosen, q in chosen_sets.items():
            after = list(state)
            for index in chosen:
                after[positions[index]] = int(candidates[index])
                marginal -= weight * q * float(np.log2(chances[index]))
            committed = tuple(positions[index] for index in chosen)
            events[committed, tuple(after)] += weight * q
    return events, given_candidates, marginal


def best_sets(rank: Array, n: int, temperature: float) -> dict[tuple[int, ...], float]:
    """Probability that `rank + temperature * Gumbel` is highest at each set of n positions.

    With noise the order is Plackett-Luce: each next one has probability w / (sum of the w that
    remain), w = exp(rank / T). Without, the earlier position wins a tie.

    >>> best_sets(np.log([0.2, 0.6, 0.2]), 2, temperature=0.0)
    {(0, 1): 1.0}
    """
    positions = range(len(rank))
    if temperature == 0:
        best_first = sorted(positions, key=lambda i: (-rank[i], i))
        return {tuple(sorted(best_first[:n])): 1.0}
    sets: dict[tuple[int, ...], float] = {}
    log_w = rank / temperature
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
    n, k, n_steps = model.settings.positions, model.settings.codes, model.settings.steps
    states = list(itertools.product(range(k + 1), repeat=n))
    grids = np.array(states)
    pattern = (grids[:, None] != grids[None]) @ (1 << np.arange(n))  # changed positions as a number
    start = np.eye(len(states))[-1]  # the last state is all MASK
    by_path: dict[tuple[int, ...], Array] = {(): start}
    path_bits = joint_bits = marginal_bits = step_bits = 0.0
    for step in range(n_steps):
        reach = np.sum(list(by_path.values()), axis=0)
        transition = np.zeros((len(states), len(states)))
        step_bits = 0.0
        for index in np.flatnonzero(reach):
            p = _drawn_law(model, text, states[index], step, probe)
            moves = _moves(model, states[index], p, n_steps - step, probe)
            transition[index] = moves[np.arange(n), grids].prod(axis=1)
            patterns = np.bincount(pattern[index], transition[index])
            marginal_bits += reach[index] * _moved_bits(states[index], moves, p)
            path_bits += reach[index] * entropy(dict(enumerate(patterns)))
            step_bits += reach[index] * entropy(dict(enumerate(transition[index])))
        joint_bits += step_bits
        by_path = _continued(by_path, pattern, transition)
    joint: dict[tuple[Path, Tokens], float] = {}
    for numbers, mass in by_path.items():
        path = tuple(_positions(number, n) for number in numbers)
        for index in np.flatnonzero(mass):
            joint[path, states[index]] = float(mass[index])
    return Law(joint, path_bits, joint_bits - path_bits, path_bits, marginal_bits, step_bits)


def _continued(
    by_path: Mapping[tuple[int, ...], Array], pattern: NDArray[np.int64], transition: Array
) -> dict[tuple[int, ...], Array]:
    """Mass of the states (state,) by the path to them, one step on."""
    paths, masses = list(by_path), np.stack(list(by_path.values()))
    longer = {}
    for number in range(int(pattern.max()) + 1):
        moved = masses @ np.where(pattern == number, transition, 0.0)
        for path, mass in zip(paths, moved, strict=True):
            if mass.any():
                longer[*path, number] = mass
    return longer


def _positions(number: int, n: int) -> tuple[int, ...]:
    """The positions whose bits are set in a number."""
    return tuple(i for i in range(n) if number >> i & 1)


def _moved_bits(state: Tokens, moves: Array, p: Array) -> float:
    """Expected sum of -log2 p over the tokens that a step changes."""
    bits = 0.0
    for i, code in zip(*np.nonzero(p), strict=True):
        if code != state[i]:
            bits -= float(moves[i, code] * np.log2(p[i, code]))
    return bits


def _moves(model: ToyDiffusion, state: Tokens, p: Array, t: int, probe: Probe) -> Array:
    """q(x_{t-1} | x_t) by Bayes' rule, x0 ~ p summed out: (position, code or MASK)."""
    k, schedule = model.settings.codes, model.schedule
    usable = np.ones(k + 1, dtype=bool)
    if probe.allowed is not None:
        usable[:k] = probe.allowed
    before = _forward(schedule.alpha[t - 1], schedule.beta[t - 1], schedule.gamma[t - 1], k)
    single = _forward(*schedule.one_step(t), k)
    moves = np.zeros((len(state), k + 1))
    for i, now in enumerate(state):
        for x0 in np.flatnonzero(p[i]):
            posterior = before[x0] * single[:, now] * usable
            if posterior.sum() > 0:
                moves[i] += p[i, x0] * (posterior / posterior.sum())
            else:
                moves[i, now] += p[i, x0]
    return moves


def _forward(alpha: float, beta: float, gamma: float, k: int) -> Array:
    """q(to | from) of the forward process over codes and MASK, which absorbs."""
    matrix = np.zeros((k + 1, k + 1))
    matrix[:k, :k] = beta + alpha * np.eye(k)
    matrix[:k, k] = gamma
    matrix[k, k] = 1.0
    return matrix
