"""What the pages of the documentation show: their blocks, and the commands that stand on them."""

from __future__ import annotations

import re
import shlex
import warnings
from pathlib import Path

from typer.testing import CliRunner

from tests.source import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A fenced block: its kind, and what is in it."""

FILE = re.compile(r"# (\S+\.(?:py|yaml))\n")
"""The first line of a block that is a file."""

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^    ((?:ibstats|ibgenerate) .*(?:(?<=\\)\n.*)*)$", re.MULTILINE)
INLINE = re.compile(r"`((?:ibstats|ibgenerate) [^`]+)`")
SHELL = re.compile(r" +#.*| *(?:>|&&|\|).*")
"""What a shell would take from the end of a line: a comment, another command, a file."""


def commands(page: Path) -> list[str]:
    """Commands of ours on a page that stand in no fenced block, as one would type them."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    found = []
    for command in [*INDENTED.findall(text), *INLINE.findall(text)]:
        in_one_line = " ".join(command.replace("\\\n", " ").split())
        found.append(SHELL.sub("", in_one_line))
    return found


def run(line: str) -> str:
    """Run a command of ours in this process; what it printed."""
    from generate.cli import app as ibgenerate
    from ibstats.cli import app as ibstats

    program, *arguments = shlex.split(line)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # examples are small, and the library says so
        done = CliRunner().invoke(
            {"ibgenerate": ibgenerate, "ibstats": ibstats}[program], arguments
        )
    assert done.exit_code == 0, f"{line}: {done.output} {done.exception}"
    return done.output
