"""A sealed run is the run it was, whenever the sealing is killed."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ibstats
from generate.cli import app
from generate.run.blocks import run as run_study
from generate.run.preparing import prepare
from generate.store.audit import Summary, summary, verify
from generate.store.samples import SampleStore
from generate.store.sealing import seal, unseal
from generate.study.planning import Plan, recorded_plan
from schemas.errors import CorruptStore, StoreError, UserError
from schemas.io import layout
from schemas.store import Block
from tests.faults.conftest import SEALED_PIECE
from tests.faults.damages import DAMAGES
from tests.faults.sealed_runs import dies, digests, files, killed_at_random


@pytest.fixture(scope="module")
def sealed(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run, sealed."""
    root = Path(shutil.copytree(whole, tmp_path_factory.mktemp("sealed") / "run"))
    seal(SampleStore.open(root), piece=SEALED_PIECE)
    return root


@pytest.fixture
def copy(sealed: Path, tmp_path: Path) -> Path:
    """The sealed run, to be changed."""
    return Path(shutil.copytree(sealed, tmp_path / "run"))


def test_a_sealed_run_is_the_run_it_was(whole: Path, sealed: Path) -> None:
    assert digests(sealed) == digests(whole)
    open_one, sealed_one = ibstats.open_store(whole), ibstats.open_store(sealed)
    for name, records in open_one.records.items():
        assert tuple(sealed_one.records[name]) == records
    assert not list((sealed / "ledger").rglob("*.json"))
    assert len(list((sealed / layout.SEALED).rglob("*.npz"))) > 1
    model = open_one.models()[0]
    assert sealed_one.complete(model).all()
    assert sealed_one.dataset(model).load().identical(open_one.dataset(model).load())
    assert not [problem for _, problem in sealed_one.verify() if problem]


def unsealed_summary(of: Plan | list[Block], store: SampleStore) -> Summary:
    """Where a sealed run stands, but for its being sealed."""
    found = summary(of, store)
    assert found.sealed
    return replace(found, sealed=False)


def test_both_programs_say_the_same_of_it(small: Plan, whole: Path, sealed: Path) -> None:
    store = SampleStore.open(sealed)
    assert unsealed_summary(small, store) == summary(small, SampleStore.open(whole))
    blocks = list(small.blocks())[3:7]
    assert unsealed_summary(blocks, store) == summary(blocks, SampleStore.open(whole))
    assert verify(recorded_plan(store.run, store.prompts), store) == []
    told = CliRunner().invoke(app, ["status", str(sealed)])
    assert told.exit_code == 0, told.output
    assert "sealed" in told.output
    assert summary(small, store).digest in told.output.replace("\n", "")


def test_a_sealed_run_is_finished(small: Plan, copy: Path) -> None:
    before = files(copy)
    done = run_study(small, prepare(small, copy))
    assert (done.made, done.done) == (0, done.total)
    assert files(copy) == before


def test_sealing_again_changes_nothing(copy: Path) -> None:
    before = {name: (copy / name).read_bytes() for name in files(copy)}
    seal(SampleStore.open(copy), piece=SEALED_PIECE + 1)
    assert {name: (copy / name).read_bytes() for name in files(copy)} == before


def test_unsealing_gives_the_run_of_before(whole: Path, copy: Path) -> None:
    n_records = unseal(SampleStore.open(copy))
    assert files(copy) == files(whole)
    for name in files(whole):
        if name.startswith("ledger/"):
            assert (copy / name).read_bytes() == (whole / name).read_bytes()
    assert n_records == len(list((whole / "ledger").rglob("*.json")))
    assert unseal(SampleStore.open(copy)) == 0


def test_only_a_finished_run_is_sealed(whole: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(whole, tmp_path / "run"))
    next((root / "ledger").rglob("*.json")).unlink()
    with pytest.raises(
        StoreError, match=r"lacks 1 of .* blocks, and only a finished run is sealed"
    ):
        seal(SampleStore.open(root))
    assert not (root / layout.SEALED).exists()


