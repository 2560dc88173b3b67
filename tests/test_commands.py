"""Every command that stands on a page is one that the programs understand; `test_docs` runs those of blocks."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from generate.cli import app as ibgenerate
from ibstats.cli import app as ibstats
from tests.pages import PAGES, commands
from tests.source import ROOT


def found() -> list[tuple[str, str]]:
    """Every command that stands outside the blocks that `test_docs` runs, with its page, once."""
    pages: dict[str, str] = {}
    for page in PAGES:
        if not page.name.startswith("cli-"):
            for command in commands(page):
                pages.setdefault(command, page.stem)
    return [(page, command) for command, page in pages.items()]


COMMANDS = found()


def walked(line: str) -> tuple[Any, list[str]]:
    """The command that a line names, and the arguments that it is given."""
    program, *given = shlex.split(line)
    command: Any = typer.main.get_command({"ibgenerate": ibgenerate, "ibstats": ibstats}[program])
    while given and given[0] in getattr(command, "commands", {}):
        command = command.commands[given.pop(0)]
    return command, given


def is_name(line: str) -> bool:
    """Whether a line only names a command, or leaves out what it works on."""
    _, given = walked(line)
    if len(given) == 1:
        return given[0].startswith("-")
    return not given or "..." in given


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda value: value)
def test_a_command_on_a_page_is_understood(
    page: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name, its options and how many arguments it takes; what it is given need not be there."""
    monkeypatch.chdir(tmp_path)
    found, given = walked(command)
    assert "--help" in given or not hasattr(found, "commands"), f"no command {given[:1]}"
    if not is_name(command):
        found.make_context(found.name, given)


def test_commands_are_found() -> None:
    names = {command.split()[1] for _, command in COMMANDS}
    assert {"report", "rescore", "power", "prompts", "encode", "ablations"} <= names
    whole = [command for _, command in COMMANDS if not is_name(command)]
    assert len(whole) > 60
    assert any(command.endswith("--model gpt-5") for command in whole), "a line that goes on"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_other_programs_on_a_page_are_asked_for_what_there_is(page: Path) -> None:
    """Targets of make, extras of pip, modules and scripts of Python."""
    text = page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for target in re.findall(r"(?:^    |`)make (\w[\w-]*)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no target {target}"
    for asked in re.findall(r"pip install '?(?:ibstats|\.)\[([\w,]+)\]", text):
        for extra in asked.split(","):
            assert extra in project["optional-dependencies"]
    for module in re.findall(r"python -m ((?:generate|tests|ibstats|benchmarks)[\w.]*)", text):
        place = ROOT.joinpath(*module.split("."))
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()
    for script in re.findall(r"python ((?:docs|studies)/\S+\.py)", text):
        assert (ROOT / script).is_file()
