"""Layers of the package; `tests/test_house.py` has the rules that all packages share."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import ibstats

ROOT = Path(ibstats.__file__).parent


def imported(file: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_kernels_know_arrays_only_and_nothing_knows_generate() -> None:
    for file in ROOT.rglob("*.py"):
        names = {name.split(".")[0] for name in imported(file)}
        assert "generate" not in names, file
        if file.parent.name == "kernels":
            assert names <= {*sys.stdlib_module_names, "numpy", "scipy", "ibstats"}, file
            assert not {
                n
                for n in imported(file)
                if n.startswith("ibstats") and n.split(".")[1:2] not in (["kernels"], ["errors"])
            }
        shown = {"report", "cli", "run"} & set(file.relative_to(ROOT).parts)
        if not shown and file.name != "options.py":
            assert not {"matplotlib", "rich", "typer"} & names, file
