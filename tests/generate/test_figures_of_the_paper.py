"""The study of every figure of the paper can be planned, with known models and settings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from generate.errors import StudyError
from generate.models import model_class
from generate.prompts.files import write_prompts
from generate.study.planning import plan
from generate.study.study_file import load_study
from schemas.study import LENGTH_WORDS, Paraphrases, Prompt

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("figure-*.yaml"))


def test_figures_2_to_7_have_a_study_and_the_readme_names_each() -> None:
    names = [path.stem for path in STUDIES]
    assert names == [
        "figure-2-dalle3",
        "figure-2",
        "figure-3",
        "figure-4",
        "figure-5a",
        "figure-5b",
        "figure-5c",
        "figure-6",
        "figure-7",
    ]
    readme = STUDIES[0].with_name("README.md").read_text()
    assert all(f"`{name}.yaml`" in readme for name in names)


MADE_FIRST = {"figure-2-dalle3": "dalle3.jsonl", "figure-3": "coco2014.jsonl"}
"""Studies whose prompts are not shipped, and the file that has them."""


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_study_of_a_figure_can_be_planned(path: Path, tmp_path: Path) -> None:
    if path.stem in MADE_FIRST:
        write_prompts(many(500), tmp_path / MADE_FIRST[path.stem])
        path = Path(shutil.copy(path, tmp_path))
    laid_out = plan(*load_study(str(path)))
    assert laid_out.study.name == path.stem
    assert len(laid_out.prompts) >= 150
    for choice in laid_out.study.models:
        model_class(choice.model).options(choice.options)


def many(n: int) -> list[Prompt]:
    """Prompts with paraphrases of every length, all of other words."""
    made = []
    for number in range(n):
        wordings = {}
        for length, (fewest, _) in LENGTH_WORDS.items():
            filling = " ".join(["word"] * (fewest + 4))
            wordings[length] = [f"{filling} {number} {k} {length}" for k in range(5)]
        paraphrases = Paraphrases(**wordings)
        made.append(Prompt(id=f"p{number}", text=f"caption {number}", paraphrases=paraphrases))
    return made


@pytest.mark.parametrize("name", MADE_FIRST)
def test_a_study_whose_prompts_are_not_made_is_refused_and_says_how(
    name: str, tmp_path: Path
) -> None:
    (path,) = [path for path in STUDIES if path.stem == name]
    assert f"--out studies/{MADE_FIRST[name]}" in path.read_text()
    copied = shutil.copy(path, tmp_path)
    with pytest.raises(StudyError, match=f"{MADE_FIRST[name]} does not exist.*prompts build"):
        plan(*load_study(str(copied)))


def test_fid_has_5000_images_a_condition() -> None:
    (path,) = [path for path in STUDIES if path.stem == "figure-3"]
    study, _ = load_study(str(path))
    assert study.prompts.n is not None
    assert study.samples * study.prompts.n >= 5000
