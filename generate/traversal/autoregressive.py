"""Autoregressive traversal: raster order, one token a step (paper eq. 4). The path is fixed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from generate.study.probes import Probe
from generate.traversal.draw import Noise, TokenLaw, entropy, identify, surprisal
from generate.traversal.trace import Trace

NextLogits = Callable[[Tensor | None, int], Tensor]
"""Guided logits (sample, code) of a position, given the token (sample,) just before it (None at position 0)."""


def traverse(
    next_logits: NextLogits, n_positions: int, *, law: TokenLaw, probe: Probe, noise: Noise
) -> Trace:
    """Draw every token given the ones before it; step i commits position i."""
    previous: Tensor | None = None
    tokens, surprisals, entropies = [], [], []
    allowed = None
    for position in range(n_positions):
        logits = next_logits(previous, position)
        if allowed is None and probe.allowed is not None:
            allowed = torch.from_numpy(probe.allowed).to(logits.device)
        probabilities = law.probabilities(logits, allowed).unsqueeze(1)
        chosen = identify(
            probabilities, position, argmax=probe.argmax(position, n_positions), noise=noise
        )
        tokens.append(chosen)
        surprisals.append(surprisal(probabilities, chosen))
        entropies.append(entropy(probabilities))
        previous = chosen[:, 0]
    return Trace(torch.cat(tokens, 1), torch.cat(surprisals, 1), torch.cat(entropies, 1))
