"""A store is made once, whatever interrupts it, and holds what the study says."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from generate.errors import DiskFullError, StoreError
from generate.models import toy
from generate.run import blocks, loading
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.store.audit import summary, verify
from generate.store.claims import key
from generate.store.samples import SampleStore
from generate.study.planning import Plan, plan, recorded_plan
from generate.study.study_file import load_study
from schemas.io.writer import Maker
from schemas.variables import VARIABLES
from tests.generate.conftest import edited

ROOT = Path(__file__).parents[2]
N_BLOCKS = 3 * 8 * 2


def dataset(store: SampleStore, model: str, experiment: str = "factorial") -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return (
            xr.open_datatree(store.data, engine="zarr", consolidated=False)[f"{model}/{experiment}"]
            .to_dataset()
            .load()
        )


def cell(ds: xr.Dataset, sampling: str, prompt_type: str, codebook: str) -> xr.Dataset:
    chosen = (ds.sampling == sampling) & (ds.prompt_type == prompt_type) & (ds.codebook == codebook)
    return ds.isel(condition=int(np.flatnonzero(chosen)[0]))


def test_plain_xarray_reads_the_store_labelled_and_without_a_warning(store: SampleStore) -> None:
    ds = dataset(store, "toy-diffusion")
    # All prompts have as many samples, no image was encoded and decoded, and no model has scales or
    # a decoder that draws.
    absent = {"sample_count", "recovered", "squared_error", "rendering_key"}
    absent |= {"stratum_keep", "stratum_count"}
    assert set(ds.data_vars) == set(VARIABLES) - absent
    for name in ds.data_vars:
        variable = VARIABLES[str(name)]
        assert ds[name].dims == variable.dims
        assert ds[name].attrs["units"] == variable.units
        assert ds[name].attrs["long_name"]
    assert ds.complete.all()
    assert {"sampling", "prompt_type", "codebook", "prompt", "text_kind"} <= set(ds.coords)
    factorial = ds.set_index(condition=["sampling", "prompt_type", "codebook"]).unstack("condition")
    assert dict(factorial.tokens.sizes) == {
        "sampling": 2, "prompt_type": 2, "codebook": 2, "prompt": 5, "sample": 6, "row": 2, "col": 2
    }  # fmt: skip


def test_fixed_orders_store_no_path(store: SampleStore) -> None:
    assert not {"token_step", "path_surprisal"} & set(
        dataset(store, "toy-autoregressive").data_vars
    )


@pytest.mark.parametrize("model", ["toy-autoregressive", "toy-masked", "toy-diffusion"])
def test_no_disabled_code_is_drawn_in_a_subset_cell(store: SampleStore, model: str) -> None:
    ds = dataset(store, model)
    for condition in range(8):
        kept = ds.codebook_keep.values[condition]
        assert kept.sum() == (2 if ds.codebook.values[condition] == "subset" else 3)
        assert kept[ds.tokens.values[condition]].all()
    assert set(np.flatnonzero(~ds.codebook_keep.values[0])) == {
        int(ds.calibration_count.values.argmin())
    }


def test_autoregressive_argmax_gives_one_grid_per_text(store: SampleStore) -> None:
    ds = dataset(store, "toy-autoregressive")
    original = cell(ds, "argmax", "original", "full").tokens.values
    assert (original == original[:, :1]).all()
    drawn = cell(ds, "stochastic", "original", "full").tokens.values
    assert (drawn != drawn[:, :1]).any()


def test_argmax_cells_carry_the_path_noise_of_their_twins(store: SampleStore) -> None:
    ds = dataset(store, "toy-diffusion")
    assert (ds.path_key == ds.path_key.isel(condition=0)).all()
    assert (ds.execution_key == ds.execution_key.isel(condition=0)).all()
    assert len(np.unique(ds.path_key.isel(condition=0))) == 5 * 6
    # in an absorbing process the reveal times follow from the path noise alone
    argmax, twin = (cell(ds, sampling, "original", "full") for sampling in ("argmax", "stochastic"))
    assert (argmax.token_step == twin.token_step).all()
    assert (argmax.tokens != twin.tokens).any()


def test_samples_are_spread_over_the_texts_that_the_store_names(store: SampleStore) -> None:
    ds = dataset(store, "toy-masked")
    assert set(
        ds.text_kind.values[cell(ds, "argmax", "original", "full").text_index.values.ravel()]
    ) == {"original"}
    used = cell(ds, "argmax", "paraphrase", "full").text_index.values
    assert all(len(set(row)) == 3 for row in used)
    assert (ds.text_prompt.values[used] == np.arange(5)[:, None]).all()


def test_any_sample_can_be_made_again_alone_from_its_stored_keys(
    store: SampleStore, toy_plan: Plan
) -> None:
    from generate.study.probes import probe
    from generate.traversal import PhiloxNoise

    ds = dataset(store, "toy-masked")
    model = loading.load(toy_plan, "toy-masked", "cpu")
    for condition in range(8):
        one = ds.isel(condition=condition, prompt=3, sample=4)
        its_probe = probe(toy_plan.experiments["factorial"][condition], one.codebook_keep.values)
        noise = PhiloxNoise(one.path_key.values.reshape(1), one.execution_key.values.reshape(1))
        text = str(ds.text.values[int(one.text_index)])
        trace = model.traverse(model.encode([text]), its_probe, noise)
        np.testing.assert_array_equal(trace.tokens[0].numpy(), one.tokens.values.ravel())
        np.testing.assert_array_equal(
            trace.token_surprisal[0].numpy(), one.token_surprisal.values.ravel()
        )


def test_the_digest_depends_on_neither_batch_nor_order(
    store: SampleStore, study_file: Path, tmp_path: Path
) -> None:
    other = plan(*load_study(str(edited(study_file, batch_size=1))))
    again = prepare(other, tmp_path / "other")
    model = loading.load(other, "toy-masked", "cpu")
    for block in reversed([block for block in other.blocks() if block.model == "toy-masked"]):
        assert blocks.make_block(other, again, model, block, device="cpu") == "made"
    xr.testing.assert_identical(
        dataset(again, "toy-masked").drop_attrs(deep=False),
        dataset(store, "toy-masked").drop_attrs(deep=False),
    )


def test_the_blocks_that_are_there_are_not_listed_to_make_another(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a block takes no longer where there are a hundred thousand others."""
    other = plan(*load_study(str(study_file)))
    begun = prepare(other, tmp_path / "run")
    model = loading.load(other, "toy-masked", "cpu")
    first, second = [block for block in other.blocks() if block.model == "toy-masked"][:2]
    assert blocks.make_block(other, begun, model, first, device="cpu") == "made"
    listed = []
    for name in ("scandir", "listdir"):
        original = getattr(os, name)

        def spied(path: str = ".", original: Callable[..., object] = original) -> object:
            listed.append(str(path))
            return original(path)

        monkeypatch.setattr(os, name, spied)
    assert blocks.make_block(other, begun, model, second, device="cpu") == "made"
    assert [path for path in listed if path.startswith(str(begun.root))] == []
    assert sorted(map(str, Path(begun.root).iterdir()))  # the spies see what pathlib lists
    assert str(begun.root) in listed


