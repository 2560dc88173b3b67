"""Token identities: from guided logits to a law, from a law and noise to codes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.study.noise import uniforms
from schemas.timings import stage

LN2 = math.log(2.0)
BLOCK = 128
"""Codes that are summed before one is looked for among them."""
LARGE = 2048
"""Codes from which on a codebook of whole blocks is drawn from in two levels."""
CACHED = 1 << 16
"""Probabilities that are summed at once on a CPU: as many as stay in its cache. Elsewhere `AT_ONCE`."""
AT_ONCE = 1 << 25


@dataclass(frozen=True)
class TokenLaw:
    """How the law of an identity follows from final (guided) logits.

    The codebook is restricted first, then come temperature, top-k (the k best allowed codes, more
    on ties) and top-p (the fewest most probable codes whose mass reaches p, at least one).

    >>> logits = torch.tensor([2.0, 1.0, 0.0, -1.0]).log_softmax(dim=-1)
    >>> TokenLaw(top_k=2).probabilities(logits, allowed=None)
    tensor([0.7311, 0.2689, 0.0000, 0.0000])
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def probabilities(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        """The law of each identity, float32.

        `logits` are (..., code); `allowed` is (code,) bool, or of more dims of `logits`, or None for
        the whole codebook. A code outside `allowed`, or cut by top-k or top-p, gets exactly 0.
        """
        logits = logits.float()
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        logits = logits / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            threshold = logits.topk(self.top_k, dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < threshold, -torch.inf)
        probabilities = torch.softmax(logits, dim=-1)
        if self.top_p < 1.0:
            probabilities = _nucleus(probabilities, self.top_p)
        return probabilities


class Law(Protocol):
    """How the law of a token follows from final (guided) logits, whatever these are of."""

    def probabilities(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        """The law of each token (..., code), float32.

        `allowed` is (code,) bool, or of more dims of the law, or None for the whole codebook. What
        is not allowed gets exactly 0.
        """


def _nucleus(probabilities: Tensor, mass: float) -> Tensor:
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered
    ordered = ordered.masked_fill(before >= mass, 0.0)
    kept = torch.zeros_like(probabilities).scatter(-1, order, ordered)
    return kept / kept.sum(dim=-1, keepdim=True)


class Noise(Protocol):
    """Randomness of a batch of samples, in two independent roles.

    A traversal takes all its randomness from here, and asks for each role at most once a step, so
    that what one role draws never moves the draws of the other.
    """

    def path(self, step: int, n: int) -> Tensor:
        """Uniforms in [0, 1) of the path stream, (sample, n) float64.

        They decide what is committed when. The same `step` and `n` give the same numbers again.
        """

    def identities(self, step: int, probabilities: Tensor) -> Tensor:
        """Draws of the execution stream, (sample, position) int64.

        `probabilities` are the laws to draw from, (sample, position, code).
        """


@dataclass(frozen=True)
class PhiloxNoise:
    """The noise of a study: one pair of Philox keys per sample, (sample,) uint64 each.

    Draws depend on the key, the step and the position alone, so a sample comes out the same in any
    batch.

    >>> keys = np.array([1, 2], dtype=np.uint64)
    >>> noise = PhiloxNoise(path_keys=keys, execution_keys=keys + np.uint64(10))
    >>> bool((noise.path(0, n=3) == noise.path(0, n=3)).all()), noise.path(0, n=3).shape
    (True, torch.Size([2, 3]))
    """

    path_keys: NDArray[np.uint64]
    execution_keys: NDArray[np.uint64]

    def path(self, step: int, n: int) -> Tensor:
        """Uniforms in [0, 1) of the path stream, (sample, n) float64 on the CPU.

        The first ones of a `step` do not depend on how many are asked for.
        """
        return _uniforms(self.path_keys, step, n)

    def identities(self, step: int, probabilities: Tensor) -> Tensor:
        """Draws of the execution stream, (sample, position) int64.

        `probabilities` are the laws, (sample, position, code); one uniform a position picks the
        code by inverse CDF, so equal noise gives nearby codes of nearby laws.
        """
        drawn = _uniforms(self.execution_keys, step, probabilities.shape[1])
        return inverse_cdf(probabilities, drawn.to(probabilities.device))


def _uniforms(keys: NDArray[np.uint64], step: int, n: int) -> Tensor:
    """Uniforms (key, n) float64 of a step, on the CPU."""
    with stage("noise"):
        return torch.from_numpy(uniforms(keys, step, n))


def inverse_cdf(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """The code whose share of [0, 1) holds the uniform; never one of probability zero.

    `probabilities` (..., code) need not sum to one exactly; `uniform` (...) is float64. The CDF is
    float64, since a float32 one loses rare codes. Large codebooks are summed by blocks of `BLOCK`
    codes first, and code by code in the block that is met alone.

    >>> law = torch.tensor([0.25, 0.5, 0.25])
    >>> inverse_cdf(law.expand(3, 3), torch.tensor([0.1, 0.7, 0.9], dtype=torch.float64))
    tensor([0, 1, 2])
    """
    n_codes = probabilities.shape[-1]
    laws, u = probabilities.reshape(-1, n_codes), uniform.reshape(-1, 1)
    if n_codes < LARGE or n_codes % BLOCK:
        cdf = laws.double().cumsum(dim=-1)
        return _met(cdf, u * cdf[:, -1:], laws > 0).view(uniform.shape)
    blocks = laws.view(len(laws), -1, BLOCK)
    masses = _block_masses(blocks)
    cdf = masses.cumsum(dim=-1)
    target = u * cdf[:, -1:]
    block = _met(cdf, target, masses > 0)
    before = torch.nn.functional.pad(cdf, (1, 0)).gather(-1, block)
    inside = blocks[torch.arange(len(blocks), device=blocks.device), block.squeeze(-1)]
    code = _met(inside.double().cumsum(dim=-1), target - before, inside > 0)
    return (block * BLOCK + code).view(uniform.shape)


def _met(cdf: Tensor, target: Tensor, possible: Tensor) -> Tensor:
    """First entry (row, 1) of a cdf (row, entry) above `target`, or the last possible one before."""
    index = torch.searchsorted(cdf, target, right=True)
    last = cdf.shape[-1] - 1 - possible.flip(-1).int().argmax(dim=-1, keepdim=True)
    return torch.minimum(index, last)


def _block_masses(blocks: Tensor) -> Tensor:
    """Sums (row, block) float64 over blocks (row, block, code), whose float64 copy is never whole."""
    at_once = CACHED if blocks.device.type == "cpu" else AT_ONCE
    size = max(1, at_once // blocks[0].numel())
    masses = torch.empty(blocks.shape[:2], dtype=torch.float64, device=blocks.device)
    exact = masses.new_empty(min(size, len(blocks)), *blocks.shape[1:])
    for found, part in zip(torch.split(masses, size), torch.split(blocks, size), strict=True):
        torch.sum(exact[: len(part)].copy_(part), dim=-1, out=found)
    return masses


def surprisal(probabilities: Tensor, tokens: Tensor) -> Tensor:
    """Bits of each token, -log2 of its probability, (...).

    `probabilities` are laws (..., code), `tokens` (...) int64. Infinite for a token that the law
    excludes.
    """
    with stage("bits"):
        return -torch.log2(probabilities.gather(-1, tokens.unsqueeze(-1)).squeeze(-1))


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy in bits of laws (..., code), (...).

    >>> entropy(torch.tensor([0.5, 0.25, 0.25]))
    tensor(1.5000)
    """
    with stage("bits"):
        nats: Tensor = torch.special.entr(probabilities).sum(dim=-1)
        return nats / LN2
