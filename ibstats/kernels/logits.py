"""What logits say of the codes that were drawn by them: surprisal, and the entropy of the law.

A law over codes is softmax of its logits; a logit of -inf is a code that cannot be drawn. Shannon
(1948), doi:10.1002/j.1538-7305.1948.tb01338.x, in bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

AT_ONCE = 1 << 22
"""Logits handled at a time, so that memory stays below a few times the given array."""


def surprisal_and_entropy(logits: ArrayLike, codes: ArrayLike) -> tuple[Array, Array]:
    """Surprisal -log2 p of drawn codes, and entropy of the laws they were drawn from, in bits.

    `logits (..., code)`, natural logarithms up to a constant; `codes (...)`, whole numbers. Both
    results are `(...)`. Infinite surprisal for a code whose logit is -inf; NaN where a law is none:
    logits that are NaN or +inf, or all -inf.

    >>> surprisal, entropy = surprisal_and_entropy(np.log([0.5, 0.25, 0.25]), 1)
    >>> float(surprisal.round(12)), float(entropy.round(12))
    (2.0, 1.5)
    """
    given, drawn = np.asarray(logits), np.asarray(codes)
    n_codes = given.shape[-1]
    rows, picked = given.reshape(-1, n_codes), drawn.reshape(-1)
    surprisal, entropy = np.empty(len(rows)), np.empty(len(rows))
    step = max(1, AT_ONCE // n_codes)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        surprisal[part], entropy[part] = _of_rows(rows[part], picked[part])
    return surprisal.reshape(drawn.shape), entropy.reshape(drawn.shape)


def _of_rows(logits: NDArray[np.generic], codes: NDArray[np.generic]) -> tuple[Array, Array]:
    x = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        x -= x.max(axis=-1, keepdims=True)
        weight = np.exp(x)
        total = weight.sum(axis=-1)
        mean = np.where(weight > 0, weight * x, 0 * total[:, None]).sum(axis=-1) / total
        natural = np.log(total)
        drawn = np.take_along_axis(x, codes[:, None].astype(np.int64), axis=-1)[:, 0]
        bits = natural - drawn, natural - mean
    return bits[0] / np.log(2), bits[1] / np.log(2)