def test_a_second_run_does_nothing_and_says_the_same(store: SampleStore, toy_plan: Plan) -> None:
    before = summary(toy_plan, store)
    files = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}
    again = run(toy_plan, prepare(toy_plan, store.root))
    assert (again.made, again.done, again.digest) == (0, N_BLOCKS, before.digest)
    assert {
        path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()
    } == files


def test_a_store_of_another_study_is_refused_by_the_first_key_that_differs(
    store: SampleStore, study_file: Path
) -> None:
    with pytest.raises(StoreError, match="made with seed = 3, the study says 4"):
        prepare(plan(*load_study(str(edited(study_file, seed=4)))), store.root)
    prompts = study_file.with_name("study.jsonl")
    prompts.write_text(prompts.read_text().replace("s prompt", "s request"))
    with pytest.raises(StoreError, match="made from other prompts"):
        prepare(plan(*load_study(str(study_file))), store.root)


def test_a_directory_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"has no run\.json"):
        SampleStore.open(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(StoreError, match="schema_name None, but this program reads"):
        SampleStore.open(tmp_path)


def test_the_plan_in_the_store_is_the_one_of_the_study(store: SampleStore, toy_plan: Plan) -> None:
    assert list(recorded_plan(store.run, store.prompts).blocks()) == list(toy_plan.blocks())


def test_a_block_that_fails_is_recorded_and_the_rest_goes_on(
    toy_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = prepare(toy_plan, tmp_path / "run")
    encode = toy.ToyMasked.encode

    def fail_on_one_text(self: toy.ToyMasked, texts: list[str]) -> object:
        if "s prompt xxxx" in texts:
            raise RuntimeError("poison")
        return encode(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(toy.ToyMasked, "encode", fail_on_one_text)
        told: list[str] = []
        counted: dict[str, tuple[int, int]] = {}
        broken = run(
            toy_plan,
            store,
            progress=lambda what, done, total: counted.__setitem__(what, (done, total)),
            tell=told.append,
        )
    assert (broken.done, broken.failed) == (N_BLOCKS - 4, 4)
    (line,) = told  # the first cause, once, as soon as it is known
    assert "failed: RuntimeError: poison (whole text: " in line
    assert Path(line.rpartition("whole text: ")[2].rstrip(")")).is_file()
    done, total = counted["toy-masked"]
    assert 0 < done < total  # images of blocks that failed are not there
    failure = json.loads(next((store.root / "failed/toy-masked/factorial").iterdir()).read_text())
    assert failure["error"] == "RuntimeError: poison"
    assert "fail_on_one_text" in failure["traceback"]
    healed = run(toy_plan, store)
    assert (healed.made, healed.done, healed.failed) == (4, N_BLOCKS, 0)


def test_a_block_held_by_a_live_process_is_left_to_it_and_a_dead_ones_is_taken_over(
    toy_plan: Plan, tmp_path: Path
) -> None:
    store = prepare(toy_plan, tmp_path / "run")
    blocks = [
        next(b for b in toy_plan.blocks() if b.model == label) for label in toy_plan.models[:2]
    ]
    assert store.claims.claim(blocks[0], "me")  # this process lives
    assert store.claims.claim(blocks[1], "me")
    claim = store.root / key("claims", blocks[1])
    claim.write_text(
        json.dumps(json.loads(claim.read_text()) | {"process_started": 1.0})
    )  # its pid went to another
    done = run(toy_plan, store)
    assert (done.done, done.elsewhere) == (N_BLOCKS - 1, 1)


def test_a_writer_that_comes_late_touches_no_object_of_a_committed_block(
    toy_plan: Plan, tmp_path: Path
) -> None:
    """A process stopped between claim and writing, and continued when another has committed."""
    store = prepare(toy_plan, tmp_path / "run")
    run(toy_plan, store)
    block = next(iter(toy_plan.blocks()))
    record = store.ledger.read(block)
    assert record is not None
    files = [store.root / "data.zarr" / stored.key for stored in record.objects]
    before = [(file.stat().st_mtime_ns, file.stat().st_ino) for file in files]
    group = store.arrays(block)
    arrays = {}
    for name, array in group.items():
        if name != "complete":
            arrays[name] = np.asarray(array[block.condition, block.start : block.stop])
    with pytest.raises(FileExistsError):
        store.write(block, arrays)
    assert store.add(block, arrays, Maker(record.software, record.hardware)) == "done"
    assert [(file.stat().st_mtime_ns, file.stat().st_ino) for file in files] == before
    assert store.ledger.read(block) == record


def test_an_object_that_vanished_is_noticed_at_the_end_of_a_run(
    toy_plan: Plan, tmp_path: Path
) -> None:
    store = prepare(toy_plan, tmp_path / "run")
    assert run(toy_plan, store).changed == ()
    record = store.ledger.read(next(iter(toy_plan.blocks())))
    assert record is not None
    (store.root / "data.zarr" / record.objects[0].key).unlink()
    assert run(toy_plan, store).changed == (record.objects[0].key,)


def test_a_run_that_was_copied_without_images_is_whole(toy_plan: Plan, tmp_path: Path) -> None:
    store = prepare(toy_plan, tmp_path / "run")
    run(toy_plan, store)
    images = list((tmp_path / "run" / "data.zarr").glob("*/*/image"))
    assert images
    for folder in images:
        shutil.rmtree(folder)
    assert summary(toy_plan, store).changed == ()


def damaged(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "deleted":
        path.unlink()
        return
    if how == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes(
        {"flipped": bytes(content), "emptied": b"", "truncated": bytes(content[:-3])}[how]
    )


@pytest.mark.parametrize("how", ["deleted", "emptied", "truncated", "flipped"])
@pytest.mark.parametrize("name", ["image", "tokens", "token_surprisal", "token_step"])
def test_damage_to_any_object_is_found_and_repaired(
    store: SampleStore, toy_plan: Plan, name: str, how: str
) -> None:
    whole = summary(toy_plan, store).digest
    assert verify(toy_plan, store) == []
    block = [b for b in toy_plan.blocks() if b.model == "toy-masked"][5]
    damaged(store.root / "data.zarr" / store.object_keys(block, name)[0], how)
    (problem,) = verify(toy_plan, store, repair=True)
    assert name in problem
    assert not xr.open_zarr(
        store.data, group="toy-masked/factorial", consolidated=False
    ).complete.all()
    assert run(toy_plan, store).made == 1
    assert verify(toy_plan, store) == []
    assert summary(toy_plan, store).digest == whole


def test_a_broken_ledger_record_is_found_and_repaired(store: SampleStore, toy_plan: Plan) -> None:
    block = next(toy_plan.blocks())
    (store.root / key("ledger", block)).write_text("{")
    with pytest.raises(StoreError, match=r"ledger record .* is broken"):
        summary(toy_plan, store)
    assert len(verify(toy_plan, store, repair=True)) == 1
    assert run(toy_plan, store).done == N_BLOCKS


def test_a_block_that_is_not_what_the_store_says_is_refused(
    store: SampleStore, toy_plan: Plan
) -> None:
    block = next(b for b in toy_plan.blocks() if b.model == "toy-masked")
    good = blocks.generate_block(
        toy_plan, store, loading.load(toy_plan, "toy-masked", "cpu"), block
    )
    with pytest.raises(StoreError, match=r"holds code 65535, but codes of toy-masked run 0\.\.2"):
        store.write(block, good | {"tokens": np.full_like(good["tokens"], 65535)})
    with pytest.raises(StoreError, match=r"`token_entropy` .* not finite"):
        store.write(block, good | {"token_entropy": np.full_like(good["token_entropy"], np.nan)})
    with pytest.raises(
        StoreError, match=r"`image` .* is uint8\(1, 6, 4, 4, 3\), but the store holds uint8\(3, 6"
    ):
        store.write(block, good | {"image": good["image"][:1]})


def test_a_full_disk_stops_the_run_and_keeps_what_is_committed(
    toy_plan: Plan, tmp_path: Path
) -> None:
    """RLIMIT_FSIZE stands in for the disk: the kernel refuses the write itself."""
    store = prepare(toy_plan, tmp_path / "run")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(DiskFullError, match=r"no room in .* MB free, .* MB needed in all"):
            run(toy_plan, store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert run(toy_plan, store).done == N_BLOCKS


def test_a_disk_too_small_for_the_study_is_refused_before_it_starts(
    toy_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DiskFullError, match="set `images: false`"):
        prepare(toy_plan, tmp_path / "run")


def test_errors_other_than_a_full_disk_keep_their_name(
    toy_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = prepare(toy_plan, tmp_path / "run")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            store.write(next(toy_plan.blocks()), _first_block(toy_plan, store))


def _first_block(toy_plan: Plan, store: SampleStore) -> dict[str, np.ndarray]:
    block = next(toy_plan.blocks())
    return blocks.generate_block(toy_plan, store, loading.load(toy_plan, block.model, "cpu"), block)


def test_a_study_without_images_stores_none(study_file: Path, tmp_path: Path) -> None:
    without = plan(*load_study(str(edited(study_file, images=False))))
    store = prepare(without, tmp_path / "run")
    assert run(without, store).done == N_BLOCKS
    assert "image" not in dataset(store, "toy-masked")


def kill_moments(n: int) -> Iterator[float]:
    generator = random.Random(5)
    return (generator.uniform(0.0, 0.9) for _ in range(n))


def test_a_run_killed_at_random_moments_resumes_to_the_uninterrupted_store(
    store: SampleStore, study_file: Path, toy_plan: Plan, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    command = [
        sys.executable,
        "-m",
        "generate.cli",
        "run",
        str(study_file),
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    n_done = 0
    for share in kill_moments(5):
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        target = n_done + int(share * (N_BLOCKS - n_done) / 2)
        while process.poll() is None and len(list(out.glob("ledger/*/*/c*.json"))) <= target:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        n_done = len(list(out.glob("ledger/*/*/c*.json")))
    assert 0 < n_done < N_BLOCKS
    resumed = SampleStore.open(out)
    assert verify(toy_plan, resumed) == []
    assert run(toy_plan, resumed).digest == summary(toy_plan, store).digest
    assert verify(toy_plan, resumed) == []
    for label in toy_plan.models:
        xr.testing.assert_identical(dataset(resumed, label), dataset(store, label))
    assert not list(out.rglob("claims/*/*/*.json"))


def test_the_plan_of_another_seed_has_other_samples(
    study_file: Path, tmp_path: Path, store: SampleStore
) -> None:
    other_plan = plan(
        *load_study(str(edited(study_file, seed=4, models=[{"model": "toy-masked"}])))
    )
    other = prepare(other_plan, tmp_path / "seed")
    run(other_plan, other)
    assert (
        dataset(other, "toy-masked").tokens.values != dataset(store, "toy-masked").tokens.values
    ).any()
