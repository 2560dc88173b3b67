"""Two sides of a comparison, timed by turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread of this process meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Result(NamedTuple):
    peer: float
    ours: float
    asked: str
    difference: float


class Timed(NamedTuple):
    peer: float
    ours: float
    expected: Any
    made: Any


def timed(
    peer: Callable[[], Any],
    ours: Callable[[], Any],
    repeats: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> Timed:
    """Shortest time and last value of each side, run by turns so that a slow spell of the machine meets both."""
    best, values = [float("inf")] * 2, [None] * 2
    for _ in range(repeats):
        for side, function in enumerate((peer, ours)):
            start = clock()
            values[side] = function()
            best[side] = min(best[side], clock() - start)
    return Timed(*best, *values)
