"""How work tells what it does."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many samples of it are done, and of how many."""


Tell = Callable[[str], None]
"""Told a line that must be seen at once."""


def quiet(line: str) -> None:
    """A `Tell` that says nothing."""


def silent(what: str, done: int, total: int) -> None:
    """A progress that shows nothing."""
