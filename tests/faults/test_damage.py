"""Whatever is damaged in a store is found, and repair makes exactly the damaged blocks again."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import subprocess
import uuid
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

import ibstats
from generate import cli
from generate.errors import DiskFullError, GenerateError, StoreError
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.store.audit import summary, verify
from generate.store.claims import key
from generate.store.samples import SampleStore
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study
from schemas.store import Block
from tests.generate.conftest import edited, write_study

FLIPS = int(os.environ.get("SOAK_KILLS", "2"))


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def flip(path: Path, rng: random.Random) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def kinds(root: Path) -> dict[str, list[Path]]:
    """Files of a store by what they are: each array's objects, each kind of metadata, records, the run."""
    found = defaultdict(list)
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        part, *rest = path.relative_to(root).parts
        if part == "data.zarr":
            found[
                f"{rest[2]} {'metadata' if path.name == 'zarr.json' else 'data'}"
                if rest[2:]
                else "group"
            ].append(path)
        elif part in ("ledger", "run.json"):
            found[part].append(path)
    return found


def found_by(check: Callable[[], object]) -> bool:
    """Whether a check complains, in one of our ways."""
    try:
        return bool(check())
    except (GenerateError, ibstats.IbstatsError) as error:
        return "\n" not in str(error)


def test_every_flipped_bit_of_every_kind_of_object_is_found_by_both_programs(
    small: Plan, root: Path
) -> None:
    """Of `complete`, which is a copy of the ledger, only what it is read as matters; it is left out."""
    rng = random.Random(4)
    by_kind = kinds(root)
    assert {
        "run.json",
        "ledger",
        "tokens data",
        "image data",
        "text data",
        "tokens metadata",
    } <= set(by_kind)
    flips = 0
    for kind, files in by_kind.items():
        if kind == "complete data":
            continue
        for _ in range(FLIPS):
            path = rng.choice(files)
            original = path.read_bytes()
            flip(path, rng)
            where = f"{kind}: {path.name}"

            def of_generate() -> list[str]:
                store = SampleStore.open(root)
                return store.template_problems() + verify(small, store)

            assert found_by(of_generate), f"ibgenerate: {where}"
            assert found_by(lambda: [p for _, p in ibstats.open_store(root).verify() if p]), (
                f"ibstats: {where}"
            )
            path.write_bytes(original)
            flips += 1
    assert flips == FLIPS * (len(by_kind) - 1)
    store = SampleStore.open(root)
    assert store.template_problems() + verify(small, store) == []


def test_repair_makes_exactly_the_damaged_blocks_again(small: Plan, root: Path) -> None:
    store, rng = SampleStore.open(root), random.Random(5)
    digest, before = summary(small, store).digest, store.ledger.read_all(small.blocks())
    bad = set(rng.sample(list(small.blocks()), 3))
    for block in bad:
        (name,) = store.object_keys(block, rng.choice(["tokens", "image", "token_step"]))
        flip(root / "data.zarr" / name, rng)
    record = next(block for block in small.blocks() if block not in bad)
    flip(root / key("ledger", record), rng)
    bad.add(record)
    assert len(verify(small, store, repair=True)) == 4
    again = run(small, store)
    assert (again.made, again.digest) == (4, digest)
    after = store.ledger.read_all(small.blocks())
    assert {block for block in before if before[block].attempt != after[block].attempt} == bad
    assert verify(small, store) == []


OF_A_DATASET = "data.zarr/toy-masked/factorial"
LEFT = [
    "ledger/.c0004.json.{}",
    OF_A_DATASET + "/complete/c.4.{}.partial",
    OF_A_DATASET + "/tokens/c.4.5.0.0.{}.partial",
]
"""Ours, and by Zarr one of a mark and one of tokens."""


@pytest.mark.parametrize("name", LEFT)
def test_a_file_that_a_kill_left_half_written_is_nothing_and_goes_when_it_is_old(
    small: Plan, root: Path, name: str
) -> None:
    """Neither an object's name nor its block tell: Zarr leaves out the last part of the name."""
    store = SampleStore.open(root)
    before = store.folder.sizes("data.zarr"), summary(small, store).digest
    left = root / name.format(uuid.uuid4().hex)
    left.write_bytes(b"half")
    assert (store.folder.sizes("data.zarr"), summary(small, store).digest) == before
    assert verify(small, store) == []
    assert run(small, store).made == 0
    assert left.exists()  # somebody may be writing it
    os.utime(left, (0, 0))
    run(small, store)
    assert not left.exists()


