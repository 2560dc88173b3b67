"""Autoregressive traversal: raster order, one token a step (paper eq. 4). The path is fixed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from generate.study.probes import Probe
from generate.traversal.draw import Noise, TokenLaw, entropy, surprisal
from generate.traversal.replay import Replay
from generate.traversal.step import Steps
from generate.traversal.trace import Trace

NextLogits = Callable[[Tensor | None, int], Tensor]
"""Guided logits (sample, code) of a position.

Called with the token (sample,) just before it, None at position 0, and the position.
"""

AllLogits = Callable[[Tensor], Tensor]
"""Guided logits (sample, position, code) of all positions of given tokens (sample, position) at once.

Those of a position depend on the tokens before it alone (teacher forcing).
"""


def traverse(
    next_logits: NextLogits,
    n_positions: int,
    *,
    law: TokenLaw,
    probe: Probe,
    noise: Noise,
    all_logits: AllLogits | None = None,
) -> Trace:
    """Draw every token given the ones before it; step i commits position i.

    The trace has tokens and their bits, and no path: the order is fixed. A `Replay` in place of
    noise scores its tokens along the one path there is; `all_logits`, where a model has them, then
    spare the walk from position to position.

    >>> from fractions import Fraction
    >>> def next_logits(previous, position):
    ...     return torch.tensor([[0.0, 1.0], [0.0, 1.0]])  # two samples of two codes
    >>> always_the_mode = Probe(argmax_to=Fraction(1))
    >>> traverse(next_logits, 3, law=TokenLaw(), probe=always_the_mode, noise=None).tokens
    tensor([[1, 1, 1],
            [1, 1, 1]])
    """
    steps = Steps(law, probe, noise, n_positions)
    if isinstance(noise, Replay):
        return _replayed(next_logits, all_logits, steps, noise.tokens)
    tokens, surprisals, entropies = [], [], []
    previous: Tensor | None = None
    for position in range(n_positions):
        step = steps.at(position, next_logits(previous, position).unsqueeze(1))
        chosen = step.identities()
        tokens.append(chosen)
        surprisals.append(surprisal(step.probabilities, chosen))
        entropies.append(entropy(step.probabilities))
        previous = chosen[:, 0]
    return Trace(torch.cat(tokens, 1), torch.cat(surprisals, 1), torch.cat(entropies, 1))


def _replayed(
    next_logits: NextLogits, all_logits: AllLogits | None, steps: Steps, given: Tensor
) -> Trace:
    """The trace of the given tokens (sample, position), with the joint bits of each step."""
    known = None if all_logits is None else all_logits(given)
    surprisals, entropies, joint = [], [], []
    previous: Tensor | None = None
    for position in range(steps.n_steps):
        if known is None:
            logits = next_logits(previous, position).unsqueeze(1)
        else:
            logits = known[:, position : position + 1]
        step = steps.at(position, logits)
        token = given[:, position : position + 1].to(logits.device)
        surprisals.append(surprisal(step.probabilities, token))
        entropies.append(entropy(step.probabilities))
        joint.append(surprisal(step.belief(), token).double())
        previous = token[:, 0]
    bits = torch.cat(joint, 1)
    none = torch.zeros_like(bits)
    return Trace(
        given,
        torch.cat(surprisals, 1),
        torch.cat(entropies, 1),
        path_surprisal=none,
        joint_surprisal=bits,
        proposal_surprisal=none,
    )
