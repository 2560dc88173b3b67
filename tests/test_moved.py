"""Old paths of modules and names lead to the new ones, and say so."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.moved import MODULES, NAMES

NAMES_OF_ALL = [(module, name) for module, names in NAMES.items() for name in names]


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No module has been imported by its old path."""
    for old in MODULES:
        monkeypatch.delitem(sys.modules, old, raising=False)


@pytest.mark.usefixtures("forgotten")
@pytest.mark.filterwarnings("ignore:.* now:DeprecationWarning")  # of the packages above it
@pytest.mark.parametrize("old", MODULES)
def test_an_old_path_gives_the_module_at_the_new_one(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"^{old} is {MODULES[old]} now"):
        found = importlib.import_module(old)
    assert found is importlib.import_module(MODULES[old])


@pytest.mark.parametrize(("module", "name"), NAMES_OF_ALL)
def test_an_old_name_gives_what_it_stood_for(module: str, name: str) -> None:
    package = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=f"^{module}.{name} is {NAMES[module][name][:8]}"):
        assert getattr(package, name) is not None


def test_names_that_a_package_offers_are_those_of_its_modules() -> None:
    from generate import run, study
    from generate.run import blocks, preparing
    from generate.study import planning, study_file

    assert run.run is blocks.run
    assert run.prepare is preparing.prepare
    assert study.plan is planning.plan
    assert study.load_study is study_file.load_study


def test_a_name_that_never_was_is_refused() -> None:
    with pytest.raises(ImportError, match=r"cannot import name 'nothing' from 'generate.study'"):
        exec("from generate.study import nothing")
    with pytest.raises(ModuleNotFoundError, match=r"generate\.nothing"):
        importlib.import_module("generate.nothing")


def test_a_script_of_before_runs_and_is_told_the_new_path(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from generate.probes import Probe\nprint(Probe().argmax(0, 4))\n")
    done = subprocess.run(
        [sys.executable, "-W", "default", str(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
    assert (
        "script.py:1: DeprecationWarning: generate.probes is generate.study.probes" in done.stderr
    )
