"""A Python file of the user's, loaded from where it lies: an adapter, or a metric.

Its folder need not be on Python's path, where a `generate.py` or a `schemas.py` in it would stand
in the way of these programs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType

INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of installed packages."""
OURS = ("generate", "ibstats", "schemas")
"""Packages of this repository."""


def module_of_file(path: Path, prefix: str) -> ModuleType:
    """Load the module in a file that exists, once in a process.

    The module's name is `prefix` and a digest of the file's resolved path, so that no other module
    has it; under that name it stands in `sys.modules`. The folder of the file is put at the end of
    Python's path, so that modules beside it can be imported, and none of them takes the place of an
    installed one.

    What goes wrong inside the file is raised as it is, and the module is forgotten, so that a
    mended file is loaded anew.
    """
    path = path.resolve()
    name = prefix + hashlib.sha256(str(path).encode()).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module  # dataclasses look their module up while they are made
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def raised_in(error: BaseException) -> str | None:
    """Where an exception came up, if that is code of the user's: file, line and function.

    The last such place that it passed, whose own call may have gone wrong in a library or in these
    programs; None where it passed none. Code is the user's that is neither of Python, nor of an
    installed package, nor ours.

    >>> raised_in(ValueError("no traceback"))
    """
    if isinstance(error, SyntaxError) and error.filename and _is_users(error.filename):
        return f"{error.filename}, line {error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_users(frame.filename):
            return f"{frame.filename}, line {frame.lineno}, in {frame.name}"
    return None


def _is_users(name: str) -> bool:
    """Whether a file's code is the user's; that of no file, such as `<string>`, is not."""
    file = Path(name)
    if not file.is_file() or INSTALLED.intersection(file.parts):
        return False
    home = Path(__file__).resolve().parent.parent
    ours = [home / package for package in OURS]
    python = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")]
    return not any(file.resolve().is_relative_to(place.resolve()) for place in [*ours, *python])
