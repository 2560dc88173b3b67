"""Every command that stands on a page is run as its reader would, and prints what the page shows of it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import reader
from tests.faults.processes import in_terminal
from tests.pages import FILE, PAGES, Part, parts, run, walked
from tests.source import ROOT

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
}
"""A machine without a network, whatever this one has."""

HOURS = r"(?:\.venv/bin/)?python -m (?:pytest|generate\.trio\.train|benchmarks|tests)\b"
"""Programs that take minutes to hours: that they know what they are asked is all that is tried."""

SHELL = re.compile(r" && .*| \| .*")


def shown_by(page: Path) -> list[Part]:
    """What a page shows; the references of commands are written from the commands."""
    return [] if page.name.startswith("cli-") else list(parts(page))


SHOWN = {page.stem: shown_by(page) for page in PAGES}
RUN_BY = sorted(
    page
    for page, shown in SHOWN.items()
    if any(part.is_ours or part.kind in ("console", "python") for part in shown)
)

SLOW = {
    "README",
    "ablations",
    "bring-your-own-metric",
    "cluster",
    "entropy-ledger",
    "faq",
    "gallery",
    "limits",
    "order",
    "page",
    "paper-tables",
    "precision",
    "quality",
    "quantizers",
    "tutorial",
    "which-number",
    "whole-image",
}
"""Pages of more than five seconds each: `python -m pytest -m slow tests/test_commands.py`."""

BY_TIME = [pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW)) for page in RUN_BY]


def is_name(line: str) -> bool:
    """Whether a line only names a command of ours: what it works on is left out."""
    command, given = walked(line)
    takes = any(one.required or one.param_type_name == "argument" for one in command.params)
    return takes and "--help" not in given and all(one.startswith("--") for one in given)


@pytest.fixture(scope="module")
def anyone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """A folder with a reader's own run, and a package of theirs, installed; made when it is first asked for."""
    with pytest.MonkeyPatch.context() as installed:

        @cache
        def made() -> Path:
            folder = tmp_path_factory.mktemp("anyone")
            installed.syspath_prepend(folder)
            with pytest.MonkeyPatch.context() as here:
                here.chdir(folder)
                reader.make_run(folder)
            return folder

        yield made


class Typing:
    """One who types what a page shows, part by part, in one folder."""

    done: set[str] = set()  # noqa: RUF012 - commands on any run are tried once for all pages

    def __init__(self, folder: Path, anyone: Callable[[], Path]) -> None:
        self.folder, self.anyone = folder, anyone
        self.names: dict[str, object] = {}
        self.printed = ""

    def follow(self, part: Part) -> None:
        """Do what a part of a page asks for."""
        if part.kind in ("yaml", "python") and (named := FILE.match(part.text)):
            (self.folder / named[1]).write_text(part.text)
        elif part.kind == "yaml" and re.search(r"^experiments:", part.text, re.MULTILINE):
            reader.write_small(self.folder, part.text)
        elif part.kind == "python":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # examples are small, and the library says so
                exec(compile(part.text, "page", "exec"), self.names)
        elif part.kind == "console":
            self.printed = "".join(run(line.removeprefix("$ ")) for line in part.text.splitlines())
        elif part.kind == "output":
            check_printed(part.text, self.printed)
        elif part.kind == "line" and (run_made := reader.MADE.get(part.text)):
            shutil.copytree(self.anyone() / "runs/mine", self.folder / run_made)
        elif part.is_ours and not is_name(part.text):
            self.call(part.text)

    def call(self, shown: str) -> None:
        """Run a command of ours that stands outside the console blocks."""
        command, _, file = SHELL.sub("", reader.typed(shown)).partition(" > ")
        folder = self.folder
        if reader.PLACEHOLDER.search(shown) and not reader.refusal(shown):
            if shown in Typing.done:
                return
            Typing.done.add(shown)
            if "runs/mine" in command:
                folder = self.anyone()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("PYTHONPATH", str(ROOT))
            self.lay_out(folder, shlex.split(command))
            if " view " in command:
                serve(command)
            elif said := reader.refusal(command):
                refuse(command, said)
            else:
                self.printed = run(command)
                if file:
                    Path(file).write_text(self.printed)

    def lay_out(self, folder: Path, words: list[str]) -> None:
        """Give the reader what the command reads and the page has not made."""
        made = words[words.index("--out") + 1] if "--out" in words else None
        for word in words[2:]:
            path = folder / word.rstrip("/")
            if word == made or path.exists():
                continue
            if word.startswith("runs/"):
                shutil.copytree(self.anyone() / "runs/mine", path)
            elif word.startswith("studies/"):
                path.parent.mkdir(exist_ok=True)
                path.write_text(reader.smaller((ROOT / word).read_text()))
            elif make := reader.THERE.get(word.rstrip("/")):
                path.parent.mkdir(exist_ok=True)
                make(path)


