"""The gated feed-forward of Llamas (Shazeer 2020, arXiv:2002.05202)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FeedForward(nn.Module):
    """SwiGLU: a gated layer, place by place.

    w2 (silu(w1 x) * w3 x), without biases.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w3 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The gated layer of `x` (..., width), of the same shape."""
        gated: Tensor = self.w2(F.silu(self.w1(x)) * self.w3(x))
        return gated
