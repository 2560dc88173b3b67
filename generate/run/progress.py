"""How work tells what it does."""

from __future__ import annotations

from collections.abc import Callable

from schemas.progress import Progress, silent

__all__ = ["Progress", "Tell", "quiet", "silent"]

Tell = Callable[[str], None]
"""Told a line that must be seen at once."""


def quiet(line: str) -> None:
    """A `Tell` that says nothing."""
