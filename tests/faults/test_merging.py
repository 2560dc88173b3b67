"""A run whose small blocks were merged is the run it was, whenever the merging is killed."""

from __future__ import annotations

import random
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numcodecs.zstd import Zstd, compress
from typer.testing import CliRunner
from typing_extensions import override

import ibstats
from generate.cli import app
from generate.run.blocks import run as run_study
from generate.run.preparing import prepare
from generate.store import merging
from generate.store.audit import summary, verify
from generate.store.room import bytes_on_disk
from generate.store.samples import SampleStore
from generate.store.sealing import seal, unseal
from generate.study.planning import Plan, plan, recorded_plan
from generate.study.study_file import load_study
from schemas.errors import CorruptBlock, DiskFullError, StoreError, UserError
from schemas.io import layout
from schemas.io.folder import LocalFolder
from tests.faults.damages import DAMAGES
from tests.faults.sealed_runs import changes, dies, digests, files, killed_at_random
from tests.generate.conftest import edited, write_study

GROUP = "toy-masked/noise"
OBJECTS = ("image", "tokens", "complete")


def planned(place: Path, block_prompts: int) -> Plan:
    """Five prompts in blocks of so many at most."""
    experiments = {"noise": {"kind": "crossed_noise", "paths": 2, "executions": 2}}
    changes = {"experiments": experiments, "calibration": None, "block_prompts": block_prompts}
    return plan(*load_study(str(edited(write_study(place), models=["toy-masked"], **changes))))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Three blocks, the last of which is of one prompt."""
    return planned(tmp_path_factory.mktemp("study"), 2)


@pytest.fixture(scope="module")
def blocks(study: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run, an object a block."""
    root = tmp_path_factory.mktemp("blocks") / "run"
    run_study(study, prepare(study, root))
    return root


