"""Masked traversal: draw every open position, commit the most confident ones (paper eq. 5-6).

Chang et al. (2022), doi:10.1109/CVPR52688.2022.01103. The execution draw is a candidate for every masked position;
the path draw is Gumbel noise on the candidates' log-probabilities, which decides what is committed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from generate.study.probes import Probe
from generate.traversal.draw import Noise, TokenLaw, entropy, identify, surprisal
from generate.traversal.path_probability import exact_surprisals, set_surprisal_given_candidates
from generate.traversal.replay import Replay
from generate.traversal.trace import Trace

GridLogits = Callable[[Tensor, int], Tensor]
"""Guided logits (sample, position, code) of tokens (sample, position), MASK where open, at a step."""

PathSurprisal = Literal["exact", "given_candidates", "none"]
"""What is recorded of the path: -log2 q(S | s) and -log2 q(S, z_S | s), or the cheap -log2 q(S | c, s), or nothing."""


WARM = 0.5
"""Least path temperature of proposals, so that they reach every path that other candidates allow."""


def cosine_schedule(n_positions: int, n_steps: int) -> list[int]:
    """Positions still masked after each step, floor(N cos(pi/2 (k+1)/T)), at least one fewer than before.

    Evaluated in float32 as upstream samplers do: at a third of the steps left, N/2 comes out one short.
    """
    share = torch.cos(torch.arange(1, n_steps + 1, dtype=torch.float32) / n_steps * (math.pi / 2))
    masked = n_positions
    after = []
    for target in torch.floor(n_positions * share).int().tolist()[:-1]:
        masked = max(1, min(masked - 1, target))
        after.append(masked)
    return [*after, 0]


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise of uniforms in [0, 1), always finite."""
    tiny = torch.finfo(uniform.dtype).tiny
    exponential = -torch.log(uniform.clamp(min=tiny))
    return -torch.log(exponential.clamp(min=tiny))


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
    """Unmask a grid in `len(masked_after)` steps, leaving exactly `masked_after[k]` positions after step k.

    A candidate's confidence is its log-probability (natural) plus `path_temperature[k]` times Gumbel noise. Ties,
    which only a temperature of 0 can make, go to the earlier position.
    """
    if isinstance(noise, Replay):
        return _replay(
            grid_logits, mask_id, masked_after, path_temperature, law, probe, noise, device
        )
    n_steps = len(masked_after)
    shape = (n_samples, n_positions)
    tokens = torch.full(shape, mask_id, dtype=torch.int64, device=device)
    masked = torch.ones(shape, dtype=torch.bool, device=device)
    step_of = torch.zeros(shape, dtype=torch.int64, device=device)
    surprisals, entropies = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
    allowed = None if probe.allowed is None else torch.from_numpy(probe.allowed).to(device)
    path_bits, joint_bits = [], []
    n_masked = n_positions
    for step, n_left in enumerate(masked_after):
        probabilities = law.probabilities(grid_logits(tokens, step), allowed)
        argmax = probe.argmax(step, n_steps)
        candidates = identify(probabilities, step, argmax=argmax, noise=noise)
        bits = surprisal(probabilities, candidates)
        perturbation = path_temperature[step] * gumbel(noise.path(step, n_positions).to(device))
        confidence = (perturbation - math.log(2.0) * bits).masked_fill(~masked, -torch.inf)
        commit = _largest(confidence, n_masked - n_left)
        if path_surprisal == "exact" and not argmax:
            set_bits, pair_bits = exact_surprisals(
                probabilities, candidates, masked, commit, path_temperature[step]
            )
        elif path_surprisal != "none":  # under argmax the state fixes the candidates
            log_p = -math.log(2.0) * bits
            set_bits = pair_bits = set_surprisal_given_candidates(
                log_p, masked, commit, path_temperature[step]
            )
        if path_surprisal != "none":
            path_bits.append(set_bits)
            joint_bits.append(pair_bits)
        tokens = torch.where(commit, candidates, tokens)
        surprisals = torch.where(commit, bits, surprisals)
        entropies = torch.where(commit, entropy(probabilities), entropies)
        step_of = step_of.masked_fill(commit, step)
        masked = masked & ~commit
        n_masked = n_left
    return Trace(
        tokens,
        surprisals,
        entropies,
        token_step=step_of,
        path_surprisal=torch.stack(path_bits, 1).float() if path_bits else None,
        joint_surprisal=torch.stack(joint_bits, 1).float() if path_surprisal == "exact" else None,
    )


def _replay(
    grid_logits: GridLogits,
    mask_id: int,
    masked_after: Sequence[int],
    path_temperature: Sequence[float],
    law: TokenLaw,
    probe: Probe,
    replay: Replay,
    device: torch.device | str,
) -> Trace:
    """Score given tokens. Proposed paths rank the given tokens by confidence; under argmax only modes take part."""
    given = replay.tokens.to(device)
    state = torch.full_like(given, mask_id)
    masked = torch.ones_like(given, dtype=torch.bool)
    step_of, surprisals, entropies = (
        torch.zeros_like(given),
        torch.zeros(given.shape),
        torch.zeros(given.shape),
    )
    surprisals, entropies = surprisals.to(device), entropies.to(device)
    allowed = None if probe.allowed is None else torch.from_numpy(probe.allowed).to(device)
    by_step: list[tuple[Tensor, Tensor, Tensor]] = []
    n_masked = given.shape[1]
    for step, n_left in enumerate(masked_after):
        probabilities = law.probabilities(grid_logits(state, step), allowed)
        argmax, temperature = probe.argmax(step, len(masked_after)), path_temperature[step]
        bits, modes = surprisal(probabilities, given), probabilities.argmax(dim=-1)
        log_p = -math.log(2.0) * bits
        possible = masked & ((given == modes) if argmax else bits.isfinite())
        if replay.token_step is not None:
            commit = replay.token_step.to(device) == step
        else:
            confidence = log_p + max(temperature, WARM) * gumbel(
                replay.path(step, given.shape[1]).to(device)
            )
            confidence = torch.where(possible, confidence, torch.finfo(confidence.dtype).min)
            commit = _largest(confidence.masked_fill(~masked, -torch.inf), n_masked - n_left)
        proposal = set_surprisal_given_candidates(log_p, possible, commit, max(temperature, WARM))
        if argmax:
            log_mode = torch.log(probabilities.amax(dim=-1))
            set_bits = pair_bits = set_surprisal_given_candidates(
                log_mode, masked, commit, temperature
            )
        else:
            set_bits, pair_bits = exact_surprisals(
                probabilities, given, masked, commit, temperature
            )
        works = (possible | ~commit).all(dim=-1)
        by_step.append((set_bits, pair_bits.where(works, torch.inf), proposal.where(works, 0.0)))
        state = torch.where(commit, given, state)
        surprisals = torch.where(commit, bits, surprisals)
        entropies = torch.where(commit, entropy(probabilities), entropies)
        step_of = step_of.masked_fill(commit, step)
        masked, n_masked = masked & ~commit, n_left
    path, joint, proposed = (torch.stack(values, dim=1) for values in zip(*by_step, strict=True))
    return Trace(given, surprisals, entropies, step_of, path, joint, proposed)


def _largest(confidence: Tensor, n: int) -> Tensor:
    """The `n` positions of highest confidence in each row, as a mask; refuses what has no order."""
    if confidence.isnan().any():
        raise FloatingPointError(
            "a confidence is NaN: the logits or the noise of this step are broken."
        )
    order = confidence.argsort(dim=-1, descending=True, stable=True)
    return torch.zeros_like(confidence, dtype=torch.bool).scatter(-1, order[:, :n], True)
