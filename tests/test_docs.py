"""The documentation builds without a warning, and what its pages name is there; `test_commands` runs what they show."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from tests.pages import DOCS, PAGES
from tests.source import program


def test_documentation_builds_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        str(DOCS),
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tutorial.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:schemas|generate|ibstats|tests|docs|benchmarks)/[\w./-]*)`", text)
    named += re.findall(r" (tests/[\w./-]+\w)", text)
    assert named or page.stem not in ("house", "CONTRIBUTING")
    assert not {name for name in named if not (DOCS.parent / name).exists()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_module_and_name_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:schemas|generate|ibstats)(?:\.\w+)+)[`(]", text):
        if not name.endswith(".py"):
            assert resolved(name) is not None


def resolved(name: str) -> object:
    """The module, class or function of a dotted name; raises where it is not there, or has moved."""
    package, *rest = name.split(".")
    found: object = importlib.import_module(package)
    path = package
    for part in rest:
        path = f"{path}.{part}"
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            if hasattr(found, "__path__") and importlib.util.find_spec(path) is not None:
                found = importlib.import_module(path)
            else:
                found = getattr(found, part)
    return found


def script(name: str) -> ModuleType:
    """A script that writes pages of the documentation."""
    return program(f"docs/{name}.py")


def test_every_dependency_has_its_reason_and_its_line() -> None:
    """Versions and sizes are those of one machine, so they are not compared."""
    module = script("write_dependencies")
    asked = module.asked()
    assert list(module.WHY) == list(asked)
    text = (DOCS / "dependencies.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    assert [row[0].removeprefix("| ") for row in rows] == list(asked), "write the page again"
    assert "not stated" not in text
    assert "UNKNOWN" not in text


def test_the_pages_of_commands_are_those_of_the_commands() -> None:
    written = script("write_reference").pages()
    assert set(written) == {"cli-ibstats.md", "cli-ibgenerate.md"}
    for name, text in written.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"{name}: run `make schemas`"
