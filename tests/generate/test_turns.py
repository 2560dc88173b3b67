"""Several processes make one run: which blocks each makes, and what it costs them to meet."""

from __future__ import annotations

import heapq
import random
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from generate.cli import app
from generate.errors import GenerateError
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.run.turns import Shard, Turns, shard
from generate.store.audit import summary
from generate.store.samples import SampleStore
from generate.study.planning import Plan
from schemas.store import Block
from tests.faults import processes

TASKS = 64


@given(st.integers(1, 40), st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_every_block_is_in_one_shard_and_shards_are_alike(of: int, counts: list[int]) -> None:
    blocks = []
    for model, many in enumerate(counts):
        blocks += [Block(f"m{model}", "f", 0, n, n, n + 1) for n in range(many)]
    shards = [Shard(number, of).among(blocks) for number in range(of)]
    assert Counter(block for each in shards for block in each) == Counter(blocks)
    for model, many in enumerate(counts):
        sizes = {sum(block.model == f"m{model}" for block in each) for each in shards}
        assert sizes <= {many // of, many // of + 1}


SLURM = {
    "SLURM_ARRAY_TASK_ID": "12",
    "SLURM_ARRAY_TASK_MIN": "4",
    "SLURM_ARRAY_TASK_MAX": "20",
    "SLURM_ARRAY_TASK_STEP": "4",
}
GRID_ENGINE = {
    "SGE_TASK_ID": "3",
    "SGE_TASK_FIRST": "1",
    "SGE_TASK_LAST": "3",
    "SGE_TASK_STEPSIZE": "1",
}


@pytest.mark.parametrize(
    ("asked", "environment", "found"),
    [
        ("1/1", {}, Shard(0, 1)),
        ("64/64", SLURM, Shard(63, 64)),
        ("array", SLURM, Shard(2, 5)),
        ("array", GRID_ENGINE, Shard(2, 3)),
        ("array", {"SGE_TASK_ID": "undefined"} | SLURM, Shard(2, 5)),
    ],
)
def test_a_shard_is_given_or_told_by_the_queue(
    asked: str, environment: dict[str, str], found: Shard
) -> None:
    assert shard(asked, environment) == found


@pytest.mark.parametrize("asked", ["0/4", "5/4", "4", "a/b", "-1/4", "1/4/2", "", "array"])
def test_no_shard_is_refused_in_one_line(asked: str) -> None:
    with pytest.raises(GenerateError, match=r"^--shard .*(i/n|1 to )") as refused:
        shard(asked, {})
    assert "\n" not in str(refused.value)


def make_shards(study: Path, out: Path, shards: Iterable[Shard]) -> None:
    laid_out = processes.planned(study)
    for each in shards:
        run(laid_out, prepare(laid_out, out), shard=each)


def test_eight_shards_two_at_a_time_make_the_run_that_one_process_makes(
    study_file: Path, finished_run: Path, tmp_path: Path
) -> None:
    laid_out = processes.planned(study_file)
    prepare(laid_out, tmp_path / "run")
    shards = [Shard(number, 8) for number in range(8)]
    halves = [
        processes.start(make_shards, study_file, tmp_path / "run", half)
        for half in (shards[::2], shards[1::2])
    ]
    for half in halves:
        half.join()
        assert half.exitcode == 0
    done = summary(laid_out, SampleStore.open(tmp_path / "run"))
    assert done.done == done.total
    assert done.digest == summary(laid_out, SampleStore.open(finished_run)).digest


class Killed(BaseException):
    """What no handler of errors takes."""


def test_many_tasks_some_of_them_killed_make_the_same_run(
    toy_plan: Plan, finished_run: Path, tmp_path: Path
) -> None:
    store, rng, killed = prepare(toy_plan, tmp_path / "run"), random.Random(5), 0

    def mortal(_label: str, done: int, _total: int) -> None:
        if done and rng.random() < 0.3:
            raise Killed

    for number in rng.sample(range(TASKS), TASKS):
        whole = False
        while not whole:
            try:
                done = run(toy_plan, store, shard=Shard(number, TASKS), progress=mortal)
                whole = done.done == done.total
            except Killed:
                killed += 1
    assert killed
    done = summary(toy_plan, store)
    assert (done.done, done.failed) == (done.total, 0)
    assert done.digest == summary(toy_plan, SampleStore.open(finished_run)).digest


def walking(tasks: int, blocks_each: int, turns: bool) -> float:
    """Share of the time that tasks of one run spend on blocks of others, by a clock of its own.

    A block takes about 20 s, a look at one that another makes or made 13 ms, a listing 22 us a
    block, as measured.
    """
    rng, clock, made, at_work = random.Random(1), [0.0], set[Block](), set[Block]()
    blocks = [Block("m", "f", 0, n, n, n + 1) for n in range(tasks * blocks_each)]
    walked, worked = 0.0, 0.0

    def listed(asked: Iterable[Block]) -> set[Block]:
        clock[0] += 22e-6 * len(made)
        return {block for block in asked if block in made}

    each = [Turns(list(blocks), listed, random.Random(n), lambda: clock[0]) for n in range(tasks)]
    waiting: list[tuple[float, int, Block | None]] = [(rng.random(), n, None) for n in range(tasks)]
    while waiting:
        moment, task, own = heapq.heappop(waiting)
        clock[0] = moment
        if own is not None:
            made.add(own)
            at_work.discard(own)
        block = each[task].take()
        if block is None:
            continue
        if block in made or block in at_work:
            clock[0] += 0.013
            if turns:
                each[task].go_elsewhere()
            walked += clock[0] - moment
            heapq.heappush(waiting, (clock[0], task, None))
        else:
            at_work.add(block)
            took = rng.uniform(15, 25)
            worked += took
            heapq.heappush(waiting, (moment + took, task, block))
    assert made == set(blocks)
    return walked / (walked + worked)


def test_256_tasks_without_a_shard_spend_under_two_hundredths_on_blocks_of_others() -> None:
    assert walking(256, 20, turns=True) < 0.02
    assert walking(64, 10, turns=False) > 0.02


def test_a_script_for_sbatch_is_a_shell_script_that_asks_for_shards(study_file: Path) -> None:
    asked = ["run", str(study_file), "--out", "runs/a b", "--array", "64", "--device", "cuda"]
    printed = CliRunner().invoke(app, asked)
    assert printed.exit_code == 0
    assert (
        subprocess.run(["bash", "-n"], input=printed.output, text=True, check=False).returncode == 0
    )
    assert "#SBATCH --array=1-64\n" in printed.output
    assert "--out 'runs/a b' --shard array --device cuda" in printed.output
    assert not Path("runs/a b").exists()


def test_a_shard_says_what_it_made_and_goes_with_no_cluster(
    study_file: Path, tmp_path: Path
) -> None:
    asked = ["run", str(study_file), "--out", str(tmp_path / "run"), "--shard", "2/4"]
    printed = CliRunner().invoke(app, asked)
    assert printed.exit_code == 0, printed.output
    assert "12 of 12 blocks done, 12 of them now, of shard 2/4 alone" in printed.output
    refused = CliRunner().invoke(app, [*asked, "--workers", "2"])
    assert refused.exit_code == 1
    assert "leave --cluster and --workers out" in str(refused.exception)
