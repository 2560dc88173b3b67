"""Plain lines in a log: when each is due, also while nothing gets done, and none where none is asked for."""

from __future__ import annotations

from itertools import pairwise

from schemas.progress import MOST, Lines, Shown, way


class Clock:
    """Seconds that go on when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def followed(n_seconds: int, per_second: float = 0.0) -> list[tuple[float, str]]:
    """Lines of one work of 1000, each with the second it was said at."""
    clock = Clock()
    said: list[tuple[float, str]] = []
    lines = Lines(lambda line: said.append((clock.now, line)), "images", clock)
    lines.progress("model", 0, 1000)
    for second in range(1, n_seconds + 1):
        clock.now = float(second)
        if per_second:
            lines.progress("model", int(second * per_second), 1000)
        lines.look()
    return said


def test_a_line_comes_within_a_minute_although_nothing_gets_done() -> None:
    said = followed(200)
    assert said[0] == (10.0, "model: 0/1000 images, none yet after 0:10")
    times = [0.0, *(second for second, _ in said)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) <= MOST
    assert len(said) <= 6


def test_a_line_says_how_much_how_fast_and_how_long() -> None:
    assert followed(10, 2.0) == [(10.0, "model: 20/1000 images, 2 a second, 8:10 left")]


def test_what_is_done_is_said_once_and_quick_work_not_at_all() -> None:
    clock = Clock()
    said: list[str] = []
    lines = Lines(said.append, "images", clock)
    lines.progress("quick", 0, 2)
    lines.progress("quick", 2, 2)
    lines.progress("slow", 0, 2)
    clock.now = 61.0
    lines.progress("slow", 2, 2)
    lines.progress("slow", 2, 2)
    lines.look()
    assert said == ["slow: 2/2 images in 1:01"]


def test_work_that_was_there_before_does_not_count_in_the_rate() -> None:
    clock = Clock()
    said: list[str] = []
    lines = Lines(said.append, "images", clock)
    lines.progress("model", 500, 1000)
    clock.now = 10.0
    lines.progress("model", 510, 1000)
    assert said == ["model: 510/1000 images, 1 a second, 8:10 left"]


def test_bars_are_for_terminals_alone() -> None:
    assert way(Shown.auto, on_terminal=True) == "bars"
    assert way(Shown.auto, on_terminal=False) == "plain"
    assert way(Shown.plain, on_terminal=True) == "plain"
    assert way(Shown.none, on_terminal=True) == "none"
