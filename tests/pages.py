"""What the pages of the documentation show, in order: blocks, and the commands that stand on them."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from generate.cli import app as ibgenerate
from ibstats.cli import app as ibstats
from tests.source import ROOT

PROGRAMS = {"ibgenerate": ibgenerate, "ibstats": ibstats}
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])

OURS = r"(?:ibstats|ibgenerate) "
OTHERS = r"(?:make|(?:\.venv/bin/)?python|pip|git|dask|rsync) "
PART = re.compile(
    r"^```(?P<kind>\w+)\n(?P<fenced>.*?)^```$"
    r"|^```.*?^```$"  # a directive of Sphinx
    rf"|^    (?P<line>(?:{OURS}|{OTHERS})(?:[^\n]*\\\n)*[^\n]*)$"
    rf"|`(?P<said>(?:{OURS}|{OTHERS})[^`]+)`",
    re.MULTILINE | re.DOTALL,
)
"""A fenced block, a line of an indented one, or what a sentence names."""

FILE = re.compile(r"# (\S+\.(?:py|yaml))\n")
"""The first line of a block that is a file."""

COMMENT = re.compile(r"\s+#.*")


@dataclass(frozen=True)
class Part:
    """Something that a page shows: a block by its kind, `line` or `said` for a command outside one."""

    kind: str
    text: str

    @property
    def is_ours(self) -> bool:
        """Whether it is a command of ours outside the fenced blocks."""
        return self.kind in ("line", "said") and re.match(OURS, self.text) is not None


def parts(page: Path) -> Iterator[Part]:
    """All that a page shows, from its top; a command is one line, as one would type it, without its comment."""
    for found in PART.finditer(page.read_text(encoding="utf-8")):
        if found["kind"]:
            yield Part(found["kind"], found["fenced"])
        for kind in ("line", "said"):
            if found[kind]:
                lines = [
                    COMMENT.sub("", line) for line in found[kind].replace("\\\n", " ").splitlines()
                ]
                yield Part(kind, " ".join(" ".join(lines).split()))


def walked(line: str) -> tuple[Any, list[str]]:
    """The command that a line names, and what it is given."""
    program, *given = shlex.split(line)
    command: Any = typer.main.get_command(PROGRAMS[program])
    while given and given[0] in getattr(command, "commands", {}):
        command = command.commands[given.pop(0)]
    assert given or not hasattr(command, "commands"), f"{line}: no such command"
    return command, given


def run(line: str) -> str:
    """Run a command of ours in this process; what it printed."""
    program, *arguments = shlex.split(line)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # examples are small, and the library says so
        done = CliRunner().invoke(PROGRAMS[program], arguments)
    assert done.exit_code == 0, f"{line}: {done.output} {done.exception}"
    return done.output
