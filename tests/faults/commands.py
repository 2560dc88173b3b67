"""Commands as users type them, in this process, and what of their answer is numbers."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from pathlib import Path

import generate.cli
import ibstats.cli

FEW = "--metric pixel_cosine --resamples 20"

COMMANDS = (
    "ibstats verify",
    f"ibstats diversity {FEW}",
    "ibstats entropy --resamples 20",
    f"ibstats effects {FEW}",
    "ibstats decompose --resamples 20",
    "ibstats power --difference 0.05 --metric pixel_cosine",
    f"ibstats report {FEW}",
    f"ibstats export --format csv {FEW}",
    f"ibstats export --format latex {FEW}",
    "ibstats cite",
    "ibgenerate status",
    "ibgenerate verify",
)
"""What reads a finished run of a study; the run comes last."""
ANALYSED = (
    "ibstats decompose --resamples 20",
    f"ibstats export --format csv {FEW}",
    f"ibstats report {FEW}",
)
"""What makes all that is kept under `results`."""
IMPORTED = (
    "ibstats verify",
    "ibstats describe",
    f"ibstats diversity {FEW}",
    f"ibstats report {FEW}",
)
"""What reads a run of samples from elsewhere."""
LOOKING = ("verify", "status", "describe")
"""Commands that say how a run is: their words may differ where it is damaged."""


def ask(command: str, root: Path) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command on a run."""
    program, *rest = command.split()
    main = {"ibstats": ibstats.cli.main, "ibgenerate": generate.cli.main}[program]
    said, told = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, [program, *rest, str(root)]
    try:
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(told),
            warnings.catch_warnings(),  # a line to users, an error to these tests
        ):
            warnings.simplefilter("always")
            main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before
    return code, said.getvalue(), told.getvalue()


def numbers(command: str, root: Path, said: str) -> str:
    """What a command that ended well gave: what it printed, and the rows or files it wrote."""
    name = command.split()[1]
    if name in LOOKING:
        return ""
    if name == "report":
        document = json.loads((root / "results/results.json").read_text())
        return said + json.dumps(document["rows"])
    if name == "export":
        files = sorted((root / "results/export").glob("*"))
        return "".join(f"{file.name}\n{file.read_text()}" for file in files)
    return said
