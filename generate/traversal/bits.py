"""Codes of bits: a law for each bit, and from them the law of a token of several bits.

Bitwise models (Han et al. 2024, arXiv:2412.04431, section 3.3) draw each bit of a code by itself,
given the coarser scales. A code of 32 bits is no id: it is written as tokens of a few bits each,
most significant first, so that a token has a codebook that can be counted, restricted and stored.
The bits of the tokens of a code add up to those of the code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from generate.traversal.draw import TokenLaw

MOST_BITS = 16
"""Bits a token may have; its law is written out, code by code."""


def tokens_of(logits: Tensor, bits: int) -> Tensor:
    """Logits (sample, position, bit, value) of codes as those of their tokens, of `bits` bits each.

    (sample, position and token, bit of the token, value): the tokens of a position lie together,
    most significant first. Raises ValueError where a code is no whole number of tokens.

    >>> tokens_of(torch.zeros(1, 4, 32, 2), bits=8).shape
    torch.Size([1, 16, 8, 2])
    """
    n_samples, _, n_bits, n_values = logits.shape
    if n_bits % bits:
        raise ValueError(f"a code of {n_bits} bits has no whole number of tokens of {bits} bits")
    return logits.reshape(n_samples, -1, bits, n_values)


@dataclass(frozen=True)
class BitLaw:
    """How the law of a token of several bits follows from the final (guided) logits of each bit.

    The codebook is restricted first, then come temperature, and top-k and top-p, which act on the
    two values of a bit. Bits are independent of each other in the whole codebook. In a restricted
    one they are not: then they are drawn one after another, most significant first, each given
    those before it and that the token is allowed; top-k and top-p act on that law.

    >>> logits = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()  # two bits
    >>> BitLaw().probabilities(logits, allowed=None)
    tensor([0.1250, 0.1250, 0.3750, 0.3750])
    >>> BitLaw().probabilities(logits, allowed=torch.tensor([True, True, True, False]))
    tensor([0.2000, 0.2000, 0.6000, 0.0000])
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def probabilities(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        """The law of each token (..., code), float32, of logits (..., bit, value).

        `allowed` is (code,) bool, or of more dims of the law, or None for the whole codebook. A code
        outside `allowed`, or with a bit that top-k or top-p cut, gets exactly 0. Raises ValueError
        for more than `MOST_BITS` bits.
        """
        n_bits = logits.shape[-2]
        if n_bits > MOST_BITS:
            raise ValueError(f"a token of {n_bits} bits has too many codes: at most {MOST_BITS}")
        law = TokenLaw(self.temperature, self.top_k, self.top_p)
        if allowed is None:
            return _product(law.probabilities(logits, None))
        joint = _product(torch.softmax(logits.float() / self.temperature, -1), log=True)
        restricted = torch.softmax(joint.masked_fill(~allowed, -torch.inf), -1)
        if self.top_k is None and self.top_p == 1.0:
            return restricted
        return self._cut(restricted, n_bits)

    def _cut(self, law: Tensor, n_bits: int) -> Tensor:
        """A law (..., code) whose every bit is cut given the bits before it."""
        bit = TokenLaw(1.0, self.top_k, self.top_p)
        found = torch.ones_like(law[..., :1])
        for level in range(n_bits):
            before = 2**level  # how many values the bits before may have
            pairs = law.reshape(*law.shape[:-1], before, 2, -1).sum(-1)
            conditional = bit.probabilities(pairs.log(), None).nan_to_num(0.0)  # 0 / 0 is not met
            found = (found.unsqueeze(-1) * conditional).flatten(-2)
        return found


def _product(bits: Tensor, *, log: bool = False) -> Tensor:
    """Law (..., code) of independent bits (..., bit, value), or the logarithm of it."""
    terms = bits.log() if log else bits
    found = terms[..., 0, :]
    for bit in range(1, terms.shape[-2]):
        value = terms[..., bit, :].unsqueeze(-2)
        wider = found.unsqueeze(-1)
        found = (wider + value if log else wider * value).flatten(-2)
    return found
