"""Ways through the latent grid: one loop per family, shared by every model of the family."""

from generate.traversal.draw import PhiloxNoise, TokenLaw
from generate.traversal.trace import Trace

__all__ = ["PhiloxNoise", "TokenLaw", "Trace"]
