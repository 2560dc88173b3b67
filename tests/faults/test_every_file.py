"""Whatever happens to whichever file of a run: equal samples, or one line; never others, never a traceback."""

from __future__ import annotations

import hashlib
import random
import shutil
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
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study
from schemas.errors import UserError
from tests.faults.damages import DAMAGES, files_of
from tests.generate.conftest import edited, write_study

Made = TypeVar("Made")

QUICK = 40
"""Damages of the default run, drawn at random."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    study = edited(
        write_study(tmp_path_factory.mktemp("study")), models=["toy-masked"], block_prompts=5
    )
    return plan(*load_study(str(study)))


@pytest.fixture(scope="module")
def whole(small: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "run"
    run(small, prepare(small, root))
    return root


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
