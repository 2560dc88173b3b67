"""Where time goes: every second once, kept with the run, told by both programs."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest
from typer.testing import CliRunner

import ibstats
from generate.cli import app
from generate.run.blocks import run as run_study
from generate.run.holder import Holder
from generate.run.preparing import prepare
from generate.store.samples import SampleStore
from generate.store.sealing import seal
from generate.study.planning import plan
from generate.study.study_file import load_study
from ibstats.cli import app as ibstats_app
from schemas.io.sealed import decoded, encoded
from schemas.timings import ANALYSING, SAMPLING, WAIT, Timings, keeping, stage, taken
from tests.generate.conftest import edited, write_study

EVERY = {"traverse", "draw", "bits", "encode", "decode", "write", "other"}
"""Stages that every block has; one without noise asks for none."""


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def work(clock: Clock, rng: Random, spent: dict[str, float], depth: int) -> None:
    """Stages in stages for random times; `spent` is what each had for itself."""
    name = rng.choice(["a", "b", "c"])
    with stage(name):
        for _ in range(rng.randrange(3)):
            seconds = rng.randrange(5)
            clock.now += seconds
            spent[name] = spent.get(name, 0.0) + seconds
            if depth:
                work(clock, rng, spent, depth - 1)


@pytest.mark.parametrize("seed", range(10))
def test_every_second_counts_once_and_for_the_innermost_stage(seed: int) -> None:
    clock, rng = Clock(), Random(seed)
    spent: dict[str, float] = {}
    with keeping(Timings(clock)):
        for _ in range(4):
            work(clock, rng, spent, depth=3)
        found = taken()
    assert {name: seconds for name, seconds in found.items() if seconds} == {
        name: seconds for name, seconds in spent.items() if seconds
    }


def test_what_is_between_stages_is_waiting_and_what_is_before_the_first_is_nothing() -> None:
    clock = Clock()
    clock.now = 7.0
    with keeping(Timings(clock)):
        clock.now = 8.0
        with stage("write"):
            clock.now = 10.0
            assert taken() == {"write": 2.0}
            clock.now = 11.0
        clock.now = 14.0
        with stage("encode"), keeping(None), stage("draw"):
            clock.now = 15.0
        assert taken() == {"write": 1.0, WAIT: 3.0, "encode": 1.0}


def test_a_stage_that_fails_is_closed() -> None:
    timings = Timings()
    with keeping(timings):
        with pytest.raises(ZeroDivisionError), stage("draw"):
            raise ZeroDivisionError
        time.sleep(0.01)
        with stage("write"):
            pass
    assert set(timings.take()) == {"draw", WAIT, "write"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run of toys and the seconds that its making took."""
    folder = tmp_path_factory.mktemp("timed")
    study = edited(write_study(folder), models=["toy-ar", "toy-masked", "toy-diffusion"])
    laid_out = plan(*load_study(str(study)))
    start = time.perf_counter()
    holder = Holder("cpu")
    run_study(laid_out, prepare(laid_out, folder / "run", holder=holder), holder=holder)
    return folder / "run", time.perf_counter() - start


def test_every_block_says_where_its_time_went(made: tuple[Path, float]) -> None:
    root, seconds = made
    store = SampleStore.open(root)
    records = store.ledger.read_all(store.run.blocks()).values()
    total = 0.0
    for record in records:
        assert EVERY <= set(record.seconds) <= set(SAMPLING), record.seconds
        assert all(spent >= 0.0 for spent in record.seconds.values())
        total += sum(record.seconds.values())
    assert 0.0 < total < seconds
    assert any("noise" in record.seconds for record in records)
    assert sum("calibrate" in record.seconds for record in records) == 1
    assert sum("load" in record.seconds for record in records) >= 3


def test_a_sealed_run_says_the_same_and_one_of_before_says_nothing(
    made: tuple[Path, float], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(made[0], tmp_path / "run"))
    before = ibstats.open_store(root).records
    seal(SampleStore.open(root))
    store = SampleStore.open(root)
    for name, records in ibstats.open_store(root).records.items():
        assert [record.seconds for record in records] == [record.seconds for record in before[name]]
    assert store.ledger.seal is not None
    piece = store.ledger.seal.pieces[0]
    experiment = store.run.experiments[piece.experiment]
    records = before[piece.model, piece.experiment][piece.start : piece.stop]
    silent = [record.model_copy(update={"seconds": {}}) for record in records]
    content = encoded(silent)
    table = decoded(content, piece, experiment, store.run)
    assert [table.record(row).seconds for row in range(len(silent))] == [{}] * len(silent)
    columns = dict(table.columns)
    columns.pop("seconds")
    shared = {"makers": table.makers, "layouts": table.layouts}  # as version 1.3 wrote it
    columns["shared"] = np.frombuffer(json.dumps(shared).encode(), dtype=np.uint8)
    np.savez(tmp_path / "old.npz", **columns)
    older = decoded((tmp_path / "old.npz").read_bytes(), piece, experiment, store.run)
    assert older.record(0) == table.record(0)


def test_status_and_run_print_it(made: tuple[Path, float], tmp_path: Path) -> None:
    root, _ = made
    told = CliRunner().invoke(app, ["status", str(root), "--timings"])
    assert told.exit_code == 0, told.output
    for name in EVERY:
        assert name in told.output
    study = write_study(tmp_path)
    again = ["run", str(study), "--out", str(tmp_path / "run"), "--timings"]
    told = CliRunner().invoke(app, again)
    assert told.exit_code == 0, told.output
    assert "traverse" in told.output
    assert "blocks done" in told.output


def test_a_run_that_recorded_nothing_is_said_to(made: tuple[Path, float], tmp_path: Path) -> None:
    root = Path(shutil.copytree(made[0], tmp_path / "run"))
    store = SampleStore.open(root)
    for block, record in store.ledger.read_all(store.run.blocks()).items():
        store.withdraw(block)
        store.commit(block, record.model_copy(update={"seconds": {}}))
    told = CliRunner().invoke(app, ["status", str(root), "--timings"])
    assert "no committed block recorded it" in told.output


def test_a_report_tells_of_its_own(made: tuple[Path, float], tmp_path: Path) -> None:
    root = Path(shutil.copytree(made[0], tmp_path / "run"))
    told = CliRunner().invoke(ibstats_app, ["report", str(root), "--timings"])
    assert told.exit_code == 0, told.output
    spent = json.loads((root / "results" / "timings.json").read_text())
    assert {"open", "measure", "information", "keep", "page", "figures"} <= set(spent)
    assert set(spent) <= set(ANALYSING)
    assert "figures" in told.stderr
    assert "figures  " not in told.stdout
