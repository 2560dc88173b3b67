"""Array kernels on NumPy and SciPy alone: arrays in, arrays out, no labels, no files.

They name `scipy.special` in full, which SciPy loads on first use: importing stays light.
"""

from ibstats.kernels import (
    broken_line,
    collision,
    crossed,
    entropy,
    factorial,
    frechet,
    pairs,
    resampling,
    sandwich,
    variance,
)

__all__ = [
    "broken_line",
    "collision",
    "crossed",
    "entropy",
    "factorial",
    "frechet",
    "pairs",
    "resampling",
    "sandwich",
    "variance",
]
