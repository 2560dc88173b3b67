"""Statistics of where the diversity of discrete-latent image generators comes from.

    store = ibstats.open_store("runs/demo")
    tree = ibstats.analyse(store)

Kernels on plain arrays are in `ibstats.kernels`, labelled statistics in the modules beside it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ibstats import own as own  # it keeps a user's schemas.py from the place of ours

if TYPE_CHECKING:
    from ibstats import kernels
    from ibstats.analysis import analyse
    from ibstats.config import Config
    from ibstats.errors import IbstatsError
    from ibstats.statistics import significance
    from ibstats.store import Store, open_store

__version__ = "0.1.0"

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

_HOMES = {
    "Config": "ibstats.config",
    "IbstatsError": "ibstats.errors",
    "Store": "ibstats.store",
    "analyse": "ibstats.analysis",
    "open_store": "ibstats.store",
}
_MODULES = {"kernels": "ibstats.kernels", "significance": "ibstats.statistics.significance"}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use, so that `import ibstats` stays light (PEP 562)."""
    if name in _MODULES:
        found: Any = importlib.import_module(_MODULES[name])
    elif name in _HOMES:
        found = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'ibstats' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
