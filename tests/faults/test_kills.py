"""kill -9 at random moments, again and again: the finished store is byte for byte that of a run in peace.

`make soak` kills many more times, and its log says how far it is.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from generate.store.audit import summary, verify
from generate.store.samples import SampleStore
from generate.study.planning import Plan
from schemas.store import Block, BlockRecord
from tests.faults import processes
from tests.generate.conftest import edited, write_study

KILLS = int(os.environ.get("SOAK_KILLS", "4"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
PATIENCE = 120.0
SKEWS = (-86400.0, -60.0, 0.0, 60.0, 86400.0)
"""Seconds that the clock of a machine is off that of its disk."""
told = logging.getLogger("soak")


@dataclass(frozen=True)
class Peace:
    """A study, and the store that it gives when nothing happens."""

    study: Path
    plan: Plan
    store: SampleStore
    records: dict[Block, BlockRecord]
    seconds: float

    def moments(self, seed: int) -> Iterator[float]:
        """Random times within a run."""
        rng = random.Random(seed)
        while True:
            yield rng.uniform(0.0, 0.7 * self.seconds)


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> Peace:
    folder = tmp_path_factory.mktemp("peace")
    study = edited(write_study(folder), models=["toy-masked"], block_prompts=1)
    finish(processes.write, study, folder / "warm-up")
    start = time.monotonic()
    finish(processes.write, study, folder / "run")
    seconds = time.monotonic() - start
    plan, store = processes.planned(study), SampleStore.open(folder / "run")
    return Peace(study, plan, store, store.ledger.read_all(plan.blocks()), seconds)


def finish(*call: Any) -> None:
    process = processes.start(*call)
    process.join(PATIENCE)
    assert process.exitcode == 0


def kill(process: Any) -> None:
    process.kill()
    process.join()


def tell(what: str, done: int) -> None:
    told.info("%s: %d of %d, none lost, none wrong", what, done, KILLS)


def in_the_end(peace: Peace, out: Path, *writer: Any) -> None:
    """A writer until it finds all done: others may hold blocks, or the making of the run, for now."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        process = processes.start(*writer)
        process.join(PATIENCE)
        if process.exitcode == 0:
            finished(peace, out, alone=False)
            return
    pytest.fail(f"no writer had finished the run after {PATIENCE} s")


def committed(peace: Peace, out: Path, before: set[Block]) -> set[Block]:
    """Blocks of a store that was interrupted: none of those before is lost, and each is what it would be in peace."""
    if not (out / "run.json").exists():
        assert not before
        return set()
    store = SampleStore.open(out)
    assert store.template_problems() == []
    assert verify(peace.plan, store) == []
    records = store.ledger.read_all(peace.plan.blocks())
    assert before <= set(records)
    for block, record in records.items():
        assert record.objects == peace.records[block].objects
        assert record.content_sha256 == peace.records[block].content_sha256
    return set(records)


def finished(peace: Peace, out: Path, *, alone: bool = True) -> None:
    """A store is whole, and byte for byte that of a run in peace, but for the name of the run.

    A process that is not `alone` may leave the claim of another, which is stopped.
    """
    assert committed(peace, out, set()) == set(peace.plan.blocks())
    store = SampleStore.open(out)
    assert summary(peace.plan, store).digest == summary(peace.plan, peace.store).digest
    here, there = (
        s.folder.found(sorted(s.folder.sizes("data.zarr"))) for s in (store, peace.store)
    )
    differing = {key for key in here.keys() | there.keys() if here.get(key) != there.get(key)}
    assert differing == {"data.zarr/zarr.json"}
    assert not alone or store.folder.sizes("claims") == {}


def test_writers_killed_at_random_moments_lose_nothing(peace: Peace, tmp_path: Path) -> None:
    kills, stores = 0, 0
    moments = peace.moments(SEED)
    while kills < KILLS:
        out, before = tmp_path / f"run{stores}", set[Block]()
        stores += 1
        while kills < KILLS:
            process = processes.start(processes.write, peace.study, out)
            process.join(next(moments))
            if process.exitcode is not None:
                assert process.exitcode == 0
                break
            kill(process)
            kills += 1
            before = committed(peace, out, before)
            tell("one writer killed", kills)
        finish(processes.write, peace.study, out)
        finished(peace, out)


@pytest.mark.parametrize("skewed", [False, True], ids=["one machine", "machines of other clocks"])
def test_one_of_two_writers_killed_at_random_moments_loses_nothing(
    peace: Peace, tmp_path: Path, skewed: bool
) -> None:
    kills, stores = 0, 0
    moments, rng = peace.moments(SEED + 4), random.Random(SEED + 5)

    def writer(out: Path) -> tuple[Any, ...]:
        if skewed:
            return processes.write_elsewhere, peace.study, out, rng.choice(SKEWS)
        return processes.write, peace.study, out

    while kills < KILLS:
        out, before = tmp_path / f"run{stores}", set[Block]()
        stores += 1
        pair = [processes.start(*writer(out)) for _ in range(2)]
        try:
            while kills < KILLS and any(process.is_alive() for process in pair):
                pair[0].join(next(moments))
                victim = rng.randrange(2)
                if pair[victim].is_alive():
                    kill(pair[victim])
                    kills += 1
                    before = committed(peace, out, before)
                    tell("one of two writers killed, skewed" if skewed else "one of two", kills)
                    pair[victim] = processes.start(*writer(out))
        finally:
            for process in pair:
                kill(process)
        in_the_end(peace, out, *writer(out))


