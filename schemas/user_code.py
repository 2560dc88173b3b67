"""A Python file of the user's, loaded from where it lies: an adapter, or a metric.

Its folder need not be on Python's path, where a `generate.py` or a `schemas.py` in it would stand
in the way of these programs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


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
