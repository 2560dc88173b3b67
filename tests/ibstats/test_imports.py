"""Layers and weight of imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import ibstats

ROOT = Path(ibstats.__file__).parent


def modules_after(code: str) -> set[str]:
    """Top-level modules loaded in a fresh interpreter."""
    script = f"{code}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_ibstats_stays_light() -> None:
    heavy = {"torch", "lpips", "pingouin", "matplotlib", "pydantic", "statsmodels"}
    assert not heavy & modules_after("import ibstats")
    assert "pydantic" in modules_after("import ibstats, pydantic")  # the probe can fail


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
        if file.parent.name != "report" and file.name != "cli.py":
            assert not {"matplotlib", "rich", "typer"} & names, file


def test_no_module_is_a_drawer_or_too_long() -> None:
    for file in ROOT.rglob("*.py"):
        assert file.stem not in {"utils", "helpers", "misc", "common"}
        assert len(file.read_text().splitlines()) <= 500, file