@pytest.fixture(scope="module")
def merged(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, merged."""
    root = Path(shutil.copytree(blocks, tmp_path_factory.mktemp("merged") / "run"))
    merge(SampleStore.open(root))
    return root


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same samples as one block, which has one object of images as the merged run has."""
    root = tmp_path_factory.mktemp("alone")
    whole = planned(root, 5)
    run_study(whole, prepare(whole, root / "run"))
    return root / "run"


@pytest.fixture
def copy(merged: Path, tmp_path: Path) -> Path:
    """The merged run, to be changed."""
    return Path(shutil.copytree(merged, tmp_path / "run"))


def merge(store: SampleStore) -> object:
    return seal(store, piece=2, merge=True)


def ours(root: Path) -> xr.Dataset:
    """The samples as `ibstats` reads them."""
    return ibstats.open_store(root).dataset("toy-masked", "noise").load()


def plain(root: Path) -> xr.Dataset:
    """The samples as xarray alone reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xr.open_zarr(root / "data.zarr", group=GROUP, consolidated=False, chunks=None)
        return opened.load()


def contents(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in files(root)}


def objects(root: Path, variable: str) -> list[str]:
    return sorted(p.name for p in (root / "data.zarr" / GROUP / variable).iterdir())


def test_a_merged_run_is_the_run_it_was(blocks: Path, merged: Path) -> None:
    assert digests(merged) == digests(blocks)
    assert ours(merged).identical(ours(blocks))
    assert plain(merged).identical(plain(blocks))
    before, after = ibstats.open_store(blocks), ibstats.open_store(merged)
    for name, records in before.records.items():
        assert tuple(after.records[name]) == records  # who made which block, and when
    assert not [said for _, said in after.verify() if said]
    for variable in OBJECTS:
        assert len(objects(blocks, variable)) == 4
        assert len(objects(merged, variable)) == 2


def test_both_programs_say_that_it_is_whole_and_finished(
    study: Plan, blocks: Path, copy: Path
) -> None:
    before = contents(copy)
    store = SampleStore.open(copy)
    assert verify(recorded_plan(store.run, store.prompts), store) == []
    for some in (list(study.blocks()), list(study.blocks())[1:]):
        found, expected = summary(some, store), summary(some, SampleStore.open(blocks))
        assert (found.digest, found.done, found.changed) == (expected.digest, expected.done, ())
    assert run_study(study, prepare(study, copy)).made == 0
    for command in ("verify", "status"):
        assert CliRunner().invoke(app, [command, str(copy)]).exit_code == 0
    assert contents(copy) == before


def test_merging_again_changes_nothing(copy: Path) -> None:
    before = contents(copy)
    merge(SampleStore.open(copy))
    seal(SampleStore.open(copy))
    assert contents(copy) == before


def test_the_command_merges_a_sealed_run_too(blocks: Path, merged: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(blocks, tmp_path / "run"))
    for options in ([], ["--merge"]):
        told = CliRunner().invoke(app, ["seal", str(root), *options])
        assert told.exit_code == 0, told.output
    assert "merged: 8 objects" in told.output
    assert objects(root, "tokens") == objects(merged, "tokens")
    assert ours(root).identical(ours(merged))


def test_unsealing_gives_each_block_its_objects_again(blocks: Path, copy: Path) -> None:
    assert unseal(SampleStore.open(copy)) == 3
    assert contents(copy) == contents(blocks)


def test_objects_of_another_zstd_are_those_that_the_records_name(
    study: Plan, blocks: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Zstd, "encode", lambda self, content: compress(content, 19, True))
    unseal(SampleStore.open(copy))
    assert contents(copy) != contents(blocks)
    assert digests(copy) == digests(blocks)
    assert ours(copy).identical(ours(blocks))
    store = SampleStore.open(copy)
    assert verify(recorded_plan(store.run, store.prompts), store) == []


def test_large_blocks_stay_as_they_are(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "IMAGES", 100)
    root = Path(shutil.copytree(blocks, tmp_path / "run"))
    told = CliRunner().invoke(app, ["seal", str(root), "--merge"])
    assert "large enough" in told.output
    assert objects(root, "tokens") == objects(blocks, "tokens")


def test_blocks_are_merged_as_far_as_an_object_may_grow(
    blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three blocks fit, so the second object holds one prompt."""
    shape = ours(blocks)["image"].shape
    monkeypatch.setattr(merging, "IMAGES", 2 * 2 * int(np.prod(shape[2:])))
    root = Path(shutil.copytree(blocks, tmp_path / "run"))
    merge(SampleStore.open(root))
    assert objects(root, "image") == ["0.0.0.0.0.0", "0.1.0.0.0.0", "zarr.json"]
    assert ours(root).identical(ours(blocks))
    assert plain(root).identical(plain(blocks))
    unseal(SampleStore.open(root))
    assert contents(root) == contents(blocks)


def test_a_run_copied_without_images_is_merged_without(blocks: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(blocks, tmp_path / "run"))
    shutil.rmtree(root / "data.zarr" / GROUP / "image")
    expected, before = ours(root), contents(root)
    merge(SampleStore.open(root, check=False))
    assert ours(root).identical(expected)
    assert "image" not in expected
    unseal(SampleStore.open(root, check=False))
    assert contents(root) == before


def test_images_left_out_of_a_copy_of_a_merged_run_are_missed_by_no_other(
    merged: Path, copy: Path
) -> None:
    shutil.rmtree(copy / "data.zarr" / GROUP / "image")
    assert ours(copy).identical(ours(merged).drop_vars("image"))


@pytest.mark.parametrize("kind", ["alone", "merged"])
def test_the_only_object_of_images_is_lost_where_its_array_is_there_and_left_out_where_not(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    root = Path(shutil.copytree(request.getfixturevalue(kind), tmp_path / "run"))
    samples, array = ours(root), root / "data.zarr" / GROUP / "image"
    (only,) = (file for file in array.iterdir() if file.name != "zarr.json")
    only.unlink()
    assert "image" in ibstats.open_store(root).holds("toy-masked", "noise")
    with pytest.raises(CorruptBlock, match=r"image/.* is missing"):
        ours(root)
    root = Path(shutil.copytree(request.getfixturevalue(kind), tmp_path / "copy"))
    shutil.rmtree(root / "data.zarr" / GROUP / "image")
    assert "image" not in ibstats.open_store(root).holds("toy-masked", "noise")
    assert ours(root).identical(samples.drop_vars("image"))


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [("tokens/0.0.0.0.0", "flipped", "altered"), ("image/0.0.0.0.0.0", "deleted", "missing")],
)
def test_a_damaged_object_is_told_and_its_blocks_are_made_again(
    study: Plan, blocks: Path, copy: Path, name: str, damage: str, problem: str
) -> None:
    DAMAGES[damage](copy / "data.zarr" / GROUP / name, random.Random(0))
    told = CliRunner().invoke(app, ["verify", str(copy)])
    assert told.exit_code == 1
    assert f"{name}: {problem}" in told.output
    assert [key for key, said in ibstats.open_store(copy).verify() if said] == [f"{GROUP}/{name}"]
    with pytest.raises(CorruptBlock, match=rf"{re.escape(name)}' is (damaged|missing)"):
        ours(copy)
    told = CliRunner().invoke(app, ["verify", str(copy), "--repair"])
    assert "unseal" in str(told.exception)
    unseal(SampleStore.open(copy))
    assert CliRunner().invoke(app, ["verify", str(copy), "--repair"]).exit_code == 0
    assert run_study(study, SampleStore.open(copy)).made == 3
    assert digests(copy) == digests(blocks)
    assert ours(copy).identical(ours(blocks))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["seal.json", "merged-*.json", "image/0.*", "tokens/zarr.json"])
