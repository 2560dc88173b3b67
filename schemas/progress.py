"""Progress of long work: which way it is shown, and the plain lines that a log gets.

On a terminal both programs show bars. Anywhere else (a queue, nohup, CI) each kind of work gets a
line after ten seconds, then ever more rarely, at least once a minute, and one when it is done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Literal, Self

FIRST, MOST = 10.0, 60.0
"""Seconds to the first line of a kind of work, and between two of them at most."""

QUICK = 1.0
"""Seconds of work below which no line is worth its place in a log."""


class Shown(StrEnum):
    """How progress is shown: `auto` is bars on a terminal and plain lines elsewhere."""

    auto = "auto"
    plain = "plain"
    none = "none"


Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


def silent(what: str, done: int, total: int) -> None:
    """A progress that shows nothing."""


HELP = "Progress on stderr: auto (bars on a terminal, else lines), plain or none."
"""What the option says in both programs."""


def way(asked: Shown, *, on_terminal: bool) -> Literal["bars", "plain", "none"]:
    """The way in which progress is shown.

    >>> way(Shown.auto, on_terminal=False)
    'plain'
    """
    if asked is Shown.auto:
        return "bars" if on_terminal else "plain"
    return "plain" if asked is Shown.plain else "none"


@dataclass
class _Work:
    """One kind of work: since when it goes on, what was there then, and when it was last told of."""

    since: float
    there: int
    done: int
    total: int
    told: float
    gap: float = FIRST


class Lines:
    """Plain lines on some kinds of work, each at its own pace, also while nothing gets done.

    Used as a context: a thread looks once a second what is due. `say` is given one line at a time,
    `unit` is what is counted, and `clock` gives seconds. Work that takes less than `quick` seconds, by
    default `QUICK`, is not told of.

    >>> seconds = iter([0.0, 4.0, 12.0, 30.0])
    >>> lines = Lines(print, "images", clock=lambda: next(seconds))
    >>> lines.progress("a-model", 10, 100)
    >>> lines.progress("a-model", 20, 100)
    >>> lines.progress("a-model", 40, 100)
    a-model: 40/100 images, 2.5 a second, 0:24 left
    >>> lines.progress("a-model", 100, 100)
    a-model: 100/100 images in 0:30
    """

    def __init__(
        self,
        say: Callable[[str], None],
        unit: str,
        clock: Callable[[], float] = time.monotonic,
        quick: float | None = None,
    ) -> None:
        self.say = say
        self.unit = unit
        self.clock = clock
        self.quick = QUICK if quick is None else quick
        self.works: dict[str, _Work] = {}
        self.lock = threading.Lock()
        self.over = threading.Event()

    def progress(self, what: str, done: int, total: int) -> None:
        """Take note of how much of some work is done, and tell of it where a line is due.

        What is done the first time was there before, and does not count in the rate.
        """
        with self.lock:
            now = self.clock()
            work = self.works.setdefault(what, _Work(now, done, done, total, now))
            was_over = work.done >= work.total
            work.done, work.total = done, total
            if done < total:
                self._tell_if_due(what, work, now)
            elif not was_over and now - work.since >= self.quick:
                self.say(f"{what}: {done}/{total} {self.unit} in {_time(now - work.since)}")

    def look(self) -> None:
        """Tell of all work for which a line is due.

        The thread of the context calls it once a second.
        """
        with self.lock:
            now = self.clock()
            for what, work in self.works.items():
                if work.done < work.total:
                    self._tell_if_due(what, work, now)

    def _tell_if_due(self, what: str, work: _Work, now: float) -> None:
        if now - work.told < work.gap:
            return
        said = f"{what}: {work.done}/{work.total} {self.unit}"
        rate = (work.done - work.there) / (now - work.since)
        if rate > 0:
            left = (work.total - work.done) / rate
            said += f", {rate:.3g} a second, {_time(left)} left"
        else:
            said += f", none yet after {_time(now - work.since)}"
        self.say(said)
        work.told, work.gap = now, min(2 * work.gap, MOST)

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()

    def _watch(self) -> None:
        while not self.over.wait(1.0):
            self.look()


def _time(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> _time(59.7), _time(3725)
    ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}"
