"""Classes that a user names: `package.module:Class`, or `path/to/file.py:Class` for a file that
Python cannot find.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ibstats.errors import IbstatsError
from schemas.user_code import module_of_file

PREFIX = "ibstats_own_"
"""What names of modules begin with that were loaded from a file."""


def is_own(name: str) -> bool:
    """Tell whether a name means a class of the user's.

    >>> is_own("ssim"), is_own("my_metrics.py:MeanColour")
    (False, True)
    """
    return ":" in name


def own_class(name: str, kind: type) -> Any:
    """Load the class that a user named, by its file or by its module.

    The folder of a file is put at the end of Python's path, so that modules beside it can be
    imported, and none of them takes the place of an installed one.

    Raises IbstatsError if there is no such file, module or class, if loading it fails, or if the
    class does not derive from `kind`.

    >>> own_class("ibstats.measure.pixel:PixelCosine", object).__name__
    'PixelCosine'
    """
    place, _, attribute = name.rpartition(":")
    if place.endswith(".py"):
        module = _module_of_file(Path(place))
    else:
        module = _module(place)
    found = getattr(module, attribute, None)
    if found is None:
        raise IbstatsError(f"'{place}' holds no '{attribute}'; name a class as {place}:Class")
    if not (isinstance(found, type) and issubclass(found, kind)):
        public, _, _ = kind.__module__.rpartition(".")
        raise IbstatsError(
            f"'{name}' is no {kind.__name__}; derive it from {public}.{kind.__name__}"
        )
    return found


def modules_of_files() -> list[ModuleType]:
    """Give the modules that were loaded from files; another process cannot import them by their
    names.
    """
    return [module for name, module in sys.modules.items() if name.startswith(PREFIX)]


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise IbstatsError(
                f"'{name}' needs the module '{error.name}', which is not installed"
            ) from None
        raise IbstatsError(
            f"no module '{error.name}' for '{name}'; a file that is not installed is named by its "
            "path: path/to/file.py:Class"
        ) from None


def _module_of_file(file: Path) -> ModuleType:
    """The module of a file, loaded once a process under a name that nothing else has."""
    if not file.is_file():
        raise IbstatsError(f"no file '{file}' to take a class from")
    try:
        return module_of_file(file, PREFIX)
    except ModuleNotFoundError as error:
        raise IbstatsError(
            f"'{file}' needs the module '{error.name}', which is not installed"
        ) from None
