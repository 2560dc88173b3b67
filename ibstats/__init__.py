"""Statistics of where the diversity of discrete-latent image generators comes from.

    run = ibstats.open("runs/demo")
    run.summary()                                  # a tidy frame, one row a number
    tree = ibstats.analyse("runs/demo")            # labelled arrays

`ibstats.Recorder` makes a run of a sampling loop, `ibstats.from_arrays` of arrays. Kernels on plain
arrays are in `ibstats.kernels`, labelled statistics in `ibstats.statistics`. Names are loaded when
they are first used, so that importing the package costs next to nothing.
"""

from ibstats import own as own  # first: it keeps a user's schemas.py from the place of ours

# isort: split
from importlib import import_module
from typing import TYPE_CHECKING, Any

from schemas.moved import attributes, redirect
from schemas.version import __version__

if TYPE_CHECKING:
    from ibstats import kernels, measure
    from ibstats.analysis import analyse
    from ibstats.errors import IbstatsError
    from ibstats.importing import Recorder, from_arrays
    from ibstats.measure import Machine
    from ibstats.run import Run
    from ibstats.run import open_run as open
    from ibstats.run.compared import compare
    from ibstats.selection import Selection, select
    from ibstats.statistics import significance
    from ibstats.store import Store, open_store
    from schemas.analysis import Config

__all__ = [
    "Config",
    "IbstatsError",
    "Machine",
    "Recorder",
    "Run",
    "Selection",
    "Store",
    "__version__",
    "analyse",
    "compare",
    "from_arrays",
    "kernels",
    "measure",
    "open",
    "open_store",
    "select",
    "significance",
]

PUBLIC = {
    "Config": "schemas.analysis:Config",
    "IbstatsError": "ibstats.errors:IbstatsError",
    "Machine": "ibstats.measure:Machine",
    "Recorder": "ibstats.importing:Recorder",
    "Run": "ibstats.run:Run",
    "Selection": "ibstats.selection:Selection",
    "Store": "ibstats.store:Store",
    "analyse": "ibstats.analysis:analyse",
    "compare": "ibstats.run.compared:compare",
    "from_arrays": "ibstats.importing:from_arrays",
    "kernels": "ibstats.kernels",
    "measure": "ibstats.measure",
    "open": "ibstats.run:open_run",
    "open_store": "ibstats.store:open_store",
    "select": "ibstats.selection:select",
    "significance": "ibstats.statistics.significance",
}
"""Where each public name is, as `module` or `module:name`."""

redirect()
_moved = attributes(__name__)


def __getattr__(name: str) -> Any:
    """A public name, loaded on first use (PEP 562)."""
    if name not in PUBLIC:
        return _moved(name)
    module, _, attribute = PUBLIC[name].partition(":")
    loaded = import_module(module)
    return getattr(loaded, attribute) if attribute else loaded


def __dir__() -> list[str]:
    return __all__
