"""The example of a metric in a package of its own passes its own tests, as its readers would run them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib

from tests.source import ROOT

EXAMPLE = ROOT / "docs/examples/metric"


def test_the_example_passes_its_own_tests() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLE), str(ROOT)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-c", "pyproject.toml", "."],
        cwd=EXAMPLE,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_example_names_the_files_that_it_has() -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))
    for module in project["tool"]["setuptools"]["py-modules"]:
        assert (EXAMPLE / f"{module}.py").is_file()
    assert project["project"]["dependencies"] == ["ibstats"]
