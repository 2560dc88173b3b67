"""One run of all ablations with the toy models, for the tests of both packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from generate.cli import app
from tests.generate.conftest import prompt_lines
from tests.tex import installed

EXPERIMENTS: dict[str, dict[str, Any]] = {
    "factorial": {"kind": "factorial", "keep_ratio": 0.5, "paraphrases": 3},
    "ratio": {"kind": "subset_ratio", "ratios": [0.2, 0.25, 0.5, 0.75]},
    "window": {"kind": "argmax_window"},
    "length": {"kind": "paraphrase_length", "paraphrases": 2},
    "method": {"kind": "subset_method", "random_draws": 2},
    "enhancement": {"kind": "enhancement", "ratios": [0.5], "paraphrases": 3},
}


def ablation_study(folder: Path, **changes: Any) -> Path:
    """A study of every ablation with the toy models."""
    for tag, n in (("s", 3), ("c", 4)):
        lines = prompt_lines(tag, n)
        for length in ("short", "medium", "long"):
            lines = lines.replace(
                f'"{length}": [', f'"{length}": ["another {tag} {length} wording", '
            )
        (folder / f"{tag}.jsonl").write_text(lines)
    document = {
        "name": "ablations",
        "seed": 5,
        "samples": 4,
        "models": [
            {"model": f"toy-{family}", "options": {"codes": 8}}
            for family in ("ar", "scales", "masked", "diffusion")
        ],
        "prompts": {"source": "s.jsonl"},
        "calibration": {"source": "c.jsonl", "n": 4},
        "experiments": EXPERIMENTS,
    } | changes
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="session")
def ablation_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That study, run."""
    folder = tmp_path_factory.mktemp("ablations")
    study = ablation_study(folder)
    done = CliRunner().invoke(
        app, ["run", str(study), "--out", str(folder / "run"), "--device", "cpu"]
    )
    assert done.exit_code == 0, done.output
    return folder / "run"


@pytest.fixture(scope="session")
def tex() -> str:
    """A TeX that is installed, see `tests.tex`."""
    return installed()
