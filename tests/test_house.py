"""Rules of the house that no module can break unnoticed."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.__main__ import PUBLISHED, rendered
from schemas.reference import pages

ROOT = Path(__file__).parents[1]
CODE = sorted(
    path
    for package in ("schemas", "generate", "ibstats")
    for path in (ROOT / package).rglob("*.py")
)
HEAVY = ("torch", "lpips", "pingouin", "matplotlib", "pydantic", "statsmodels")


def imported(path: Path) -> set[str]:
    """Top-level names of everything a module imports, at its head or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_share_the_contract_and_nothing_else(path: Path) -> None:
    forbidden = {
        "generate": {"ibstats"},
        "ibstats": {"generate"},
        "schemas": {"generate", "ibstats"},
    }
    package = path.relative_to(ROOT).parts[0]
    assert not imported(path) & forbidden[package]


def test_the_import_probe_sees_imports_inside_functions(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def f():\n    from ibstats.store import open_store\n")
    assert imported(module) == {"ibstats"}


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_readable_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600
    assert path.stem not in {"utils", "helpers", "misc", "common"}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "generate/models").glob("*.py")), ids=lambda path: path.name
)
def test_no_adapter_has_a_sampling_loop(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    traversals = [
        n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "traverse"
    ]
    assert not [n for t in traversals for n in ast.walk(t) if isinstance(n, ast.For | ast.While)]


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    return set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_importing_ibstats_stays_light() -> None:
    assert not set(HEAVY) & modules_after("import ibstats")
    assert {"torch", "pydantic"} <= modules_after(
        "import ibstats, torch, pydantic"
    )  # the probe can fail


@pytest.mark.parametrize(
    "module",
    [
        *(f"study.{name}" for name in ("plan", "conditions", "noise", "probes", "reading")),
        "prompts",
        "provenance",
    ]
    + [f"store.{name}" for name in ("samples", "ledger", "audit")],
)
def test_a_plan_is_checked_without_torch(module: str) -> None:
    assert "torch" not in modules_after(f"import generate.{module}")


def test_planning_the_shipped_study_needs_no_torch() -> None:
    statement = "from generate.study.plan import load_study, plan; plan(*load_study('trio'))"
    assert "torch" not in modules_after(statement)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_schemas_equal_the_models(name: str) -> None:
    published = (ROOT / f"schemas/{name}.schema.json").read_text(encoding="utf-8")
    assert published == rendered(PUBLISHED[name]), "run `make schemas`"


@pytest.mark.parametrize("name", pages())
def test_reference_pages_equal_the_contract(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == pages()[name], "run `make schemas`"


def test_every_package_of_the_test_extra_is_installed() -> None:
    """A missing package would turn tests into skips."""
    packages = """
    torch safetensors diffusers transformers torchvision lpips torchmetrics pingouin matplotlib skimage
    datasets requests torch_fidelity
    distributed bokeh dask_jobqueue obstore moto flask flask_cors
    sphinx myst_parser furo
    """
    missing = [name for name in packages.split() if importlib.util.find_spec(name) is None]
    assert not missing