def test_a_damaged_file_gives_equal_samples_or_one_line(
    merged: Path, copy: Path, name: str, damage: str
) -> None:
    expected, (hurt,) = ours(merged), copy.rglob(name)
    DAMAGES[damage](hurt, random.Random(damage))
    for read in (ours, unsealed):
        found = samples_or_line(read, copy)
        assert isinstance(found, str) or found.identical(expected)
        assert not isinstance(found, str) or "\n" not in found


def samples_or_line(read: Callable[[Path], xr.Dataset], root: Path) -> xr.Dataset | str:
    try:
        return read(root)
    except UserError as error:
        return str(error)


def unsealed(root: Path) -> xr.Dataset:
    unseal(SampleStore.open(root))
    return ours(root)


@pytest.mark.parametrize("opens", [unseal, merge], ids=["unsealed", "merged"])
def test_who_opened_it_before_is_told_and_given_no_fill_values(
    opens: Callable[[SampleStore], object], blocks: Path, merged: Path, tmp_path: Path
) -> None:
    start = merged if opens is unseal else blocks
    root = Path(shutil.copytree(start, tmp_path / "run"))
    store = ibstats.open_store(root)
    dataset = store.dataset("toy-masked", "noise")
    travelled = store.dataset("toy-masked", "noise").copy()
    opens(SampleStore.open(root))
    for opened in (dataset, travelled):
        with pytest.raises(CorruptBlock):
            opened["tokens"].load()


def test_a_key_of_merged_objects_that_no_record_names_is_no_fill_value(
    blocks: Path, copy: Path
) -> None:
    """What a worker meets that is given a merged array once the run was opened again."""
    import pickle

    content = pickle.dumps(ibstats.open_store(copy).dataset("toy-masked", "noise"))
    unseal(SampleStore.open(copy))
    with pytest.raises(CorruptBlock, match="opened by `ibgenerate unseal` while it was read"):
        pickle.loads(content)["tokens"].load()


