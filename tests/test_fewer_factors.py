"""Prompts without paraphrases, as of class-conditional models: the 2x2 from study to report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import ibstats
from generate.errors import StudyError
from generate.run import prepare, run
from generate.study import load_study, plan
from generate.study.planning import Plan
from ibstats.cli import app
from tests.generate.conftest import prompt_lines

CLASSES = ("red", "blue", "green", "white", "black", "grey")
CELLS = [
    "argmax-original-subset",
    "argmax-original-full",
    "stochastic-original-subset",
    "stochastic-original-full",
]


def laid_out(folder: Path, prompts: str, **factorial: Any) -> Plan:
    """A study of two toys on those prompts."""
    (folder / "prompts.jsonl").write_text(prompts)
    (folder / "others.jsonl").write_text(named("kind", "abc"))
    study = {
        "name": "two",
        "samples": 4,
        "models": ["toy-masked", "toy-ar"],
        "prompts": {"source": "prompts.jsonl"},
        "calibration": {"source": "others.jsonl", "n": 3, "samples": 4},
        "experiments": {"factorial": {"kind": "factorial", **factorial}},
    }
    (folder / "study.yaml").write_text(json.dumps(study))
    return plan(*load_study(str(folder / "study.yaml")))


def named(word: str, names: Any) -> str:
    """Prompt records without paraphrases."""
    return "".join(
        json.dumps({"id": f"{word}-{name}", "text": f"{word} {name}"}) + "\n" for name in names
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    study = laid_out(folder, named("class", CLASSES))
    run(study, prepare(study, folder / "run"))
    return folder / "run"


def test_prompts_without_paraphrases_get_the_2x2_that_the_run_records(made: Path) -> None:
    store = ibstats.open_store(made)
    recorded = store.run.experiments["factorial"]
    assert recorded.conditions == CELLS
    assert [factor.name for factor in recorded.factors] == ["sampling", "codebook"]
    assert recorded.baseline == "stochastic-original-full"


def test_the_report_has_three_effects_and_says_nothing_of_paraphrases(made: Path) -> None:
    answer = CliRunner().invoke(app, ["report", str(made), "--full"])
    assert answer.exit_code == 0, answer.output
    results = json.loads((made / "results/results.json").read_text())
    effects = {row["term"] for row in results["rows"] if row["section"] == "effect"}
    probes = {row["term"] for row in results["rows"] if row["section"] == "probe"}
    cells = {row["condition"] for row in results["rows"] if row["section"] == "diversity"}
    assert effects == {"sampling", "codebook", "sampling:codebook"}
    assert probes == {"argmax", "subset"}
    assert cells == set(CELLS)
    page = (made / "results/report.html").read_text(encoding="utf-8")
    for text in (answer.output, json.dumps(results), page):
        assert "paraphrase" not in text.lower()


@pytest.mark.parametrize(
    ("factors", "cells"),
    [
        (["codebook", "sampling"], CELLS),
        (["codebook"], CELLS[2:]),
        (["prompt_type"], ["stochastic-original-full", "stochastic-paraphrase-full"]),
    ],
)
def test_a_study_names_the_factors_it_crosses(
    tmp_path: Path, factors: list[str], cells: list[str]
) -> None:
    study = laid_out(tmp_path, prompt_lines("s", 3), factors=factors, paraphrases=2)
    recorded = study.experiment_plan("factorial")
    assert recorded.conditions == cells
    assert {factor.name for factor in recorded.factors} == set(factors)
    assert recorded.baseline == "stochastic-original-full"


def test_prompts_with_paraphrases_get_all_three_factors_as_ever(tmp_path: Path) -> None:
    study = laid_out(tmp_path, prompt_lines("s", 3), paraphrases=2)
    assert len(study.experiment_plan("factorial").conditions) == 8
    assert study.study.experiments["factorial"].model_dump()["factors"] is None


def test_a_wording_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="has 0 mixed paraphrases"):
        laid_out(tmp_path, named("class", CLASSES), factors=["sampling", "prompt_type"])


def test_a_factor_named_twice_or_unknown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="'sampling' stands there twice"):
        laid_out(tmp_path, named("class", CLASSES), factors=["sampling", "sampling"])
    with pytest.raises(StudyError, match="factors"):
        laid_out(tmp_path, named("class", CLASSES), factors=["wording"])
