"""100,000 token grids are analysed within a minute of computing and a gigabyte."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import ibstats

N_CODES = 1024


@pytest.mark.slow
def test_entropies_of_a_hundred_thousand_grids_take_a_minute_and_a_gigabyte(tmp_path: Path) -> None:
    """Two conditions of 500 prompts with 100 grids of 8 x 8 each, codes of unequal frequency."""
    spread = np.random.default_rng(0).random((2, 500, 100, 8, 8), dtype=np.float32) ** 3
    run = ibstats.from_arrays(
        tmp_path / "run",
        tokens=(spread * N_CODES).astype(np.uint16),
        codebook_size=N_CODES,
        prompts=[f"prompt {number}" for number in range(500)],
        conditions=["a", "b"],
        baseline="a",
    )
    command = [sys.executable, "-m", "ibstats", "entropy", str(run)]
    process = os.posix_spawn(sys.executable, command, os.environ)
    _, status, used = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert used.ru_utime + used.ru_stime < 60  # seconds of the processor
    assert used.ru_maxrss < 1e6  # kB
