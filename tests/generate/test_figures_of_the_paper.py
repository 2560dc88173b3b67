"""The study of every figure of the paper can be planned, with known models and settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from generate.models import model_class
from generate.study.planning import plan
from generate.study.study_file import load_study

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))


def test_figures_2_to_7_have_a_study_and_the_readme_names_each() -> None:
    names = [path.stem for path in STUDIES]
    assert names == [
        "figure-2",
        "figure-4",
        "figure-5a",
        "figure-5b",
        "figure-5c",
        "figure-6",
        "figure-7",
    ]
    readme = STUDIES[0].with_name("README.md").read_text()
    assert all(f"`{name}.yaml`" in readme for name in names)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_study_of_a_figure_can_be_planned(path: Path) -> None:
    laid_out = plan(*load_study(str(path)))
    assert laid_out.study.name == path.stem
    assert len(laid_out.prompts) >= 150
    for choice in laid_out.study.models:
        model_class(choice.model).options(choice.options)
