"""Statistics of where the diversity of discrete-latent image generators comes from.

    store = ibstats.open_store("runs/demo")
    tree = ibstats.analyse(store)

Kernels on plain arrays are in `ibstats.kernels`, labelled statistics in the modules beside it.
"""

__version__ = "0.1.0"

from ibstats import own as own  # first: it keeps a user's schemas.py from the place of ours

# isort: split
from ibstats import kernels
from ibstats.analysis import analyse
from ibstats.config import Config
from ibstats.errors import IbstatsError
from ibstats.statistics import significance
from ibstats.store import Store, open_store

__all__ = [
    "Config",
    "IbstatsError",
    "Store",
    "__version__",
    "analyse",
    "kernels",
    "open_store",
    "significance",
]