def test_what_no_block_holds_cannot_be_repaired_and_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "data.zarr/toy-masked/factorial/text/zarr.json").write_text("{")
    monkeypatch.setattr("sys.argv", ["ibgenerate", "verify", str(root), "--repair"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    printed = capsys.readouterr()
    assert exit_.value.code == 1
    assert "toy-masked/factorial/text/zarr.json: 1 bytes instead of" in printed.out
    assert "1 objects are damaged that no block holds" in printed.err


def change(root: Path, **changes: object) -> None:
    document = json.loads((root / "run.json").read_text())
    (root / "run.json").write_text(json.dumps(document | changes))


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (
            lambda root: (root / "run.json").write_text('{"run_id"'),
            r"run\.json. is not valid JSON .*; restore it",
        ),
        (lambda root: (root / "run.json").write_text("[]"), "has schema_name .list."),
        (lambda root: change(root, schema_name="other"), "has schema_name .other."),
        (
            lambda root: change(root, schema_version="2.0"),
            r"has schema version 2\.0, but this program reads 1\.",
        ),
        (
            lambda root: change(root, schema_version="0.9"),
            r"has schema version 0\.9, but this program reads 1\.",
        ),
        (lambda root: change(root, run_id="another"), "is damaged .its checksum differs"),
        (lambda root: (root / "run.json").unlink(), r"has no run\.json"),
    ],
    ids=["truncated", "no mapping", "foreign", "newer", "older", "altered", "gone"],
)
def test_a_run_that_cannot_be_gone_on_with_is_refused_in_one_line(
    root: Path, breakage: Callable[[Path], object], message: str
) -> None:
    breakage(root)
    with pytest.raises(StoreError, match=message) as error:
        SampleStore.open(root)
    assert "\n" not in str(error.value)


def objects(store: SampleStore) -> dict[str, bytes]:
    found = store.folder.found(sorted(store.folder.sizes("data.zarr")))
    return {name: content for name, content in found.items() if name != "data.zarr/zarr.json"}


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_at_any_step_of_a_commit_costs_that_block_alone(
    small: Plan, whole: Path, root: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """`fsync` is where file systems that allocate late report a full disk, and every step of a commit has one."""
    store, block = SampleStore.open(root), next(small.blocks())
    fsync, steps = os.fsync, 0
    while True:
        store.withdraw(block)
        calls = 0

        def full(descriptor: int, step: int = steps) -> None:
            nonlocal calls
            calls += 1
            if calls > step:
                raise OSError(error, os.strerror(error))
            fsync(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with contextlib.suppress(DiskFullError):
                assert run(small, store).made == 1
                break
        assert verify(small, store) == []
        assert not list(root.rglob(".*.json.*"))
        assert store.folder.sizes("claims") == {}
        steps += 1
    assert steps > 15
    assert verify(small, store) == []
    assert objects(store) == objects(SampleStore.open(whole))


@pytest.mark.parametrize("limit", [100, 200, 1500])
def test_a_file_that_may_not_grow_stops_the_run_at_claims_objects_and_records_alike(
    small: Plan, tmp_path: Path, limit: int
) -> None:
    """The kernel itself refuses: a claim has about 230 bytes, a stored object 150 to 400, a record 4000."""
    store = prepare(small, tmp_path / "run")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(DiskFullError, match=r"no room in .*run the same command again"):
            run(small, store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert verify(small, store) == []
    done = run(small, store)
    assert (done.done, done.failed) == (8, 0)


@pytest.mark.slow
def test_a_real_disk_that_fills_up_stops_the_run_and_a_larger_one_finishes_it(
    small: Plan, whole: Path, tmp_path: Path
) -> None:
    """A tmpfs of its own, which takes root: the soak runs it, and fails where it may not mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    try:
        store = prepare(small, disk / "run")
        free = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(b"x" * (free - 100_000))
        with pytest.raises(DiskFullError, match="no room in"):
            run(small, store)
        assert verify(small, store) == []
        assert 0 < len(store.ledger.read_all(small.blocks())) < 8
        (disk / "filler").unlink()
        assert run(small, store).done == 8
        assert objects(store) == objects(SampleStore.open(whole))
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"block_prompts": 1},
        {"block_prompts": 2, "batch_size": 7},
        {"block_prompts": 3, "batch_size": 5},
    ],
    ids=str,
)
def test_the_digest_depends_on_neither_block_nor_batch_nor_order(
    small: Plan, whole: Path, tmp_path: Path, changes: dict[str, int]
) -> None:
    """The models are exact in any batch; what rounding does to larger ones is in the batch's own docstring."""
    from generate.run.blocks import make_block
    from generate.run.loading import load

    other = plan(*load_study(str(edited(write_study(tmp_path), models=["toy-masked"], **changes))))
    store = prepare(other, tmp_path / "run")
    model = load(other, "toy-masked", "cpu")
    blocks: list[Block] = list(other.blocks())
    random.Random(6).shuffle(blocks)
    for block in blocks:
        assert make_block(other, store, model, block, device="cpu") == "made"
    assert summary(other, store).digest == summary(small, SampleStore.open(whole)).digest
