"""What can go from a run's results, what stays, and that an analysis is one file of equal bytes."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ibstats.cli import app
from ibstats.results import cleaning, one_file
from ibstats.results.kept import obtain, obtain_tree, write_json
from ibstats.store import Store, open_store
from schemas.analysis import Config

SETTINGS = Config(parts=("diversity",), metrics=("pixel_cosine",), models=("toy-mim",)).but(
    resampling=Config().resampling.but(n_resamples=50)
)
OTHER = SETTINGS.but(resampling=SETTINGS.resampling.but(seed=1))


@pytest.fixture
def store(run: Path, tmp_path: Path) -> Store:
    ignored = shutil.ignore_patterns("results")
    return open_store(shutil.copytree(run, tmp_path / "run", ignore=ignored))


def files(store: Store) -> list[Path]:
    return sorted(store.results.analyses.iterdir())


def test_an_analysis_is_one_file_whose_bytes_follow_from_it(store: Store) -> None:
    document, tree = obtain(store, SETTINGS), obtain_tree(store, SETTINGS)
    (file,) = files(store)
    before = file.read_bytes()
    assert one_file.read_document(file) == document
    assert one_file.read_tree(file).identical(tree)
    file.unlink()
    obtain(store, SETTINGS)
    assert file.read_bytes() == before
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None


def test_clean_keeps_what_the_report_rests_on_and_what_is_dear(store: Store) -> None:
    document = obtain(store, SETTINGS)
    write_json(document, store.results.document)
    obtain(store, OTHER)
    old = store.results.analyses / "0123456789abcdef.zarr"
    (old / "toy-mim").mkdir(parents=True)
    (old / "toy-mim/zarr.json").write_text("{}")
    kept = store.results.analysis(document.analysis_sha256)
    command = ["clean", str(store.path)]
    said = CliRunner().invoke(app, [*command, "--dry-run"])
    assert "2 files and folders would go" in said.output
    assert str(old) in said.output
    assert len(files(store)) == 3
    said = CliRunner().invoke(app, command)
    assert "2 files and folders removed" in said.output
    assert files(store) == [kept]
    assert list(store.results.root.rglob("*.npy"))
    assert "0 files and folders removed, 0.0 MB" in CliRunner().invoke(app, command).output


def test_clean_takes_the_leavings_of_kills_but_not_what_is_being_written(store: Store) -> None:
    obtain(store, SETTINGS)
    fresh, stale = (store.results.analyses / f".{name}.zip" for name in ("fresh", "stale"))
    partly = store.results.root / "distances" / ".table.npy"
    for file in (fresh, stale, partly):
        file.write_bytes(b"")
    hours_ago = time.time() - 3 * cleaning.PATIENCE
    for file in (stale, partly):
        os.utime(file, (hours_ago, hours_ago))
    found = cleaning.unneeded(store)
    assert stale in found
    assert not {fresh, partly} & set(found)


def test_clean_all_removes_everything_that_was_computed_and_nothing_that_was_sampled(
    store: Store,
) -> None:
    before = obtain(store, SETTINGS)
    said = CliRunner().invoke(app, ["clean", str(store.path), "--all"])
    assert said.exit_code == 0
    assert not store.results.root.exists()
    assert CliRunner().invoke(app, ["verify", str(store.path)]).exit_code == 0
    assert obtain(store, SETTINGS) == before
