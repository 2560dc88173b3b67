"""A package that lacks is one line with the extra that brings it, in both programs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import generate.extras
import ibstats.extras
from generate.models import model_class
from schemas.extras import lacking
from tests.source import ROOT

WITHOUT = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
sys.argv = {arguments!r}
importlib.import_module({module!r}).main()
"""

STUDY = """
name: tiny
samples: 2
models: [trio-ar]
prompts: {source: trio, n: 3}
calibration: {n: 2, samples: 2}
"""


def ended(module: str, package: str, *arguments: str) -> tuple[int, str]:
    """Status and stderr of a program where a package is not installed."""
    code = WITHOUT.format(package=package, module=module, arguments=[module, *arguments])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", [("run", "STUDY", "--out", "RUN"), ("inspect", "trio-mim")])
def test_ibgenerate_without_torch_names_the_extra(tmp_path: Path, command: tuple[str, ...]) -> None:
    study = tmp_path / "tiny.yaml"
    study.write_text(STUDY)
    places = {"STUDY": str(study), "RUN": str(tmp_path / "run")}
    given = [places.get(word, word) for word in command]
    status, told = ended("generate.cli", "torch", *given)
    assert status == 1
    assert told.strip() == "error: this command needs torch; pip install 'ibstats[generate]'"


def test_ibstats_without_torch_names_the_extra(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"")
    out = str(tmp_path / "set.npz")
    status, told = ended("ibstats.cli", "torch", "reference", str(folder), "--out", out)
    assert status == 1
    assert "needs torch; pip install 'ibstats[distances]'" in told
    assert len(told.strip().splitlines()) == 1


@pytest.mark.parametrize("extras", [generate.extras.EXTRAS, ibstats.extras.EXTRAS])
def test_every_extra_that_is_named_exists(extras: dict[str, str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras.values()) <= set(project["optional-dependencies"])


def test_a_known_model_whose_package_lacks_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "generate.models.amused", None)
    monkeypatch.setitem(generate.extras.EXTRAS, "generate", "models")
    with pytest.raises(ValueError, match=r"model 'amused' needs generate; pip install 'ibstats"):
        model_class("amused")


def test_several_packages_are_one_line() -> None:
    line = lacking("LPIPS", ["torch", "transformers"], ibstats.extras.EXTRAS)
    assert line == "LPIPS needs torch, transformers; pip install 'ibstats[distances,quality]'"
