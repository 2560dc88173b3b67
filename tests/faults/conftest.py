"""The runs that the tests of faults damage, kill and read: made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.run.rescore import plan_rescoring, rescore
from generate.store.samples import SampleStore
from generate.store.sealing import seal
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study
from tests.faults.commands import ANALYSED, IMPORTED, ask
from tests.generate.conftest import edited, write_study

SEALED_PIECE = 3
"""Records of a table of a sealed run, so that a Dataset of the tests has several."""


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A study of one model of which every file can be damaged in every way."""
    study = edited(
        write_study(tmp_path_factory.mktemp("study")), models=["toy-masked"], block_prompts=5
    )
    return plan(*load_study(str(study)))


@pytest.fixture(scope="session")
def whole(small: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its run, finished."""
    root = tmp_path_factory.mktemp("whole") / "run"
    run(small, prepare(small, root))
    return root


@pytest.fixture(scope="session")
def finished(small: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its run, finished, rescored and analysed."""
    root = tmp_path_factory.mktemp("finished") / "run"
    run(small, prepare(small, root))
    work = plan_rescoring(
        SampleStore.open(root), "toy-masked", experiment="factorial", n_paths=2, n_prompts=3
    )
    rescore(work)
    for command in ANALYSED:
        code, _, told = ask(command, root)
        assert code == 0, f"{command}: {told}"
    return root


@pytest.fixture(scope="session")
def sealed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, its ledger sealed: results go on being those of the run."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("sealed") / "run"))
    seal(SampleStore.open(root), piece=SEALED_PIECE)
    return root


@pytest.fixture(scope="session")
def merged(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, the objects of its small blocks merged as well."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("merged") / "run"))
    seal(SampleStore.open(root), piece=SEALED_PIECE, merge=True)
    return root


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of pictures from elsewhere, analysed."""
    folder, rng = tmp_path_factory.mktemp("imported"), np.random.default_rng(3)
    for condition in ("cold", "warm"):
        for prompt in range(3):
            place = folder / "pictures" / condition / f"p{prompt}"
            place.mkdir(parents=True)
            for sample in range(3):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{sample}.png")
    layout = "{condition}/{prompt}/{sample}.png"
    made = f"ibstats import {folder / 'pictures'} --layout {layout} --baseline cold --out"
    assert ask(made, folder / "run")[0] == 0
    for command in IMPORTED[-1:]:
        code, _, told = ask(command, folder / "run")
        assert code == 0, f"{command}: {told}"
    return folder / "run"
