"""A user's folder may hold a `generate.py` and a `schemas.py`: ours are found all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.generate.conftest import prompt_lines

ROOT = Path(__file__).parents[1]
HOSTILE = "raise SystemExit('a file of the user took the place of a package')\n"

ADAPTER = """
from generate.models.toy import ToyAutoregressive
from beside import NAME

class Mine(ToyAutoregressive):
    assert NAME == "beside"
"""

STUDY = {
    "name": "own",
    "samples": 2,
    "models": [{"model": "sub/my.py:Mine", "label": "mine"}],
    "prompts": {"source": "s.jsonl"},
    "calibration": {"source": "c.jsonl", "n": 2},
    "experiments": {"factorial": {"kind": "factorial", "paraphrases": 2}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study with an adapter in a file, among modules of the names of our packages."""
    (tmp_path / "sub").mkdir()
    for place in (tmp_path, tmp_path / "sub"):
        for name in ("generate", "schemas"):
            (place / f"{name}.py").write_text(HOSTILE)
    (tmp_path / "sub/my.py").write_text(ADAPTER)
    (tmp_path / "sub/beside.py").write_text("NAME = 'beside'\n")
    for tag in ("s", "c"):
        (tmp_path / f"{tag}.jsonl").write_text(prompt_lines(tag, 2))
    (tmp_path / "study.yaml").write_text(json.dumps(STUDY))
    return tmp_path


def ran(folder: Path, code: str, *arguments: str, path: str = ".") -> str:
    """Output of a script in a folder that is on Python's path."""
    script = folder / "script"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


IBGENERATE = "from ibstats.own import ibgenerate\nif __name__ == '__main__': ibgenerate()"
IBSTATS = "from ibstats.cli import main\nif __name__ == '__main__': main()"


def test_the_hostile_folder_is_hostile(folder: Path) -> None:
    with pytest.raises(AssertionError, match="a file of the user took the place"):
        ran(folder, "import generate.cli")


def test_ibstats_is_imported_beside_a_schemas_of_the_user(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import ibstats; print(ibstats.open_store.__name__)"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f".{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "open_store\n"


def test_a_schemas_that_is_in_use_is_named_and_left_alone(folder: Path) -> None:
    (folder / "schemas.py").write_text("MINE = True\n")
    said = ran(
        folder,
        "import schemas\n"
        "try:\n    import ibstats\nexcept ImportError as error:\n    print(error)\n"
        "print(schemas.MINE)",
    )
    assert "ibstats needs its own package 'schemas', but " in said
    assert "import ibstats first, or rename that file." in said
    assert said.endswith("True\n")


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "two workers"])
def test_a_study_runs_and_is_read_there(folder: Path, workers: tuple[str, ...]) -> None:
    ran(folder, IBGENERATE, "run", "study.yaml", "--out", "run", "--device", "cpu", *workers)
    said = ran(folder, IBSTATS, "verify", "run")
    assert "stored objects checked, 0 with problems" in said
    record = (folder / "run/run.json").read_text()
    assert "sub/my.py:Mine" in record
    assert str(folder) not in record


def test_the_digest_of_a_run_does_not_depend_on_where_the_adapter_lies(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "moved"
    folder.rename(elsewhere)
    elsewhere.with_name("caller").mkdir()
    digests = []
    for cwd, study in ((elsewhere, "study.yaml"), (elsewhere / "sub", "../study.yaml")):
        ran(cwd, IBGENERATE, "create", study, "--out", "run", "--device", "cpu")
        digests.append(json.loads((cwd / "run/run.json").read_text())["config_sha256"])
    assert digests[0] == digests[1]
