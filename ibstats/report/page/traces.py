"""Traces: the token grids of one prompt with surprisal, entropy and step, packed for the page.

A trace is the concatenation of little-endian 16-bit arrays `(condition, sample, row, col)`, one a
variable in the order of `VARIABLES`, deflated (RFC 1950). Bits are whole numbers of `1 / UNITS`
bit; `UNKNOWN` stands for a number that is not known.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

BYTES = 2
"""Of a number of a trace."""
UNITS = 256
"""Parts of a bit: a page shows tenths of a bit, and this resolves them 25 times."""
UNKNOWN = 2**16 - 1
LARGEST = UNKNOWN - 1
"""The most that a number of a trace can be; larger ones are shown as this."""

VARIABLES = ("tokens", "token_surprisal", "token_entropy", "token_step")
"""What a trace may hold, in this order; `tokens` of more than 65535 codes take two arrays."""

IN_BITS = ("token_surprisal", "token_entropy")


def held(dataset: xr.Dataset) -> list[str]:
    """The variables of a trace that a dataset has; none without tokens."""
    if "tokens" not in dataset:
        return []
    return [name for name in VARIABLES if name in dataset]


def trace(variables: Mapping[str, xr.DataArray]) -> bytes:
    """The trace of one prompt, of those of its variables that are given, by name and in order.

    Codes beyond 16 bits are given in two arrays, the low halves first.
    """
    arrays = []
    for name, variable in variables.items():
        values = variable.transpose("condition", "sample", "row", "col").values
        if name in IN_BITS:
            values = _whole(values)
        elif values.dtype.itemsize > BYTES:
            arrays.append((values & UNKNOWN).astype("<u2"))
            values = values >> 16
        arrays.append(values.astype("<u2"))
    return zlib.compress(b"".join(array.tobytes() for array in arrays), 9)


def _whole(bits: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Bits as whole numbers of `1 / UNITS` bit."""
    scaled = np.rint(bits.astype(np.float64) * UNITS)
    limited = np.clip(scaled, 0, LARGEST)
    return np.where(np.isnan(scaled), UNKNOWN, limited).astype(np.uint16)
