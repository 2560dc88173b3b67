"""The examples in the docstrings run, away from the other tests: some make things known to the whole process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.source import MODULES, PACKAGES, ROOT

RUN = """
import doctest, importlib, sys
for name in sys.argv[1:]:
    found = doctest.testmod(importlib.import_module(name))
    print(name, found.attempted)
    if found.failed:
        sys.exit(f"{name}: {found}")
"""


def with_examples(package: str) -> list[str]:
    """Modules of a package whose docstrings hold examples."""
    found = []
    for module, path in MODULES.items():
        if module.split(".")[0] == package and ">>> " in path.read_text(encoding="utf-8"):
            found.append(module)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_examples_run(package: str) -> None:
    command = [sys.executable, "-W", "error", "-c", RUN, *with_examples(package)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_examples_are_found() -> None:
    assert {"schemas.io.layout", "schemas.citations"} <= set(with_examples("schemas"))
    assert "ibstats.quantities" in with_examples("ibstats")
