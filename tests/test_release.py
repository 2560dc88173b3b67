"""What `python -m tests.release` finds, and that it finds nothing where all is right."""

from __future__ import annotations

import filecmp
import zipfile
from pathlib import Path

import pytest

from schemas.version import __version__
from tests import release
from tests.source import ROOT

READY = "# Changes\n\nTold.\n\n## 1.0.0, 2026-01-31\n\n- It stands.\n\n## 0.9.0, 2025-01-31\n- a\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (READY, ""),
        (READY.replace("2026-01-31", "unreleased"), "has 1.0.0 as unreleased; date it"),
        (READY.replace("2026-01-31", "January"), "dates 1.0.0 'January', not as 2026-01-31"),
        (READY.replace("1.0.0", "1.1.0"), "does not begin with '## 1.0.0, DATE'"),
        (READY.replace("- It stands.", ""), "says nothing of 1.0.0"),
    ],
)
def test_the_list_of_changes_is_looked_at(text: str, problem: str) -> None:
    assert release.changelog_problem(text, "1.0.0").endswith(problem)
    assert bool(release.changelog_problem(text, "1.0.0")) == bool(problem)


def test_versions_agree_and_are_new() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert release.versions_problem(citation, ["v0.1.0"], __version__) == ""
    assert "is there already" in release.versions_problem(
        citation, [f"v{__version__}"], __version__
    )
    assert "CITATION.cff says" in release.versions_problem(citation, [], "9.9.9")


def test_a_wheel_that_lacks_a_licence_or_a_program_is_told(tmp_path: Path) -> None:
    info = "ibstats-1.0.0.dist-info"
    files = {f"{info}/licenses/{name}": "" for name in release.LICENCES}
    files[f"{info}/METADATA"] = "Version: 1.0.0\nLicense-Expression: Apache-2.0\n"
    files[f"{info}/entry_points.txt"] = "[console_scripts]\nibgenerate = a:b\nibstats = a:b\n"

    def told(**changed: str) -> str:
        wheel = tmp_path / "a.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, content in files.items():
                content = changed.get(name.rpartition("/")[2].partition(".")[0], content)
                if content != "absent":
                    archive.writestr(name, content)
        return release.wheel_problem(wheel, "1.0.0")

    assert told() == ""
    assert told(NOTICE="absent") == "the wheel lacks NOTICE"
    assert "lack 'Version: 1.0.0'" in told(METADATA="Version: 2\n")
    assert told(entry_points="ibstats = a:b\n") == "the wheel brings no program ibgenerate"


def test_what_fails_is_kept_and_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    check = release.Check()
    check.told("one", "is not so")
    check.told("two", "")
    assert check.problems == ["is not so"]
    assert capsys.readouterr().out == "one: is not so (0.0 s)\ntwo: right (0.0 s)\n"


@pytest.mark.slow
def test_a_commit_gives_the_same_wheel_everywhere(tmp_path: Path) -> None:
    first = release.built("HEAD", tmp_path / "a")
    second = release.built("HEAD", tmp_path / "elsewhere/b")
    assert filecmp.cmp(first, second, shallow=False)
    assert release.wheel_problem(first, __version__) == ""


def test_the_pythons_tried_are_those_of_the_classifiers(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    named = "Classifier: Programming Language :: Python :: "
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            "a.dist-info/METADATA", f"{named}3\n{named}3 :: Only\n{named}3.11\n{named}3.12\n"
        )
    assert release.pythons(wheel) == ["3.11", "3.12"]
