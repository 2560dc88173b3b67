"""The system itself refuses, at the n-th call of a kind and ever after: one line, and nothing is lost.

`strace` injects the errors, so what libraries do on their own is met too. Slow: `make soak` runs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from generate.store.audit import summary, verify
from generate.store.samples import SampleStore
from generate.study.planning import Plan
from tests.faults.commands import FEW, ask
from tests.generate.conftest import edited, write_study

LINK, RENAME, MKDIR, UNLINK = (
    "link,linkat",
    "rename,renameat,renameat2",
    "mkdir,mkdirat",
    "unlink,unlinkat",
)


@cache
def may_inject() -> bool:
    """Whether `strace` is here and may look at processes."""
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], check=False)
    return tried.returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not may_inject(), reason="strace is not here, or may not trace"),
]


def run_with(*command: str, inject: str = "") -> tuple[int, str]:
    """Exit status and all words of a command whose calls fail as said: `fsync:EIO:3`."""
    traced = []
    if inject:
        calls, error, when = inject.split(":")
        fault = f"inject={calls}:error={error}:when={when}+"
        traced = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", os.devnull]
        traced += ["-e", f"trace={calls}", "-e", fault]
    done = subprocess.run(
        [*traced, sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": "/tmp"},
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def refused_in_one_line(code: int, said: str) -> None:
    assert "Traceback" not in said, said
    assert "internal error" not in said, said
    assert code == 1, said
    assert sum(line.startswith("error") for line in said.splitlines()) == 1, said


@pytest.mark.parametrize(
    "inject",
    [
        *(f"fsync:{error}:{when}" for error in ("EIO", "ENOSPC", "EDQUOT") for when in (1, 9, 30)),
        *(f"{RENAME}:{error}:{when}" for error in ("EIO", "ENOSPC") for when in (1, 6)),
        *(f"{LINK}:{error}:{when}" for error in ("EIO", "ENOSPC") for when in (1, 4)),
        f"{MKDIR}:EDQUOT:3",
        f"{MKDIR}:EROFS:1",
        f"{UNLINK}:EIO:4",
    ],
)
def test_what_the_system_refuses_a_writer_costs_nothing_that_is_committed(
    small: Plan, whole: Path, tmp_path: Path, inject: str
) -> None:
    study = edited(write_study(tmp_path), models=["toy-masked"], block_prompts=5)
    command = ("generate.cli", "run", str(study), "--out", str(tmp_path / "run"))
    refused_in_one_line(*run_with(*command, inject=inject))
    if (tmp_path / "run/run.json").exists():
        assert verify(small, SampleStore.open(tmp_path / "run")) == []
    code, said = run_with(*command)
    assert code == 0, said
    store = SampleStore.open(tmp_path / "run")
    assert verify(small, store) == []
    assert summary(small, store).digest == summary(small, SampleStore.open(whole)).digest


@pytest.mark.parametrize("error", ["EPERM", "EOPNOTSUPP"])
def test_a_file_system_without_hard_links_serves(
    small: Plan, whole: Path, tmp_path: Path, error: str
) -> None:
    study = edited(write_study(tmp_path), models=["toy-masked"], block_prompts=5)
    command = ("generate.cli", "run", str(study), "--out", str(tmp_path / "run"))
    code, said = run_with(*command, inject=f"{LINK}:{error}:1")
    assert code == 0, said
    digest = summary(small, SampleStore.open(tmp_path / "run")).digest
    assert digest == summary(small, SampleStore.open(whole)).digest


@pytest.mark.parametrize(
    "inject",
    [
        "fsync:EIO:1",
        "fsync:ENOSPC:1",
        f"{RENAME}:EIO:1",
        f"{RENAME}:ENOSPC:1",
        f"{MKDIR}:EDQUOT:2",
        "fallocate:ENOSPC:1",
        "fallocate:EIO:1",
        "ftruncate:EFBIG:1",
    ],
)
def test_what_the_system_refuses_an_analysis_changes_no_number(
    whole: Path, tmp_path: Path, inject: str
) -> None:
    root = Path(shutil.copytree(whole, tmp_path / "run"))
    command = ("ibstats", "diversity", *FEW.split(), str(root))
    refused_in_one_line(*run_with(*command, inject=inject))
    after = ask(" ".join(command[:-1]), root)
    assert after[0] == 0, after[2]
    shutil.rmtree(root / "results")
    assert ask(" ".join(command[:-1]), root)[:2] == after[:2]
