"""Weight files that others publish: where torch keeps them, and that they are what their name says.

torch ends such a name with the first digits of the file's sha256: `alexnet-owt-7be5be79.pth`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ibstats.errors import MissingWeights


def cached(name: str) -> Path:
    """Where torch keeps a file of that name on this machine, whether it is there or not; loads no torch."""
    home = os.environ.get("TORCH_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch"
    )
    return Path(home).expanduser() / "hub" / "checkpoints" / name


def published(file: Path, name: str) -> Path:
    """The file, if it holds what was published as `name`; else MissingWeights."""
    digits = name.rsplit("-", 1)[-1].partition(".")[0]
    found = file_sha256(file)
    if not found.startswith(digits):
        raise MissingWeights(
            f"'{file}' is damaged or holds other weights than {name} (its sha256 begins with "
            f"{found[: len(digits)]}); fetch it again"
        )
    return file


def file_sha256(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
