"""Array kernels on NumPy and SciPy alone: arrays in, arrays out, no labels, no files."""

from ibstats.kernels import entropy, factorial, pairs, resampling, variance

__all__ = ["entropy", "factorial", "pairs", "resampling", "variance"]
