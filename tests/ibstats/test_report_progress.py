"""A report tells of all that it does, so that a log is never silent for long."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ibstats.analysis import PARTS
from ibstats.measure import Machine
from ibstats.report import files
from ibstats.store import open_store
from schemas.analysis import Config
from schemas.progress import QUICK, Lines


@pytest.fixture
def told(run: Path, tmp_path: Path) -> list[tuple[str, int, int]]:
    """What a first report of a run tells."""
    copy = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("results"))
    settings = Config(parts=("diversity", "ledger"), metrics=("pixel_cosine",), models=("toy-mim",))
    seen = []

    def progress(what: str, done: int, total: int) -> None:
        seen.append((what, done, total))

    files.report(open_store(copy), settings, Machine(progress=progress))
    return seen


def test_every_kind_of_work_is_told_of_from_its_start_to_its_end(
    told: list[tuple[str, int, int]],
) -> None:
    n_makers = len(PARTS["diversity"]) + len(PARTS["ledger"])
    expected = [("toy-mim: statistics", done, n_makers) for done in range(n_makers + 1)]
    expected += [(files.FILES, done, 3) for done in range(4)]
    assert told == expected


def test_a_log_gets_a_line_at_least_once_a_minute_and_one_at_the_end(
    told: list[tuple[str, int, int]],
) -> None:
    """Each step takes seven minutes; a thread looks once a second what is due."""
    now = [0.0]
    said: list[float] = []
    lines = Lines(lambda _: said.append(now[0]), "steps", clock=lambda: now[0])
    for what, done, total in told:
        lines.progress(what, done, total)
        if done < total:
            for _ in range(420):
                now[0] += QUICK
                lines.look()
    gaps = [later - earlier for earlier, later in zip([0.0, *said], said, strict=False)]
    assert max(gaps) <= 62
    assert said[-1] == now[0]
