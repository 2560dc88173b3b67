"""Where time goes: seconds by stage of the work, of which one is at work at a time.

Whoever owns a piece of work keeps `Timings` while it goes on, and what is called from there opens
stages without knowing who asked. On an accelerator these are seconds of the host: the stage that
waits for a result has those of the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

WAIT = "wait"
"""The time in which no stage is open, from the end of one on."""

SAMPLING = {
    "calibrate": "counting code usage",
    "load": "model into memory",
    "encode": "texts",
    "traverse": "network, its cache",
    "draw": "laws, draws, order",
    "noise": "Philox uniforms",
    "bits": "surprisals, entropies",
    "decode": "tokens into images",
    "write": "compress, write, commit",
    "other": "checks, batches",
    WAIT: "claims, others' blocks",
}
"""Stages of making a block, and what each is."""

ANALYSING = {
    "open": "records, ledger, template",
    "measure": "distances, features",
    "diversity": "pairs and probes",
    "information": "entropies of tokens",
    "quality": "scores and sets of images",
    "ledger": "bits of path and tokens",
    "shares": "pair distances of twins",
    "whole_image": "contrasts",
    "keep": "analyses, rows, tables",
    "page": "numbers and sprites",
    "figures": "drawing",
    "other": "all else",
}
"""Stages of a report, and what each is: the parts of an analysis take reading and intervals in."""


class Timings:
    """Seconds by stage since the start, or since they were last taken.

    A stage that is opened inside another stops its clock, so that no second counts twice.

    >>> seconds = iter([0.0, 1.0, 4.0, 6.0])
    >>> timings = Timings(clock=lambda: next(seconds))
    >>> with keeping(timings), stage("traverse"):
    ...     with stage("draw"):
    ...         pass
    >>> timings.take()
    {'traverse': 3.0, 'draw': 3.0}
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._settled: float | None = None

    def begin(self, name: str) -> None:
        """Open a stage inside those that are open.

        The clock of the one around it stands still until `end`.
        """
        self._settle()
        self._open.append(name)

    def end(self) -> None:
        """Close the stage that was opened last.

        Raises IndexError where none is open.
        """
        self._settle()
        self._open.pop()

    def take(self) -> dict[str, float]:
        """Give the seconds of each stage, to a tenth of a millisecond, and count from 0 again."""
        if self._open:
            self._settle()
        found = {name: round(seconds, 4) for name, seconds in self._seconds.items()}
        self._seconds.clear()
        return found

    def _settle(self) -> None:
        """Give the time since the last change to the stage that was at work."""
        now = self._clock()
        if self._settled is not None:
            name = self._open[-1] if self._open else WAIT
            self._seconds[name] = self._seconds.get(name, 0.0) + now - self._settled
        self._settled = now


_kept: ContextVar[Timings | None] = ContextVar("timings", default=None)


@contextmanager
def keeping(timings: Timings | None) -> Iterator[None]:
    """Count the stages of this thread there, or with None not at all.

    The innermost of several counts.
    """
    before = _kept.set(timings)
    try:
        yield
    finally:
        _kept.reset(before)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count the time of a block of code as that of a stage.

    Nothing is counted where nobody keeps timings.
    """
    timings = _kept.get()
    if timings is None:
        yield
        return
    timings.begin(name)
    try:
        yield
    finally:
        timings.end()


def taken() -> dict[str, float]:
    """Take the seconds of each stage from where they are counted.

    They are those of `Timings.take`, and none where nobody keeps timings.
    """
    timings = _kept.get()
    return {} if timings is None else timings.take()
