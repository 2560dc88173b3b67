from __future__ import annotations

import sys
from pathlib import Path

import pytest

from generate.errors import ModelError, StudyError
from generate.models import model_class
from generate.study.adapter_file import load_file, split_name
from generate.study.planning import plan
from schemas.study import Study

ADAPTER = """
from __future__ import annotations
import dataclasses
from generate.models.toy import ToyAutoregressive

@dataclasses.dataclass(frozen=True)
class Options(ToyAutoregressive.Options):
    extra: int = 1

class Mine(ToyAutoregressive):
    Options = Options
"""


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "my_models.py"
    path.write_text(ADAPTER)
    return path


def test_an_adapter_is_found_in_the_folder_of_the_study(adapter: Path) -> None:
    mine = model_class("my_models.py:Mine", adapter.parent)
    assert mine.options({"extra": 3}).extra == 3
    assert model_class(f"{adapter}:Mine") is mine, "loaded once"


def test_the_folder_of_an_adapter_takes_the_place_of_nothing_installed(adapter: Path) -> None:
    load_file("my_models.py", adapter.parent)
    assert sys.path[-1] == str(adapter.parent)


def test_a_file_that_is_not_there_is_named_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"adapter file {tmp_path}/none.py does not exist"):
        model_class("none.py:Mine", tmp_path)


def test_a_class_that_is_not_there_is_named(adapter: Path) -> None:
    with pytest.raises(ModelError, match=r"'my_models.py' has no class 'Other'"):
        model_class("my_models.py:Other", adapter.parent)


def test_a_file_that_fails_is_loaded_anew_when_it_is_mended(adapter: Path) -> None:
    adapter.write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        model_class("my_models.py:Mine", adapter.parent)
    adapter.write_text(ADAPTER)
    assert model_class("my_models.py:Mine", adapter.parent).__name__ == "Mine"


def test_a_name_without_a_class_is_no_adapter() -> None:
    assert split_name("my_models.py") == ("my_models.py", "")
    with pytest.raises(ModelError, match=r"model 'my_models.py' is unknown"):
        model_class("my_models.py")


def test_a_study_cannot_hold_a_path_of_this_machine(adapter: Path) -> None:
    model = {"model": f"{adapter}:Mine", "label": "mine"}
    study = Study.model_validate({"name": "x", "samples": 2, "models": [model]})
    with pytest.raises(StudyError, match="is an absolute path, which would tie the run"):
        plan(study, adapter.parent)
