"""How work tells what it does."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many samples of it are done, and of how many."""


def silent(what: str, done: int, total: int) -> None:
    """A progress that shows nothing."""
