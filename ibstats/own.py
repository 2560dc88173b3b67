"""Names of our own: `generate` and `schemas` are ours wherever a program of ours runs.

They are common names, and a user's folder may hold a `generate.py` or a `schemas.py` of its own,
which Python would take in the place of ours where that folder is on its path (`PYTHONPATH=.`,
`python -c`, a notebook). `ibstats` is the one name that nobody else has. So `import ibstats` pins
`schemas`, the script `ibgenerate` starts here and pins both, and a Dask worker imports this module
before it is given any work. What cannot be helped: `python -m generate` runs the user's file.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

HOME = Path(__file__).parents[1]
"""The folder that all of our packages lie in."""


def pin(*packages: str) -> None:
    """Have `import PACKAGE` give the package that lies beside `ibstats`, from now on.

    Raises `ImportError` if another module of that name has been imported before, which may be in
    use and is left alone.
    """
    for name in packages:
        place = HOME / name / "__init__.py"
        if name not in sys.modules:
            _load(name, place)
            continue
        there = getattr(sys.modules[name], "__file__", None)
        if there is None or Path(there).resolve() != place.resolve():
            raise ImportError(
                f"ibstats needs its own package '{name}', but {there or 'a folder'} was imported "
                "under that name: import ibstats first, or rename that file."
            )


def _load(name: str, place: Path) -> None:
    """Import a package from a place, as `import` would if it found it there."""
    spec = importlib.util.spec_from_file_location(
        name, place, submodule_search_locations=[str(place.parent)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def ibgenerate() -> None:
    """The script `ibgenerate`, as installed: the command line of `generate`.

    Raises ImportError if another `generate` or `schemas` has been imported before.
    """
    pin("schemas", "generate")
    importlib.import_module("generate.cli").main()


pin("schemas")
