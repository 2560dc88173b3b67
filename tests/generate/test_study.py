from __future__ import annotations

from pathlib import Path

import pytest

from generate.errors import ModelError, StudyError
from generate.models import MODELS, model_class
from generate.run.loading import identify
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study
from tests.generate.conftest import edited, prompt_lines


def load(path: Path) -> Plan:
    return plan(*load_study(str(path)))


def test_every_sample_is_in_exactly_one_block(toy_plan: Plan) -> None:
    seen = [
        (block.model, block.experiment, block.condition, prompt)
        for block in toy_plan.blocks()
        for prompt in range(block.start, block.stop)
    ]
    assert len(seen) == len(set(seen)) == 3 * 8 * 5


def test_a_misspelt_key_is_named_with_the_allowed_ones(study_file: Path) -> None:
    with pytest.raises(
        StudyError,
        match=r"unknown key 'sampels' \(did you mean 'samples'\?\); allowed here: .*samples",
    ):
        load(edited(study_file, sampels=3))


def test_a_misspelt_key_of_an_experiment_is_named_with_the_allowed_ones(study_file: Path) -> None:
    wrong = {"factorial": {"kind": "factorial", "keep_rato": 0.5}}
    with pytest.raises(
        StudyError,
        match=r"keep_rato' \(did you mean 'keep_ratio'\?\); allowed here: kind, factors, keep_ratio",
    ):
        load(edited(study_file, experiments=wrong))


def test_a_missing_key_and_a_wrong_value_are_named(study_file: Path) -> None:
    with pytest.raises(StudyError, match="'samples' is missing"):
        load(edited(study_file, samples=None))
    with pytest.raises(StudyError, match=r"'samples' is 1: .*greater than or equal to 2"):
        load(edited(study_file, samples=1))


def test_more_samples_than_any_memory_holds_are_refused_before_they_are_laid_out(
    study_file: Path,
) -> None:
    with pytest.raises(StudyError, match=r"asks for 1000000000000 samples a prompt, but 1000000"):
        plan(*load_study(str(edited(study_file, samples=10**12))))


def test_an_unknown_study_file_and_an_unknown_prompt_file_are_named(study_file: Path) -> None:
    with pytest.raises(
        StudyError,
        match=r"study file nowhere.yaml does not exist; .* trio, trio-ablations for a shipped one",
    ):
        load_study("nowhere.yaml")
    with pytest.raises(StudyError, match=r"prompt file .*nothing.jsonl does not exist"):
        load(edited(study_file, prompts={"source": "nothing.jsonl"}))


def test_a_study_that_is_not_yaml_or_not_a_mapping_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,")
    with pytest.raises(StudyError, match="is not YAML"):
        load_study(str(broken))
    broken.write_text("- 1")
    with pytest.raises(StudyError, match="holds a list, but a study is a mapping"):
        load_study(str(broken))


def test_calibration_prompts_among_the_study_prompts_are_refused(study_file: Path) -> None:
    with pytest.raises(
        StudyError, match=r"4 calibration prompts are study prompts too \(first: 's0'\)"
    ):
        load(edited(study_file, calibration={"source": "study.jsonl", "n": 4}))


def test_a_paraphrase_shared_with_calibration_is_overlap_too(study_file: Path) -> None:
    lines = prompt_lines("c", 2).replace("c medium 1", "s long one 2")
    study_file.with_name("calibration.jsonl").write_text(lines)
    with pytest.raises(
        StudyError, match=r"1 calibration prompts are study prompts too \(first: 'c1'\)"
    ):
        load(edited(study_file, calibration={"source": "calibration.jsonl", "n": 2}))


def test_bad_prompt_files_are_refused_by_line(study_file: Path) -> None:
    source = study_file.with_name("study.jsonl")
    good = source.read_text()
    source.write_text(good + '{"id": "z"}\n')
    with pytest.raises(
        StudyError, match="line 6: text: Field required; fields are id, text, paraphrases"
    ):
        load(study_file)
    source.write_text(good + good)
    with pytest.raises(StudyError, match="prompt id 's0' more than once"):
        load(study_file)
    source.write_text("")
    with pytest.raises(StudyError, match="is empty"):
        load(study_file)


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    with pytest.raises(
        ModelError, match=f"model 'trio-arr' is unknown; known are {', '.join(MODELS)}"
    ):
        model_class("trio-arr")
    with pytest.raises(ModelError, match="needs the module 'nowhere'"):
        model_class("nowhere:Model")
    with pytest.raises(ModelError, match="has no class 'Nothing'"):
        model_class("generate.models.toy:Nothing")
    with pytest.raises(ModelError, match="is not a subclass"):
        model_class("pathlib:Path")


def test_an_adapter_of_no_known_family_is_refused(tmp_path: Path) -> None:
    """The family decides what is a path, what is rescored and what is compared."""
    body = "from generate.models.toy import ToyMasked\n\n\nclass Mine(ToyMasked):\n    family = 'maskd'\n"
    (tmp_path / "mine.py").write_text(body)
    with pytest.raises(ModelError, match="its `family` is 'maskd', but must be one of autoregres"):
        model_class("mine.py:Mine", tmp_path)


def test_unknown_and_mistyped_model_options_are_named(study_file: Path) -> None:
    chosen = {"model": "generate.models.toy:ToyMasked", "label": "toy"}
    with pytest.raises(
        ModelError, match=r"option 'stesp' .* \(did you mean 'steps'\?\); allowed: positions, codes"
    ):
        identify(load(edited(study_file, models=[chosen | {"options": {"stesp": 3}}])))
    with pytest.raises(ModelError, match=r"option 'steps' .* is 'many'; it must be like 3"):
        identify(load(edited(study_file, models=[chosen | {"options": {"steps": "many"}}])))


def test_two_models_of_one_label_need_another(study_file: Path) -> None:
    with pytest.raises(
        StudyError, match="two models are called 'trio-ar' in the store: give one of them a `label`"
    ):
        load(edited(study_file, models=["trio-ar", "trio-ar"]))
