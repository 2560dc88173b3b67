"""What it costs that nothing is believed unchecked: each line against the same with the check switched off.

Process time, since most of what is timed is short and the machine may be shared.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import xarray as xr

from benchmarks.timing import Result, timed
from generate.run import blocks, returned
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.study.planning import plan
from ibstats.measure import table
from ibstats.statistics.uncertainty import Resampling, mean_interval
from ibstats.store import open_store

N_PROMPTS = 125
"""Prompts of one block each; a factorial has eight conditions, so these are 1000 blocks."""
TABLE = (300, 8, 10, 11)
"""A kept table of distances: prompts, conditions, images, images and the squared norm."""
NOTHING: Callable[..., None] = lambda *_: None  # noqa: E731


@contextmanager
def unchecked(*names: str) -> Iterator[None]:
    """With functions that find nothing wrong in the place of those that look."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(patch(name, NOTHING))
        stack.enter_context(patch("schemas.io.ledger.is_whole_line", lambda _: True))
        yield


def study(folder: Path, model: str, n_prompts: int, samples: int, block_prompts: int) -> Path:
    """A study of one model of the package, as a file."""
    document: dict[str, Any] = {
        "name": "checks",
        "samples": samples,
        "models": [model],
        "prompts": {"source": "trio", "n": n_prompts},
        "calibration": {"n": 4, "samples": 2},
        "block_prompts": block_prompts,
    }
    file = folder / "study.yaml"
    file.write_text(json.dumps(document))
    return file


def made(folder: Path, *of: Any) -> Any:
    """The plan and the empty store of a study."""
    from generate.study.study_file import load_study

    laid_out = plan(*load_study(str(study(folder, *of))))
    return laid_out, prepare(laid_out, folder / "run")


def opening() -> Result:
    """Open a run of 1000 blocks and its Dataset, against the same with nothing checked."""
    with tempfile.TemporaryDirectory() as name:
        laid_out, store = made(Path(name), "toy-masked", N_PROMPTS, 2, 1)
        run(laid_out, store)

        def opened() -> int:
            return int(open_store(Path(name) / "run").dataset("toy-masked").sizes["prompt"])

        def off() -> int:
            with unchecked(
                "schemas.io.checked.mismatch",
                "schemas.io.reader.mismatch",
                "ibstats.store.wrong_size",
                "ibstats.store.guard",
            ):
                return opened()

        both = timed(off, opened, 7, time.process_time)
    return Result(both.peer, both.ours, ">= 0.95", abs(both.made - both.expected))


def kept_table(statistic: str, asked: str) -> Result:
    """Read a kept table of 300 prompts for this, against the same unchecked."""
    rows = np.random.default_rng(0).random(TABLE)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "table.npy")
        with table.Unfinished(file, len(rows)) as unfinished:
            for number, row in enumerate(rows):
                unfinished.put(number, row)
            unfinished.publish()
        table.seal_table(file, {"settings": {}, "snapshot": "", "prompts": []})

        def off() -> Any:
            values = np.load(file, mmap_mode="r")[..., :-1].mean(axis=(2, 3))
            if statistic == "means":
                return values
            by_prompt = xr.DataArray(values, dims=("prompt", "condition"))
            return mean_interval(by_prompt, Resampling())["high"].values

        def checked() -> Any:
            os.utime(file)  # a file is checked once a process, as long as it does not change
            assert table.table_problem(file) is None
            return off()

        both = timed(off, checked, 10, time.process_time)
    return Result(both.peer, both.ours, asked, float(abs(both.made - both.expected).max()))


def sampling() -> Result:
    """Sample trio-mim, against the same less the time spent in looking at what it returns."""
    spent = 0.0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any) -> Any:
            nonlocal spent
            start = time.process_time()
            try:
                return function(*arguments)
            finally:
                spent += time.process_time() - start

        return measured

    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        laid_out, store = made(Path(name), "trio-mim", 4, 4, 4)
        for check in ("_check_codes", "_check_steps", "_check_bits", "_check_tensor"):
            original = getattr(returned, check)
            stack.enter_context(patch.object(returned, check, counted(original)))
        for owner, check in ((type(store), "_check"), (type(store), "problems")):
            stack.enter_context(patch.object(owner, check, counted(getattr(owner, check))))
        start = time.process_time()
        blocks.run(laid_out, store)
        whole = time.process_time() - start
    return Result(whole - spent, whole, ">= 0.99", 0.0)
