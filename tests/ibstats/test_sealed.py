"""A kept analysis is whole, or made again with a line; a damaged document is never read as numbers."""

from __future__ import annotations

import logging
import os
import random
import shutil
import warnings
from pathlib import Path

import pytest
import xarray as xr
from typer.testing import CliRunner

from ibstats.cli import app
from ibstats.errors import IbstatsError
from ibstats.results.kept import obtain, obtain_tree, read_results, write_json
from ibstats.store import open_store
from schemas.analysis import Config
from tests.faults import processes
from tests.faults.damages import DAMAGES, files_of

SETTINGS = Config(parts=("diversity",), metrics=("pixel_cosine",), models=("toy-mim",)).but(
    resampling=Config().resampling.but(n_resamples=50)
)
QUICK = 6
RACES = int(os.environ.get("SOAK_RACES", "1"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
told = logging.getLogger("soak")


def analysis(run: Path) -> tuple[str, xr.DataTree]:
    store = open_store(run)
    return obtain(store, SETTINGS).model_dump_json(), obtain_tree(store, SETTINGS)


@pytest.fixture(scope="module")
def analysed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ignored = shutil.ignore_patterns("results")
    root = Path(shutil.copytree(run, tmp_path_factory.mktemp("a") / "run", ignore=ignored))
    analysis(root)
    return root


def check(analysed: Path, root: Path, file: Path, damage: str) -> None:
    """Damage one kept file of a copy: the same rows and tree, and not a word but of damage."""
    expected = analysis(analysed)
    shutil.copytree(analysed, root)
    DAMAGES[damage](root / file, random.Random(f"{file} {damage}"))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        rows, tree = analysis(root)
    assert rows == expected[0], f"{file} {damage}"
    assert tree.identical(expected[1]), f"{file} {damage}"
    assert all("is damaged" in str(one.message) for one in warned)
    shutil.rmtree(root)


def cases(root: Path) -> list[tuple[Path, str]]:
    found = []
    for file in files_of(root / "results"):
        for damage in DAMAGES:
            found.append((Path("results") / file, damage))
    return found


def test_a_damaged_kept_file_gives_the_same_numbers(analysed: Path, tmp_path: Path) -> None:
    for file, damage in random.Random(2).sample(cases(analysed), QUICK):
        check(analysed, tmp_path / "run", file, damage)


@pytest.mark.slow
def test_every_damage_of_every_kept_file_gives_the_same_numbers(
    analysed: Path, tmp_path: Path
) -> None:
    for file, damage in cases(analysed):
        check(analysed, tmp_path / "run", file, damage)


def test_a_damaged_document_is_refused(analysed: Path, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    write_json(obtain(open_store(analysed), SETTINGS), file)
    assert read_results(file).rows
    text = file.read_text()
    file.write_text(text.replace('"n_prompts": 6', '"n_prompts": 7', 1))
    with pytest.raises(IbstatsError, match=r"is damaged .its checksum differs.; `ibstats verify"):
        read_results(file)


def test_verify_names_what_is_kept_and_damaged_and_repair_drops_it(
    analysed: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(analysed, tmp_path / "run"))
    expected = analysis(root)
    for file in [*root.rglob("results/**/*.npy"), *root.rglob("results/analyses/*.zip")]:
        DAMAGES["flipped"](file, random.Random(1))
    told = CliRunner().invoke(app, ["verify", str(root)])
    assert told.exit_code == 1, told.output
    assert "tables and analyses checked, 2 with problems" in told.output
    assert CliRunner().invoke(app, ["verify", str(root), "--repair"]).exit_code == 0
    assert CliRunner().invoke(app, ["verify", str(root)]).exit_code == 0
    rows, tree = analysis(root)
    assert rows == expected[0]
    assert tree.identical(expected[1])


def test_analyses_at_once_and_killed_end_as_one_in_peace(analysed: Path, tmp_path: Path) -> None:
    """Two to four at once on a fresh run; in every third race all but the last are killed."""
    expected, rng = analysis(analysed), random.Random(SEED)
    ignored = shutil.ignore_patterns("results")
    for race in range(RACES):
        root = Path(shutil.copytree(analysed, tmp_path / f"run{race}", ignore=ignored))
        workers = [processes.start(analysis, root) for _ in range(2 + race % 3)]
        victims = workers[:-1] if race % 3 == 0 else []
        for victim in victims:
            victim.join(rng.random() * 3)
            victim.kill()
        for worker in workers:
            worker.join()
        assert [w.exitcode for w in workers if w not in victims] == [0] * (
            len(workers) - len(victims)
        )
        rows, tree = analysis(root)
        assert rows == expected[0]
        assert tree.identical(expected[1])
        told.info("race %d of %d: as in peace", race + 1, RACES)
        shutil.rmtree(root)
