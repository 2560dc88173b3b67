"""Weight files that others publish: where torch keeps them, and that they are what their name says.

torch ends such a name with the first digits of the file's sha256: `alexnet-owt-7be5be79.pth`.
"""

from __future__ import annotations

import os
from pathlib import Path

from ibstats.errors import MissingWeights
from schemas.io.files import file_sha256


def cached(name: str) -> Path:
    """Give the place where torch keeps a file of that name on this machine, whether it is there or
    not.

    Follows TORCH_HOME and XDG_CACHE_HOME as torch does, and loads no torch.

    >>> cached("alexnet-owt-7be5be79.pth").parts[-3:]
    ('hub', 'checkpoints', 'alexnet-owt-7be5be79.pth')
    """
    home = os.environ.get("TORCH_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    return Path(home).expanduser() / "hub" / "checkpoints" / name


def from_home(path: Path) -> str:
    """A path as people write it, `~` for the home folder: what is said of it may be published.

    >>> from_home(Path.home() / ".cache" / "torch"), from_home(Path("/weights"))
    ('~/.cache/torch', '/weights')
    """
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def published(file: Path, name: str) -> Path:
    """Give the file back, if it holds what was published as `name`, whose end tells its sha256.

    Raises MissingWeights if it does not.
    """
    digits = name.rsplit("-", 1)[-1].partition(".")[0]
    found = file_sha256(file)
    if not found.startswith(digits):
        raise MissingWeights(
            f"'{file}' is damaged or holds other weights than {name} (its sha256 begins with "
            f"{found[: len(digits)]}); fetch it again"
        )
    return file