def killed(
    work: Callable[[SampleStore], object], blocks: Path, merged: Path, root: Path, n_kills: int
) -> None:
    """Kill the merging or its undoing before so many of its changes, and read what is left."""
    start, end = (blocks, merged) if work is merge else (merged, blocks)
    expected, samples, arrays = digests(blocks), ours(blocks), plain(blocks)
    n_changes = changes(Path(shutil.copytree(start, root)), work)
    assert files(root) == files(end)
    for step in random.Random(4).sample(range(n_changes), min(n_kills, n_changes)):
        shutil.rmtree(root)
        shutil.copytree(start, root)
        assert dies(root, work, step)
        assert digests(root) == expected, step
        assert ours(root).identical(samples), step
        assert plain(root).identical(arrays), step
        work(SampleStore.open(root))
        assert files(root) == files(end), step
        assert ours(root).identical(samples), step


@pytest.mark.parametrize("work", [merge, unseal], ids=["merge", "unseal"])
def test_a_kill_at_some_steps_leaves_all_samples_to_both_kinds_of_readers(
    work: Callable[[SampleStore], object], blocks: Path, merged: Path, tmp_path: Path
) -> None:
    killed(work, blocks, merged, tmp_path / "run", 3)


@pytest.mark.slow
@pytest.mark.parametrize("work", [merge, unseal], ids=["merge", "unseal"])
def test_a_kill_at_any_step_leaves_all_samples_to_both_kinds_of_readers(
    work: Callable[[SampleStore], object], blocks: Path, merged: Path, tmp_path: Path
) -> None:
    killed(work, blocks, merged, tmp_path / "run", 1000)


CHILD = """
import sys
from generate.store.samples import SampleStore
from generate.store.sealing import seal, unseal
store = SampleStore.open(sys.argv[1])
print("ready", flush=True)
while True:
    seal(store, piece=2, merge=True)
    unseal(store)
"""


@pytest.mark.slow
def test_fifty_kills_at_random_moments_never_lose_a_sample(blocks: Path, tmp_path: Path) -> None:
    expected, samples = digests(blocks), ours(blocks)
    root = Path(shutil.copytree(blocks, tmp_path / "run"))
    seen = set()
    for _ in killed_at_random(CHILD, root, 50, longest=1, seed=21):
        seen.add(((root / layout.SEAL).exists(), bool(list(root.rglob("merged-*.json")))))
        assert digests(root) == expected
        assert ours(root).identical(samples)
        assert plain(root).identical(samples)
    merge(SampleStore.open(root))
    assert digests(root) == expected
    assert len(seen) > 2


def test_a_run_that_is_not_finished_is_not_merged(blocks: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(blocks, tmp_path / "run"))
    next((root / "ledger").rglob("*.json")).unlink()
    with pytest.raises(StoreError, match="only a finished run is sealed"):
        merge(SampleStore.open(root))
    assert objects(root, "tokens") == objects(blocks, "tokens")


class Small(LocalFolder):
    """A folder of a disk on which so many bytes are free."""

    left: int

    @override
    def free(self) -> int:
        return self.left


@pytest.mark.parametrize("work", [merge, unseal], ids=["merge", "unseal"])
def test_where_both_kinds_of_objects_have_no_room_nothing_is_written(
    work: Callable[[SampleStore], object], blocks: Path, merged: Path, tmp_path: Path
) -> None:
    """What the line says is needed is a little more than what is written, tables left out."""
    root = Path(shutil.copytree(blocks if work is merge else merged, tmp_path / "run"))
    before, small = contents(root), Small(root)
    small.left = 0
    with pytest.raises(DiskFullError, match=r"has 0\.00 MB free, but .* needs about") as told:
        work(SampleStore.open(small))
    assert "\n" not in str(told.value)
    assert contents(root) == before
    needed = re.search(r"([0-9.]+) MB: free", str(told.value))
    assert needed is not None
    small.left = int(1e6 * float(needed[1])) + 5000
    work(SampleStore.open(small))
    new = [name for name in contents(root).keys() - before.keys() if "seal" not in name]
    written = bytes_on_disk((root / name).stat().st_size for name in new)
    assert small.left / 2 < written < small.left
    small.left = 0
    work(SampleStore.open(small))  # there is nothing left to write
