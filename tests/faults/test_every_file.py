"""Whatever happens to whichever file of a run: equal samples, or one line; never others, never a traceback."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

import ibstats
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.store.audit import summary
from generate.store.samples import SampleStore
from generate.study.planning import Plan
from schemas.errors import UserError
from tests.faults.commands import ANALYSED, COMMANDS, IMPORTED, LOOKING, ask, numbers
from tests.faults.damages import DAMAGES, files_of
from tests.pages import walked

Made = TypeVar("Made")

QUICK = 30
"""Damages of the default run, drawn at random, with which both programs read the samples."""
DAMAGED = int(os.environ.get("SOAK_DAMAGES", "8"))
"""Damages drawn at random, each met by a command drawn at random."""
SEED = int(os.environ.get("SOAK_SEED", "1"))
told = logging.getLogger("soak")


def samples(root: Path) -> str:
    """Digest of all that an analysis can read of a run, but for `complete`, which none reads."""
    content = hashlib.sha256()
    dataset = ibstats.open_store(root).dataset("toy-masked")
    for name in sorted(map(str, dataset.variables)):
        if name != "complete":
            values = dataset[name].values
            raw = (
                "\0".join(map(str, values.ravel())).encode()
                if values.dtype.kind in "OT"
                else values.tobytes()
            )
            content.update(name.encode() + raw)
    return content.hexdigest()


def one_line(made: Callable[[], Made]) -> Made | None:
    """What a function gives; None if it refuses in one line."""
    try:
        return made()
    except UserError as error:
        if "\n" in str(error):
            raise
        return None


def cases(root: Path) -> list[tuple[Path, str]]:
    """Every file and damage."""
    found = []
    for file in files_of(root):
        for damage in DAMAGES:
            found.append((file, damage))
    return found


def check(small: Plan, whole: Path, root: Path, file: Path, damage: str) -> None:
    """Both programs read a damaged copy as the whole run, or refuse it in one line."""
    shutil.copytree(whole, root)
    DAMAGES[damage](root / file, random.Random(f"{file} {damage}"))
    name = f"{file} {damage}"
    assert one_line(lambda: samples(root)) in (None, samples(whole)), name
    done = one_line(lambda: run(small, prepare(small, root)))
    if done is not None:
        expected = summary(small, SampleStore.open(whole)).digest
        assert (done.failed, done.digest) == (0, expected), name
        assert one_line(lambda: samples(root)) in (None, samples(whole)), name
    shutil.rmtree(root)


def test_a_damaged_file_gives_equal_samples_or_one_line(
    small: Plan, whole: Path, tmp_path: Path
) -> None:
    rng = random.Random(16)
    for file, damage in rng.sample(cases(whole), QUICK):
        check(small, whole, tmp_path / "run", file, damage)


@pytest.mark.slow
def test_every_damage_of_every_file_gives_equal_samples_or_one_line(
    small: Plan, whole: Path, tmp_path: Path
) -> None:
    for file, damage in cases(whole):
        check(small, whole, tmp_path / "run", file, damage)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every copy lies: what commands print names it."""
    return tmp_path_factory.mktemp("place") / "run"


class Peace:
    """What commands give on the whole run, asked once."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.known: dict[tuple[Path, str], str] = {}

    def numbers(self, run: Path, command: str) -> str:
        if (run, command) not in self.known:
            copied(run, self.place)
            code, said, _ = ask(command, self.place)
            assert code == 0
            self.known[run, command] = numbers(command, self.place, said)
        return self.known[run, command]


@pytest.fixture(scope="module")
def peace(place: Path) -> Peace:
    return Peace(place)


def copied(run: Path, place: Path) -> None:
    """A copy whose files are of now: what is cached by the time of a file must not be found."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(run, place, copy_function=shutil.copy)


def outcome(peace: Peace, run: Path, command: str, file: Path, damage: str) -> str:
    """Meet a damage by a command: equal numbers, or one line; says which."""
    expected = peace.numbers(run, command)
    copied(run, peace.place)
    case = f"{command}, {file} {damage}"
    DAMAGES[damage](peace.place / file, random.Random(case))
    code, said, error = ask(command, peace.place)
    assert "Traceback" not in error + said, f"{case}: {error}"
    assert "internal error" not in error, f"{case}: {error}"
    if code == 0:
        assert numbers(command, peace.place, said) == expected, f"{case}: other numbers"
        return "equal"
    assert code == 1, f"{case}: {code}"
    if command.split()[1] not in LOOKING:
        assert [line.startswith("error") for line in error.splitlines()].count(True) == 1, case
    return "one line"


@pytest.mark.parametrize("command", sorted({*COMMANDS, *IMPORTED, *ANALYSED}))
def test_what_meets_damages_is_a_command(command: str) -> None:
    """Few of them are drawn by the default run: an option that went away must not wait for a soak."""
    asked, given = walked(f"{command} run")
    asked.make_context(asked.name, given)


@pytest.mark.parametrize("kind", ["finished", "sealed", "merged", "imported"])
def test_a_damaged_file_gives_equal_numbers_or_one_line(
    peace: Peace, kind: str, request: pytest.FixtureRequest
) -> None:
    """Files are found by walking, and each kind of file is as likely as any other."""
    run, rng = request.getfixturevalue(kind), random.Random(SEED)
    commands = IMPORTED if kind == "imported" else COMMANDS
    by_kind: dict[str, list[Path]] = {}
    for file in files_of(run):
        by_kind.setdefault(kind_of(file), []).append(file)
    tally: Counter[str] = Counter()
    for number in range(1, DAMAGED // 2 + 1):
        file = rng.choice(by_kind[rng.choice(sorted(by_kind))])
        damage, command = rng.choice(sorted(DAMAGES)), rng.choice(commands)
        tally[outcome(peace, run, command, file, damage)] += 1
        told.info("damage %d of %d, %s run: %s", number, DAMAGED // 2, kind, dict(tally))
    assert sum(tally.values()) == DAMAGED // 2


def kind_of(file: Path) -> str:
    """What sort of file it is: its folder, without the numbers in names, and its ending."""
    folder = re.sub(r"[0-9a-f]{8,}|\d+", "N", str(file.parent))
    return f"{folder} {file.suffix}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["finished", "sealed", "merged", "imported"])
def test_every_damage_of_every_file_meets_every_command(
    peace: Peace, kind: str, request: pytest.FixtureRequest
) -> None:
    """Hours; `make soak` draws from these at random."""
    run = request.getfixturevalue(kind)
    for command in IMPORTED if kind == "imported" else COMMANDS:
        for file, damage in cases(run):
            outcome(peace, run, command, file, damage)


def test_what_is_read_in_parts_is_checked_as_a_whole(whole: Path, tmp_path: Path) -> None:
    """Two shards of equal length in each other's place: each is whole in itself."""
    root = Path(shutil.copytree(whole, tmp_path / "run"))
    shards = sorted((root / "data.zarr/toy-masked/factorial/image").glob("c.*"))
    dataset = ibstats.open_store(root).dataset("toy-masked")
    content = bytearray(shards[0].read_bytes())
    content[len(content) // 3] ^= 16
    shards[0].write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"image/c\.0.* is damaged \(altered .*verify --repair"):
        np.asarray(dataset["image"].isel(prompt=0))