def module_of(command: str) -> list[str]:
    """A command of ours for a process of its own."""
    program, *given = shlex.split(command)
    return [sys.executable, "-u", "-m", {"ibgenerate": "generate"}.get(program, program), *given]


def refuse(command: str, said: str) -> None:
    """A command that needs what no test has: it ends in one line that says so."""
    environment = {**os.environ, **OFFLINE}
    environment.pop("OPENAI_API_KEY", None)
    done = subprocess.run(
        module_of(command), capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 1, f"{command} did not fail: take it from NOT_HERE"
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("error: "), done.stderr
    assert said in last
    assert "Traceback" not in done.stderr


def serve(command: str) -> None:
    """A command that goes on until Ctrl-C: it says where it serves, and ends well, without a word."""
    going = in_terminal(module_of(command), stdout=subprocess.PIPE)
    assert going.stdout is not None
    while line := going.stdout.readline():
        if "http://127.0.0.1:" in line:
            going.send_signal(signal.SIGINT)
            break
    assert line, f"{command} served nothing: {going.communicate()[1]}"
    said, warned = going.communicate(timeout=60)
    assert (going.returncode, said, warned) == (0, "", "")


def check_printed(shown: str, printed: str) -> None:
    """Every line shown was printed, in that order; white space and lines left out do not count."""
    lines = iter([" ".join(line.split()) for line in printed.splitlines()])
    for line in shown.splitlines():
        assert " ".join(line.split()) in lines, f"{line!r} is not in order in:\n{printed}"


def test_output_that_differs_is_found() -> None:
    check_printed("a  1\nc", "a 1\nb\nc\n")
    with pytest.raises(AssertionError, match="'b' is not in order"):
        check_printed("c\nb", "a\nb\nc")


@pytest.mark.parametrize("page", RUN_BY)
def test_commands_of_a_page_are_understood(page: str) -> None:
    """Their names and options, and how many arguments they take; what they are given need not be there."""
    for part in SHOWN[page]:
        if part.is_ours and not is_name(part.text):
            command, given = walked(SHELL.sub("", reader.typed(part.text)).partition(" > ")[0])
            if "--help" not in given:
                command.make_context(command.name, given)


@pytest.mark.parametrize("page", BY_TIME)
def test_what_a_page_shows_runs(
    page: str, anyone: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are written, commands and Python run, top to bottom in one folder; output is what was printed before it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    typing = Typing(tmp_path, anyone)
    for part in SHOWN[page]:
        typing.follow(part)


def test_commands_are_found() -> None:
    assert set(RUN_BY) >= SLOW
    assert {"README", "tutorial", "paper-tables", "cluster", "which-number", "order"} <= set(RUN_BY)
    ours = {part.text for shown in SHOWN.values() for part in shown if part.is_ours}
    assert len([line for line in ours if not is_name(line)]) > 60
    assert any(line.endswith("--model gpt-5") for line in ours), "a line that goes on"


@pytest.mark.parametrize("table", [reader.INSTEAD, reader.NOT_HERE], ids=["instead", "not here"])
def test_every_exception_is_of_a_command_that_stands_on_a_page(table: dict[str, str]) -> None:
    lines = [part.text for shown in SHOWN.values() for part in shown if part.is_ours]
    for kind in table:
        assert any(re.search(kind, line) for line in lines), f"{kind} stands nowhere any more"


def of_others(kind: str) -> list[str]:
    """Commands of other programs of a kind, once each."""
    found = set()
    for shown in SHOWN.values():
        for part in shown:
            if part.kind in ("line", "said") and re.match(kind, part.text):
                found.add(part.text)
    return sorted(found)


@pytest.mark.parametrize("line", of_others("make "))
def test_make_knows_its_targets(line: str) -> None:
    command = ["make", "--dry-run", *shlex.split(SHELL.sub("", line))[1:]]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("line", of_others(HOURS))
def test_programs_of_hours_know_what_they_are_asked(line: str) -> None:
    """Tests with `--collect-only`, the rest by its `--help`."""
    _, _, module, *given = shlex.split(line)
    tests = module == "pytest"
    asked = [*given, "--collect-only", "-q"] if tests else ["--help"]
    command = [sys.executable, "-m", module, *asked]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert tests or {one for one in given if one.startswith("--")} <= set(done.stdout.split())


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
