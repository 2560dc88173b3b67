"""Array kernels on NumPy and SciPy alone: arrays in, arrays out, no labels, no files.

They name `scipy.special` in full, which SciPy loads on first use: importing stays light.
"""

from ibstats.kernels import entropy, factorial, pairs, resampling, variance

__all__ = ["entropy", "factorial", "pairs", "resampling", "variance"]
