"""Autoregressive traversal: raster order, one token a step (paper eq. 4). The path is fixed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from generate.study.probes import Probe
from generate.traversal.draw import Noise, TokenLaw, entropy, surprisal
from generate.traversal.step import Steps
from generate.traversal.trace import Trace

NextLogits = Callable[[Tensor | None, int], Tensor]
"""Guided logits (sample, code) of a position.

Called with the token (sample,) just before it, None at position 0, and the position.
"""


def traverse(
    next_logits: NextLogits, n_positions: int, *, law: TokenLaw, probe: Probe, noise: Noise
) -> Trace:
    """Draw every token given the ones before it; step i commits position i.

    The trace has tokens and their bits, and no path: the order is fixed.

    >>> from fractions import Fraction
    >>> def next_logits(previous, position):
    ...     return torch.tensor([[0.0, 1.0], [0.0, 1.0]])  # two samples of two codes
    >>> always_the_mode = Probe(argmax_to=Fraction(1))
    >>> traverse(next_logits, 3, law=TokenLaw(), probe=always_the_mode, noise=None).tokens
    tensor([[1, 1, 1],
            [1, 1, 1]])
    """
    steps = Steps(law, probe, noise, n_positions)
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
