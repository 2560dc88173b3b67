"""The example of a package of one's own, installed, passes its own tests, as its readers would run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.source import ROOT

EXAMPLE = ROOT / "docs/examples/plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the package was installed from a copy."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--target", str(folder / "installed"), "./source"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "installed"


def test_the_example_passes_its_own_tests_where_it_is_installed(
    installed: Path, tmp_path: Path
) -> None:
    """Its sources are out of reach, so it is the installed files that are used."""
    shutil.copy(EXAMPLE / "test_plugin.py", tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "."],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


def test_the_example_is_installed_whole(installed: Path) -> None:
    for file in (EXAMPLE / "ibstats_example").glob("*.py"):
        assert (installed / "ibstats_example" / file.name).is_file()


def test_the_example_needs_ibstats_alone() -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == ["ibstats"]
