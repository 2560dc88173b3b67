"""Prompt records, and a language model whose answers a test writes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generate import cli
from generate.prompts.files import write_prompts
from schemas.study import Prompt

Command = Callable[..., tuple[int, str, str]]

N_WORDS = {"short": 6, "medium": 14, "long": 30}
PADDING = ["quiet", "calm", "mild", "soft", "plain", "still"]


def wordings(subject: str, length: str, n: int) -> list[str]:
    """`n` different texts of a length class."""
    fillers = itertools.islice(itertools.product(PADDING, repeat=3), n)
    return [
        " ".join([subject, *filler, *["scene"] * (N_WORDS[length] - 3 - len(subject.split()))])
        for filler in fillers
    ]


def complete(name: str, subject: str, n: int = 5) -> Prompt:
    """A prompt without a problem."""
    paraphrases = {length: wordings(f"{subject} {length}", length, n) for length in N_WORDS}
    return Prompt.model_validate({"id": name, "text": f"the {subject}", "paraphrases": paraphrases})


@pytest.fixture
def prompts() -> list[Prompt]:
    return [complete("fox", "fox"), complete("harbour", "harbour")]


@pytest.fixture
def prompt_file(prompts: list[Prompt], tmp_path: Path) -> Path:
    write_prompts(prompts, tmp_path / "set.jsonl")
    return tmp_path / "set.jsonl"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `ibgenerate prompts ...`: exit status, stdout, stderr."""

    def call(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ibgenerate", "prompts", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        printed = capsys.readouterr()
        return int(exit_.value.code or 0), printed.out, printed.err

    return call
