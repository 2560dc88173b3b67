"""What can happen to a file: the ways in which disks, copies and people damage one."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

PAGE = 4096


def _deleted(path: Path, rng: random.Random) -> None:
    path.unlink()


def _emptied(path: Path, rng: random.Random) -> None:
    path.write_bytes(b"")


def _truncated(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) or 1)])


def _flipped(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def _zeroed(path: Path, rng: random.Random) -> None:
    """A page of zeros, or half of what is smaller than two pages."""
    content = bytearray(path.read_bytes())
    size = min(PAGE, (len(content) + 1) // 2)
    start = rng.randrange(max(1, len(content) - size))
    content[start : start + size] = bytes(len(content[start : start + size]))
    path.write_bytes(bytes(content))


def _swapped(path: Path, rng: random.Random) -> None:
    """The content of the next file of the folder, which gets that of this one."""
    names = sorted(other for other in path.parent.iterdir() if other.is_file())
    other = names[(names.index(path) + 1) % len(names)]
    ours, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(ours)


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "deleted": _deleted,
    "emptied": _emptied,
    "truncated": _truncated,
    "flipped": _flipped,
    "zeroed": _zeroed,
    "swapped": _swapped,
}
"""By name, what damages a file in place."""


def files_of(root: Path) -> list[Path]:
    """Every file below a folder, relative to it, in the order of their names."""
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
