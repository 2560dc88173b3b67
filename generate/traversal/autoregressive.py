"""Autoregressive traversal: raster order, one token a step (paper eq. 4). The path is fixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from generate.study.probes import Probe
from generate.traversal import scales
from generate.traversal.draw import Law, Noise
from generate.traversal.scales import AllLogits
from generate.traversal.trace import Trace

NextLogits = Callable[[Tensor | None, int], Tensor]
"""Guided logits (sample, code) of a position.

Called with the token (sample,) just before it, None at position 0, and the position.
"""


def traverse(
    next_logits: NextLogits,
    n_positions: int,
    *,
    law: Law,
    probe: Probe,
    noise: Noise,
    all_logits: AllLogits | None = None,
) -> Trace:
    """Draw every token given the ones before it; step i commits position i.

    The trace has tokens and their bits, and no path: the order is fixed. A `Replay` in place of
    noise scores its tokens along the one path there is; `all_logits`, where a model has them, then
    spare the walk from position to position.

    >>> import torch
    >>> from fractions import Fraction
    >>> from generate.traversal.draw import TokenLaw
    >>> def next_logits(previous, position):
    ...     return torch.tensor([[0.0, 1.0], [0.0, 1.0]])  # two samples of two codes
    >>> always_the_mode = Probe(argmax_to=Fraction(1))
    >>> traverse(next_logits, 3, law=TokenLaw(), probe=always_the_mode, noise=None).tokens
    tensor([[1, 1, 1],
            [1, 1, 1]])
    """

    def scale_logits(previous: Tensor | None, position: int) -> Tensor:
        token = None if previous is None else previous[:, 0]
        return next_logits(token, position).unsqueeze(1)

    trace = scales.traverse(
        scale_logits,
        [1] * n_positions,
        law=law,
        probe=probe,
        noise=noise,
        all_logits=all_logits,
    )
    return replace(trace, token_step=None)
