from __future__ import annotations

import sys
from pathlib import Path

import pytest

from schemas.user_code import module_of_file


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "json.py"  # a name that an installed module has too
    path.write_text("VALUE = 1\n")
    return path


def test_a_file_is_loaded_once_and_takes_the_place_of_nothing(file: Path) -> None:
    import json

    module = module_of_file(file, "mine_")
    assert module.VALUE == 1
    assert module.__name__.startswith("mine_")
    assert module_of_file(file, "mine_") is module
    assert sys.modules["json"] is json
    assert sys.path[-1] == str(file.parent)


def test_files_of_one_name_in_two_folders_are_two_modules(file: Path) -> None:
    other = file.parent / "more" / file.name
    other.parent.mkdir()
    other.write_text("VALUE = 2\n")
    assert module_of_file(file, "mine_").VALUE == 1
    assert module_of_file(other, "mine_").VALUE == 2


def test_a_file_that_fails_is_loaded_anew_when_it_is_mended(file: Path) -> None:
    file.write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        module_of_file(file, "mine_")
    file.write_text("VALUE = 3\n")
    assert module_of_file(file, "mine_").VALUE == 3