def test_a_damaged_block_of_a_sealed_run_is_repaired_once_it_is_opened(
    small: Plan, whole: Path, copy: Path
) -> None:
    store = SampleStore.open(copy)
    record = next(iter(store.ledger.by_dataset().values()))[2]
    hurt = copy / layout.data_key(record.objects[0].key)
    hurt.write_bytes(b"nonsense")
    told = CliRunner().invoke(app, ["verify", str(copy), "--repair"])
    assert told.exit_code == 1
    assert "unseal" in str(told.exception)
    unseal(store)
    assert CliRunner().invoke(app, ["verify", str(copy), "--repair"]).exit_code == 0
    assert run_study(small, SampleStore.open(copy)).made == 1
    assert digests(copy) == digests(whole)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["seal.json", "*.npz"])
def test_what_is_sealed_is_checked(whole: Path, copy: Path, kind: str, damage: str) -> None:
    """Equal numbers, or one line: a deleted seal is told, and no block is made again."""
    hurt = sorted(copy.rglob(kind))[0]
    DAMAGES[damage](hurt, random.Random(damage))
    with pytest.raises(UserError) as error:
        every_record(copy)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError):
        unsealed(copy)
    assert digests_or_none(copy) in (None, digests(whole))


def every_record(root: Path) -> None:
    for records in ibstats.open_store(root).records.values():
        list(records)


def unsealed(root: Path) -> None:
    store = SampleStore.open(root, check=False)
    store.ledger.done(store.run.blocks())
    unseal(store)


def digests_or_none(root: Path) -> object:
    try:
        return digests(root)
    except UserError:
        return None


def test_the_seal_of_another_run_is_refused(copy: Path) -> None:
    other = copy / "seal.json"
    other.write_text(other.read_text().replace(SampleStore.open(copy).run.run_id, "a" * 32))
    with pytest.raises(CorruptStore, match="checksum"):
        ibstats.open_store(copy)


def sealing(store: SampleStore) -> None:
    seal(store, piece=SEALED_PIECE)


@pytest.mark.parametrize("work", [sealing, unseal], ids=["seal", "unseal"])
def test_a_kill_at_any_step_leaves_a_run_with_its_digest(
    work: object, whole: Path, sealed: Path, tmp_path: Path
) -> None:
    start, end = (whole, sealed) if work is sealing else (sealed, whole)
    expected, step = digests(whole), 0
    while True:
        root = Path(shutil.copytree(start, tmp_path / f"run{step}"))
        killed = dies(root, work, step)
        assert digests(root) == expected, step
        work(SampleStore.open(root))  # type: ignore[operator]
        assert digests(root) == expected, step
        assert files(root) == files(end) if work is unseal else not list(root.rglob("c0*-b*.json"))
        shutil.rmtree(root)
        if not killed:
            break
        step += 1
    n_records = len(list((whole / "ledger").rglob("*.json")))
    n_tables = len(list((sealed / layout.SEALED).rglob("*.npz")))
    assert step == n_records + n_tables + 1  # no change of the run but these and the seal


CHILD = """
import sys
from generate.store.samples import SampleStore
from generate.store.sealing import seal, unseal
store = SampleStore.open(sys.argv[1])
print("ready", flush=True)
while True:
    seal(store, piece=3)
    unseal(store)
"""


@pytest.mark.slow
def test_fifty_kills_at_random_moments_never_lose_a_record(whole: Path, tmp_path: Path) -> None:
    expected = digests(whole)
    root = Path(shutil.copytree(whole, tmp_path / "run"))
    seen = set()
    for _ in killed_at_random(CHILD, root, 50, longest=0.5, seed=21):
        seen.add((root / layout.SEAL).exists())
        assert digests(root) == expected
    seal(SampleStore.open(root), piece=SEALED_PIECE)
    assert digests(root) == expected
    assert seen == {True, False}