def test_a_writer_that_was_stopped_while_others_went_on_changes_nothing(
    peace: Peace, tmp_path: Path
) -> None:
    """A machine that slept, or whose network was away: its claim has run out when it wakes."""
    moments, rng = peace.moments(SEED + 6), random.Random(SEED + 7)
    for stops in range(1, KILLS + 1):
        out = tmp_path / f"run{stops}"
        sleeper = processes.start(processes.write_elsewhere, peace.study, out, rng.choice(SKEWS))
        try:
            sleeper.join(next(moments))
            if sleeper.is_alive():
                os.kill(sleeper.pid, signal.SIGSTOP)
            in_the_end(peace, out, processes.write_elsewhere, peace.study, out, rng.choice(SKEWS))
            if sleeper.is_alive():
                os.kill(sleeper.pid, signal.SIGCONT)
            sleeper.join(PATIENCE)
            assert sleeper.exitcode in (0, 1, 3)
        finally:
            kill(sleeper)
        finish(processes.write, peace.study, out)
        finished(peace, out)
        tell("one writer stopped and continued", stops)


def test_a_ledger_written_before_its_data_is_caught(peace: Peace, tmp_path: Path) -> None:
    """The negative control: the same kills do find the mistake that they are there to find."""
    caught = 0
    moments = peace.moments(SEED + 1)
    for attempt in range(40):
        out = tmp_path / f"run{attempt}"
        process = processes.start(processes.write_ledger_first, peace.study, out, peace.store.root)
        process.join(next(moments))
        kill(process)
        caught += (out / "run.json").exists() and verify(peace.plan, SampleStore.open(out)) != []
        if caught:
            return
    pytest.fail("40 kills of a writer that commits too early found no block without its data")


def said_of(address: Path) -> str:
    """What a client said of the cluster at an address."""
    return address.with_suffix(".error").read_text()


@pytest.mark.parametrize("victim", ["worker", "client", "scheduler"])
def test_parts_of_a_cluster_killed_at_random_moments_lose_nothing(
    peace: Peace, tmp_path: Path, victim: str
) -> None:
    kills, stores, lives = 0, 0, 0
    moments = peace.moments(SEED + 2)
    rng = random.Random(SEED + 3)
    while kills < KILLS:
        out, before = tmp_path / f"run{stores}", set[Block]()
        stores += 1
        done = False
        while not done:
            lives += 1
            address = tmp_path / f"address{lives}"
            scheduler = processes.start(processes.scheduler, address)
            processes.wait_for(address)
            workers = [processes.start(processes.worker, address) for _ in range(2)]
            client = processes.start(processes.client, address, peace.study, out)
            try:
                while scheduler.is_alive() and not done:
                    client.join(next(moments) if kills < KILLS else PATIENCE)
                    if client.exitcode is not None:
                        assert client.exitcode in (0, 3, 4)
                        if victim != "scheduler":
                            assert not address.with_suffix(".error").exists(), said_of(address)
                        done = client.exitcode == 0
                        if not done:
                            client = processes.start(processes.client, address, peace.study, out)
                    elif kills < KILLS:
                        kills += 1
                        if victim == "worker":
                            lost = rng.randrange(2)
                            kill(workers[lost])
                            workers[lost] = processes.start(processes.worker, address)
                        elif victim == "client":
                            kill(client)
                            client = processes.start(processes.client, address, peace.study, out)
                        else:
                            kill(scheduler)
                            client.join(PATIENCE)
                            assert client.exitcode == 4
                        before = committed(peace, out, before)
                        tell(f"{victim} of a cluster killed", kills)
                    else:
                        pytest.fail(f"the client had not ended after {PATIENCE} s")
            finally:
                for process in (client, *workers, scheduler):
                    kill(process)
        if before or done:
            finish(
                processes.write, peace.study, out
            )  # nothing is left to do; sweeps what zombies held
            finished(peace, out)


def test_two_runs_at_once_share_the_work(peace: Peace, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = processes.start(processes.write, peace.study, out)
    while not (out / "run.json").exists() and first.is_alive():
        time.sleep(0.001)
    second = processes.start(processes.write, peace.study, out)
    for process in (first, second):
        process.join(PATIENCE)
        assert process.exitcode in (0, 3)
    finished(peace, out)
    attempts = {
        record.attempt
        for record in SampleStore.open(out).ledger.read_all(peace.plan.blocks()).values()
    }
    assert len(attempts) == len(peace.records)


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "local cluster"])
def test_control_c_ends_in_one_line_and_loses_nothing(
    peace: Peace, tmp_path: Path, options: list[str]
) -> None:
    """As a terminal does it: the signal reaches every process of the command, workers too."""
    for attempt in range(5):
        out = tmp_path / f"run{attempt}"
        command = [
            sys.executable,
            "-m",
            "generate.cli",
            "run",
            str(peace.study),
            "--out",
            str(out),
            *options,
        ]
        process = processes.in_terminal(command)
        while process.poll() is None and not any((out / "ledger").rglob("*.json")):
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE)
        before = committed(peace, out, set())
        if process.returncode == 130:
            break
    assert process.returncode == 130
    assert 0 < len(before) < len(peace.records)
    assert "interrupted; committed blocks are kept: run the same command to go on." in told
    assert "Traceback" not in told
    finish(processes.write, peace.study, out)
    finished(peace, out)
