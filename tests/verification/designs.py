"""Simulated studies with known truth: tokens of prompts and images, and laws of per-prompt values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import special

DIMS = ("condition", "prompt", "sample", "row", "col")


def zipf(n_codes: int) -> np.ndarray:
    """Zipf's law of exponent 1."""
    law = 1 / np.arange(1, n_codes + 1)
    return np.asarray(law / law.sum())


@dataclass(frozen=True)
class DesignD:
    """Base law Zipf(1) over K codes; prompts Dirichlet(a law), images Dirichlet(b law of the prompt).

    None for a: all prompts have the base law, so I = 0. None for b: the tokens of an image are
    independent given its prompt. `first`: only the first so many codes are used.
    """

    a: float | None
    b: float | None
    n_prompts: int
    n_images: int
    n_codes: int = 256
    n_tokens: int = 64
    first: int | None = None

    @property
    def law(self) -> np.ndarray:
        law = zipf(self.n_codes)
        if self.first is not None:
            law[self.first :] = 0
            law /= law.sum()
        return law

    def counts(self, rng: np.random.Generator) -> np.ndarray:
        """Counts of one study, `(prompt, image, code)`."""
        law = self.law
        shape = (self.n_prompts, self.n_images, self.n_codes)
        prompts = np.broadcast_to(law, (self.n_prompts, self.n_codes))
        if self.a is not None:
            prompts = dirichlet(self.a * prompts, rng)
        images = np.broadcast_to(prompts[:, None], shape)
        if self.b is not None:
            images = dirichlet(self.b * images, rng)
        return np.asarray(rng.multinomial(self.n_tokens, images))

    def tokens(self, rng: np.random.Generator) -> xr.DataArray:
        """One study as token grids of one condition; the order inside an image is by code."""
        counts = self.counts(rng)
        codes = np.tile(np.arange(self.n_codes), counts[..., 0].size)
        drawn = np.repeat(codes, counts.ravel())
        shape = (1, self.n_prompts, self.n_images, self.n_tokens, 1)
        return xr.DataArray(drawn.reshape(shape).astype(np.uint16), dims=DIMS)

    @property
    def entropy(self) -> float:
        """H(Z) in bits."""
        law = self.law[self.law > 0]
        return float(-(law * np.log2(law)).sum())

    @property
    def conditional(self) -> float:
        """H(Z|X) in bits."""
        if self.a is None:
            return self.entropy
        law = self.law[self.law > 0]
        inside = (law * special.psi(self.a * law + 1)).sum()
        return float((special.psi(self.a + 1) - inside) / np.log(2))

    @property
    def between(self) -> float:
        """Chance that tokens of two prompts agree."""
        return float((self.law**2).sum())

    @property
    def within(self) -> float:
        """Chance that tokens of two images of one prompt agree."""
        if self.a is None:
            return self.between
        return float((self.law * (1 - self.law) / (self.a + 1) + self.law**2).sum())


def dirichlet(alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One draw of each row; rows whose every gamma underflows put all on their likeliest code."""
    drawn = rng.standard_gamma(alpha)
    total = drawn.sum(axis=-1, keepdims=True)
    likeliest = alpha == alpha.max(axis=-1, keepdims=True)
    drawn = np.where(total > 0, drawn, likeliest)
    return np.asarray(drawn / drawn.sum(axis=-1, keepdims=True))


LAWS = {
    "normal": 1.0,
    "lognormal .5": float(np.exp(0.5**2 / 2)),
    "lognormal 1": float(np.exp(0.5)),
    "ties": 4 / 4.6,
    "zeros": 0.3 * 2 * 0.1,
    "difference of betas": 0.0,
    "gamma": 0.3,
}
"""Laws of per-prompt values and their means."""


def values(law: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Per-prompt values of a law, any shape."""
    if law == "normal":
        return rng.normal(1, 1, shape)
    if law == "lognormal .5":
        return rng.lognormal(0, 0.5, shape)
    if law == "lognormal 1":
        return rng.lognormal(0, 1, shape)
    if law == "ties":
        return rng.binomial(4, rng.beta(4, 0.6, shape)) / 4
    if law == "zeros":
        return np.where(rng.random(shape) < 0.7, 0.0, rng.gamma(2, 0.1, shape))
    if law == "difference of betas":
        scale = rng.lognormal(-1, 0.6, shape)
        mean = 0.5 - 0.25
        return scale * (rng.beta(5, 5, shape) - rng.beta(1, 3, shape) - mean)
    if law == "gamma":
        return rng.gamma(0.5, 1, shape) - 0.2
    raise ValueError(law)
