"""A kept table is whole, or measured again with a line; processes that measure at once do not disturb each other."""

from __future__ import annotations

import json
import random
import shutil
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import ibstats
from ibstats.measure import are_kept, distances, kept
from ibstats.measure.each import here
from ibstats.measure.pixel import PixelCosine
from ibstats.measure.table import table_problem
from ibstats.selection import select
from tests.faults import processes
from tests.faults.damages import DAMAGES, files_of

DIMS = ("prompt", "condition", "sample", "y", "x", "channel")


def made(run: Path) -> xr.Dataset:
    """Copied, as a table is mapped into memory."""
    found = distances(select(ibstats.open_store(run), "toy-mim", "factorial"), PixelCosine())
    return found.copy(data={name: np.array(values) for name, values in found.items()})


def tables(run: Path) -> list[Path]:
    return [run / "results" / file for file in files_of(run / "results")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_or_record_is_measured_again(run_copy: Path, damage: str) -> None:
    rng = random.Random(damage)
    first = made(run_copy)
    distances(select(ibstats.open_store(run_copy), "toy-ar", "factorial"), PixelCosine())
    for file in tables(run_copy):
        DAMAGES[damage](file, rng)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            xr.testing.assert_identical(made(run_copy), first)
            distances(select(ibstats.open_store(run_copy), "toy-ar", "factorial"), PixelCosine())
        for one in told:
            assert "is damaged" in str(one.message)
            assert str(one.message).endswith("measured again")
    for file in (run_copy / "results").rglob("*.npy"):
        assert table_problem(file) is None


def test_a_table_in_the_place_of_another_is_not_taken(run_copy: Path) -> None:
    """Both are whole, and neither is the other."""
    first = made(run_copy)
    other = select(ibstats.open_store(run_copy), "toy-ar", "factorial")
    distances(other, PixelCosine())
    ours, theirs = sorted((run_copy / "results").rglob("*.npy"), reverse=True)
    shutil.copy(theirs, ours)
    shutil.copy(theirs.with_suffix(".json"), ours.with_suffix(".json"))
    with pytest.warns(UserWarning, match="its record is damaged"):
        xr.testing.assert_identical(made(run_copy), first)


def test_a_table_of_before_is_taken_once_if_every_row_was_measured(run_copy: Path) -> None:
    first = made(run_copy)
    (file,) = (run_copy / "results").rglob("*.npy")
    record = json.loads(file.with_suffix(".json").read_text())
    del record["table"], record["sha256"]
    file.with_suffix(".json").write_text(json.dumps(record))
    xr.testing.assert_identical(made(run_copy), first)
    assert "crc32c" in json.loads(file.with_suffix(".json").read_text())["table"]
    file.with_suffix(".json").unlink()
    table = np.load(file)
    table[2] = np.nan
    np.save(file, table)
    selection = select(ibstats.open_store(run_copy), "toy-mim", "factorial")
    with pytest.warns(UserWarning, match="some rows were not measured"):
        assert not are_kept(selection, PixelCosine())
    with pytest.warns(UserWarning, match="some rows were not measured"):
        xr.testing.assert_identical(made(run_copy), first)


def images(n_prompts: int) -> xr.DataArray:
    pixels = np.random.default_rng(0).integers(0, 255, (n_prompts, 2, 2, 2, 2, 3), dtype=np.uint8)
    return xr.DataArray(pixels, dims=DIMS)


def slow_sums(of: xr.DataArray, prompt: int) -> np.ndarray:
    time.sleep(0.01)
    one = of.isel(prompt=prompt)
    return one.sum(["sample", "y", "x", "channel"]).values.astype(np.float32)


def measure(file: Path) -> None:
    kept.fill(file, 30, partial(slow_sums, images(30)), "sums", here)


def test_processes_that_measure_at_once_and_are_killed_end_in_one_whole_table(
    tmp_path: Path,
) -> None:
    rng = random.Random(3)
    expected = images(30).sum(["sample", "y", "x", "channel"]).values
    file = tmp_path / "t.npy"
    for _ in range(3):
        workers = [processes.start(measure, file) for _ in range(3)]
        time.sleep(0.3 + rng.random())
        workers[0].kill()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers[1:]] == [0, 0]
        np.testing.assert_array_equal(np.load(file), expected)
        assert list(tmp_path.glob("*.npy")) == [file]
        file.unlink()


def test_a_damaged_row_of_an_unfinished_table_is_measured_again(tmp_path: Path) -> None:
    asked: list[int] = []

    def stopping(prompt: int) -> np.ndarray:
        asked.append(1)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return slow_sums(images(5), prompt)

    file = tmp_path / "t.npy"
    with pytest.raises(KeyboardInterrupt):
        kept.fill(file, 5, stopping, "sums", here)
    (left,) = tmp_path.glob(".t.*.npy")
    content = bytearray(left.read_bytes())
    content[-1 - 4 * 8] ^= 1  # in the first of the rows from the end that was measured
    left.write_bytes(bytes(content))
    kept.fill(file, 5, stopping, "sums", here)
    np.testing.assert_array_equal(
        np.load(file), images(5).sum(["sample", "y", "x", "channel"]).values
    )
    assert len(asked) in (6, 7)
