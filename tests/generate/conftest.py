"""A study of the toy models, in a folder of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.store.samples import SampleStore
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study


def prompt_lines(tag: str, n: int) -> str:
    return "".join(
        json.dumps(
            {
                "id": f"{tag}{i}",
                "text": f"{tag} prompt {'x' * i}",
                "paraphrases": {
                    "short": [f"{tag}{i}"],
                    "medium": [f"{tag} medium {i}"],
                    "long": [f"{tag} long one {i}"],
                },
            }
        )
        + "\n"
        for i in range(n)
    )


def write_study(folder: Path) -> Path:
    (folder / "study.jsonl").write_text(prompt_lines("s", 5))
    (folder / "calibration.jsonl").write_text(prompt_lines("c", 4))
    document = {
        "name": "toy",
        "seed": 3,
        "samples": 6,
        "models": [
            {"model": "toy-ar", "label": "toy-autoregressive"},
            "toy-masked",
            {"model": "generate.models.toy:ToyDiffusion", "label": "toy-diffusion"},
        ],
        "prompts": {"source": "study.jsonl"},
        "calibration": {"source": "calibration.jsonl", "n": 4},
        "experiments": {"factorial": {"kind": "factorial", "keep_ratio": 0.67, "paraphrases": 3}},
        "block_prompts": 3,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    return write_study(tmp_path)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy study, run once; tests that read or damage it take the `store` fixture's copy."""
    folder = tmp_path_factory.mktemp("toy")
    toy_plan = plan(*load_study(str(write_study(folder))))
    run(toy_plan, prepare(toy_plan, folder / "run"))
    return folder / "run"


@pytest.fixture
def store(finished_run: Path, tmp_path: Path) -> SampleStore:
    shutil.copytree(finished_run, tmp_path / "run")
    return SampleStore.open(tmp_path / "run")


def edited(study_file: Path, **changes: Any) -> Path:
    """The study with some keys changed, beside the original; None removes a key."""
    document = yaml.safe_load(study_file.read_text()) | changes
    path = study_file.with_name("edited.yaml")
    path.write_text(
        yaml.safe_dump({key: value for key, value in document.items() if value is not None})
    )
    return path


@pytest.fixture
def toy_plan(study_file: Path) -> Plan:
    return plan(*load_study(str(study_file)))
