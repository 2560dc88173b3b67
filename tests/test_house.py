"""Rules of the house that no module can break unnoticed."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.__main__ import PUBLISHED, rendered
from schemas.reference import pages
from tests import source
from tests.source import BENCHMARKS, CODE, MODULES, PACKAGES, ROOT, TESTS

HEAVY = ("torch", "lpips", "pingouin", "matplotlib", "pydantic", "statsmodels")

LATE = {
    "PIL",
    "bs4",
    "cloudpickle",
    "dask",
    "dask_cuda",
    "dask_jobqueue",
    "dask_kubernetes",
    "datasets",
    "diffusers",
    "distributed",
    "ftfy",
    "huggingface_hub",
    "lpips",
    "matplotlib",
    "obstore",
    "pandas",
    "pingouin",
    "pyarrow",
    "requests",
    "rich",
    "safetensors",
    "tokenizers",
    "torch",
    "torch_fidelity",
    "torchmetrics",
    "torchvision",
    "transformers",
}
"""Packages heavy or optional, so imported inside functions where need be; so are modules of ours that load them."""

COMMANDS = ("ibstats.cli", "ibstats.options", "generate.cli")
"""Modules that import what a command runs once it is called, so that help is quick."""

LAYERS = (
    ("ibstats.errors", "ibstats.extras", "ibstats.own"),
    ("ibstats.kernels",),
    ("ibstats.design", "ibstats.planned", "ibstats.quantities"),
    ("ibstats.store", "ibstats.selection", "ibstats.importing"),
    ("ibstats.measure",),
    ("ibstats.statistics",),
    ("ibstats.analysis", "ibstats.checks"),
    ("ibstats.results", "ibstats.citing"),
    ("ibstats.report",),
    ("ibstats.publishing",),
    ("ibstats.options", "ibstats.run", "ibstats.cli", "ibstats.__main__"),
)
"""Floors of ibstats from the ground up: a module imports from its own floor and from those below."""

CELL = re.compile(r"(argmax|stochastic)[/-](original|paraphrase)[/-](subset|full)")
"""A condition of the factorial spelled out."""

RESULTS_PATH = re.compile(r"results(/|\.json|$)")
"""A path under `results/` spelled out."""

KNOWS_CELLS = {"ibstats.design", "schemas.design", "schemas.io.layout"}
"""Modules that may know the name of a condition or a path under `results/`."""

OTHERS_PRIVATE = {"_clean_caption", "_compute_fid", "_PROMPTS", "_repr_html_"}
"""Private names of libraries that are used on purpose, mostly as oracles in tests."""

MOST_LINES = 500
MOST_IN_CIRCLES = 0
MOST_FLOORS = 15
MOST_UPWARDS = 0
MOST_LATE = 0
MOST_CELLS = 0
MOST_RESULTS_PATHS = 0
MOST_PRIVATE = 0
MOST_COMPREHENSIONS = {"schemas": 15, "generate": 15, "ibstats": 15}
MOST_CONDITIONALS = {"schemas": 6, "generate": 6, "ibstats": 6}
MOST_LONG_LINES = {"schemas": 1, "generate": 1, "ibstats": 1}
MOST_ONE_LINE = {"schemas": 25, "generate": 25, "ibstats": 25}
MOST_SKIPS = {"schemas": 0, "generate": 0, "ibstats": 0}
HELP_LOADS: set[str] = set()


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_share_the_contract_and_nothing_else(path: Path) -> None:
    forbidden = {
        "generate": {"ibstats"},
        "ibstats": {"generate"},
        "schemas": {"generate", "ibstats"},
    }
    package = path.relative_to(ROOT).parts[0]
    assert not source.imported(path) & forbidden[package]


def test_the_import_probe_sees_imports_inside_functions(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def f():\n    from ibstats.store import open_store\n")
    assert source.imported(module) == {"ibstats"}


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_readable_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert path.stem not in {"utils", "helpers", "misc", "common"}


def test_no_import_goes_in_a_circle() -> None:
    circles = source.in_circles(source.imports_among_modules())
    assert len(circles) <= MOST_IN_CIRCLES, circles


def test_the_probe_of_circles_sees_one() -> None:
    assert source.in_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == {"b", "c"}
    assert source.floors({"a": {"b"}, "b": {"c"}, "c": set()}) == 3


def test_ibstats_has_few_floors() -> None:
    ours = {}
    for module, used in source.imports_among_modules().items():
        if module.startswith("ibstats"):
            ours[module] = {name for name in used if name.startswith("ibstats")}
    assert source.floors(ours) <= MOST_FLOORS


def floor_of(module: str) -> int | None:
    """Number of the floor that a module stands on, from the ground up; None for one that has none."""
    for number, floor in enumerate(LAYERS):
        for name in floor:
            if module == name or module.startswith(f"{name}."):
                return number
    return None


def test_a_module_imports_from_its_own_floor_and_below() -> None:
    upwards = []
    for module, used in source.imports_among_modules().items():
        own = floor_of(module)
        if own is not None:
            above = [name for name in used if (floor_of(name) or 0) > own]
            upwards += [(module, name) for name in above]
    assert len(upwards) <= MOST_UPWARDS, upwards


def test_every_module_of_ibstats_stands_on_a_floor() -> None:
    ours = [module for module in MODULES if module.startswith("ibstats.")]
    assert not [module for module in ours if floor_of(module) is None]


def may_be_late(name: str, where: str = "") -> bool:
    """Whether what is imported inside a function is heavy or optional, or a module of ours that loads such."""
    module = source.module_of(name)
    if module is None:
        return name.split(".")[0] in {*LATE, "zarr"}
    return where.startswith(COMMANDS) or not source.libraries(module).isdisjoint({*LATE, "zarr"})


def test_imports_stand_at_the_top_unless_what_they_load_is_heavy() -> None:
    late = []
    for module, path in MODULES.items():
        names = sorted(n for n in source.late_imports(path) if not may_be_late(n, module))
        late += [f"{module}: {name}" for name in names]
    assert len(late) <= MOST_LATE, late


def test_the_probe_of_late_imports_follows_our_own_modules() -> None:
    assert may_be_late("generate.models.trio.TrioMasked")
    assert not may_be_late("schemas.results.Results")
    assert not may_be_late("json")


def test_no_condition_is_spelled_out() -> None:
    found = []
    for module, path in MODULES.items():
        if module not in KNOWS_CELLS:
            found += [(module, text) for text in source.texts(path) if CELL.search(text)]
    assert len(found) <= MOST_CELLS, found


def test_only_the_layout_knows_where_results_lie() -> None:
    found = []
    for module, path in MODULES.items():
        if module not in KNOWS_CELLS:
            parts = [text for text in source.path_parts(path) if RESULTS_PATH.match(text)]
            found += [(module, text) for text in parts]
    assert len(found) <= MOST_RESULTS_PATHS, found


def test_nobody_reaches_a_private_name_of_another_module() -> None:
    reached = []
    for path in [*CODE, *TESTS, *BENCHMARKS]:
        names = source.private_names_of_others(path) - OTHERS_PRIVATE
        reached += [f"{path.relative_to(ROOT)}: {name}" for name in sorted(names)]
    assert len(reached) <= MOST_PRIVATE, reached


@pytest.mark.parametrize("package", PACKAGES)
def test_the_code_is_not_dense(package: str) -> None:
    found = source.density(path for path in CODE if path.relative_to(ROOT).parts[0] == package)
    assert found.per_1000_lines(found.comprehensions) <= MOST_COMPREHENSIONS[package]
    assert found.per_1000_lines(found.conditionals) <= MOST_CONDITIONALS[package]
    assert 100 * found.long_lines / found.lines <= MOST_LONG_LINES[package]
    assert 100 * found.one_line / found.public <= MOST_ONE_LINE[package]
    assert found.skips <= MOST_SKIPS[package]


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.name)
def test_benchmarks_need_no_tests(path: Path) -> None:
    assert "tests" not in source.imported(path)


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
    assert {"matplotlib", "pydantic"} <= modules_after("import ibstats, matplotlib, pydantic")


def test_asking_ibgenerate_for_help_loads_nothing_heavy() -> None:
    ask = "import sys; sys.argv = ['ibgenerate', '--help']\nfrom generate.cli import main\n"
    loaded = modules_after(f"{ask}try:\n    main()\nexcept SystemExit:\n    pass")
    assert "typer" in loaded
    assert not {"torch", "zarr", "xarray", "distributed", "transformers"} & loaded


def test_asking_for_help_loads_no_tables() -> None:
    heavy = {"pandas", "xarray", "zarr", "scipy", "torch"}
    ask = "import sys; sys.argv = ['ibstats', '--help']\nfrom ibstats.cli import main\n"
    loaded = modules_after(f"{ask}try:\n    main()\nexcept SystemExit:\n    pass")
    assert "typer" in loaded
    assert heavy & loaded <= HELP_LOADS


def test_a_plan_is_checked_without_torch() -> None:
    checking = ("generate.study.", "generate.store.", "generate.prompts", "generate.provenance")
    modules = [name for name in MODULES if name.startswith(checking)]
    assert "torch" not in modules_after(f"import {', '.join(modules)}")
    assert {"generate.study.noise", "generate.store.audit"} <= set(modules)


def test_planning_the_shipped_study_needs_no_torch() -> None:
    statement = "from generate.study import load_study, plan; plan(*load_study('trio'))"
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
    sphinx myst_parser furo latex2mathml
    playwright axe_playwright_python
    """
    missing = [name for name in packages.split() if importlib.util.find_spec(name) is None]
    assert not missing
