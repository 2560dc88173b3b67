"""A study whose store lies in a bucket: the same store, made, checked, repaired and analysed by its URL."""

from __future__ import annotations

import json
import pickle
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import ibstats
from generate.run.blocks import make_block, run
from generate.run.loading import load
from generate.run.preparing import prepare
from generate.store.audit import summary, verify
from generate.store.claims import key
from generate.store.samples import SampleStore
from generate.store.sealing import seal, unseal
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study
from schemas.store import Block, BlockRecord
from tests.generate.conftest import edited
from tests.generate.s3 import SECRET, credentials, server
from tests.generate.test_cli import call

N_BLOCKS = 8
REQUESTS = {"HEAD": 23, "GET": 2, "PUT": 10, "POST": 9}
"""Requests of a block of seven objects, by their method; before each object it is asked whether the block is committed,
or the run sealed, and after the commit whether each is still the one that was put. None is read back.
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with server() as address:
        yield address


@pytest.fixture
def url(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    credentials(monkeypatch, address)
    return f"s3://bucket/{uuid.uuid4().hex}"


@pytest.fixture
def small(study_file: Path) -> Plan:
    return plan(*load_study(str(edited(study_file, models=["toy-masked"], block_prompts=5))))


@pytest.fixture
def tiny(study_file: Path) -> Plan:
    """Five blocks of one condition."""
    experiments = {"noise": {"kind": "crossed_noise", "paths": 2, "executions": 2}}
    changes = {"experiments": experiments, "calibration": None, "block_prompts": 1}
    return plan(*load_study(str(edited(study_file, models=["toy-masked"], **changes))))


def test_the_store_in_a_bucket_is_that_in_a_folder(
    small: Plan,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = prepare(small, tmp_path / "run")
    expected = run(small, here)
    there = prepare(small, url)
    assert run(small, there) == expected
    assert (expected.made, expected.failed, expected.elsewhere) == (N_BLOCKS, 0, 0)
    assert run(small, prepare(small, url)).made == 0
    bytes_here = here.folder.found(here.folder.sizes("data.zarr/toy-masked"))
    assert there.folder.found(there.folder.sizes("data.zarr/toy-masked")) == bytes_here

    monkeypatch.chdir(tmp_path)
    local, remote = ibstats.open_store(tmp_path / "run"), ibstats.open_store(url)
    assert remote.snapshot() == local.snapshot()
    for name in ("tokens", "image", "token_surprisal"):
        np.testing.assert_array_equal(
            remote.dataset("toy-masked")[name], local.dataset("toy-masked")[name]
        )
    travelled = pickle.dumps(remote.images("toy-masked"))  # to a worker
    np.testing.assert_array_equal(pickle.loads(travelled), local.images("toy-masked"))
    assert SECRET.encode() not in travelled
    assert all(problem is None for _, problem in remote.verify())
    assert remote.path == Path("ibstats-results", *url.removeprefix("s3://").split("/"))
    assert ibstats.open_store(url, tmp_path / "mine").path == tmp_path / "mine"

    assert call(monkeypatch, "verify", url) == 0
    assert call(monkeypatch, "status", url, "--digest") == 0
    assert expected.digest in capsys.readouterr().out


def test_a_run_in_a_bucket_is_sealed_and_opened_again(tiny: Plan, url: str) -> None:
    store = prepare(tiny, url)
    expected = run(tiny, store).digest
    records = ibstats.open_store(url).records
    found = seal(store, piece=2)
    assert len(found.pieces) == 3
    assert not store.folder.sizes("ledger")
    again = ibstats.open_store(url)
    assert {name: tuple(its) for name, its in again.records.items()} == records
    assert again.snapshot() == summary(tiny, store).digest == expected
    assert (run(tiny, prepare(tiny, url)).made, verify(tiny, store)) == (0, [])
    assert unseal(store) == len(list(tiny.blocks()))
    assert not store.folder.sizes("sealed")
    assert dict(ibstats.open_store(url).records) == records


def test_small_blocks_in_a_bucket_are_merged_and_split_again(tiny: Plan, url: str) -> None:
    store = prepare(tiny, url)
    expected = run(tiny, store).digest
    group, data = "toy-masked/noise", store.folder.zarr("data.zarr", read_only=True)
    before = store.folder.found(store.folder.sizes("data.zarr"))
    samples = ibstats.open_store(url).dataset("toy-masked", "noise").load()
    plain = xr.open_zarr(data, group=group, consolidated=False, chunks=None).load()
    seal(store, merge=True)
    assert len(store.folder.sizes(f"data.zarr/{group}/image")) == 2
    again = ibstats.open_store(url)
    assert again.snapshot() == expected
    assert again.dataset("toy-masked", "noise").load().identical(samples)
    assert not [said for _, said in again.verify() if said]
    assert xr.open_zarr(data, group=group, consolidated=False, chunks=None).identical(plain)
    unseal(SampleStore.open(url))
    assert store.folder.found(store.folder.sizes("data.zarr")) == before


def test_the_requests_of_a_block_are_as_few_as_they_were(
    tiny: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is paid and waited for; whoever adds one says so here."""
    seen: list[str] = []
    with server(seen) as address:
        credentials(monkeypatch, address)
        store = prepare(tiny, "s3://bucket/run")
        model = load(tiny, "toy-masked", "cpu")
        first, second = list(tiny.blocks())[:2]
        assert make_block(tiny, store, model, first, device="cpu") == "made"
        seen.clear()
        assert make_block(tiny, store, model, second, device="cpu") == "made"
        assert Counter(seen) == REQUESTS


def test_what_is_spoiled_on_the_way_is_refused_and_made_again(
    tiny: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled: list[str] = []

    def spoil(path: str, content: bytes) -> bytes:
        if path.endswith("tokens/c.0.1.0.0.0") and not spoiled:
            spoiled.append(path)
            return bytes([content[0] ^ 1]) + content[1:]
        return content

    with server(on_the_way=spoil) as address:
        credentials(monkeypatch, address)
        store = prepare(tiny, "s3://bucket/spoiled")
        first = run(tiny, store)
        assert (first.failed, len(spoiled)) == (1, 1)
        assert "BadDigest" in first.first_error
        again = run(tiny, store)
        assert (again.made, again.failed) == (1, 0)
        assert again.digest == run(tiny, prepare(tiny, tmp_path / "run")).digest
        assert verify(tiny, store) == []


def test_an_object_that_another_writes_before_the_commit_is_noticed(
    tiny: Plan, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = prepare(tiny, url)
    model = load(tiny, "toy-masked", "cpu")
    block = next(tiny.blocks())
    commit = SampleStore.commit

    def late(self: SampleStore, block: Block, record: BlockRecord) -> None:
        (victim,) = self.object_keys(block, "tokens")
        self.folder.replace(f"data.zarr/{victim}", b"of another attempt")
        commit(self, block, record)

    monkeypatch.setattr(SampleStore, "commit", late)
    assert make_block(tiny, store, model, block, device="cpu") == "failed"
    assert "changed while it was committed" in store.claims.why_failed(block)
    assert not store.ledger.is_done(block)
    monkeypatch.setattr(SampleStore, "commit", commit)
    assert make_block(tiny, store, model, block, device="cpu") == "made"


def test_damage_in_a_bucket_is_found_and_exactly_its_block_is_made_again(
    tiny: Plan, url: str
) -> None:
    store = prepare(tiny, url)
    whole = run(tiny, store).digest
    blocks = list(tiny.blocks())
    victims = {"tokens": b"", "image": None, "token_step": b"x" * 40}
    for block, (name, content) in zip(blocks, victims.items(), strict=False):
        (victim,) = store.object_keys(block, name)
        if content is None:
            store.folder.remove(f"data.zarr/{victim}")
        else:
            store.folder.replace(f"data.zarr/{victim}", content)
    before = store.ledger.read_all(blocks)
    found = verify(tiny, store, repair=True)
    assert [problem.split(":")[0].split("/")[2] for problem in found] == list(victims)
    again = run(tiny, store)
    assert (again.made, again.digest) == (3, whole)
    after = store.ledger.read_all(blocks)
    assert [block for block in blocks if after[block].attempt != before[block].attempt] == blocks[
        :3
    ]


def test_two_that_make_one_store_at_once_commit_each_block_once(
    tiny: Plan, url: str, tmp_path: Path
) -> None:
    prepare(tiny, url)
    made: list[int] = []
    both_ready = threading.Barrier(2)

    def make() -> None:
        store = SampleStore.open(url)
        both_ready.wait(60)
        made.append(run(tiny, store).made)

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = SampleStore.open(url)
    assert sum(made) == 5
    assert all(made), "one of them did everything, so this tested nothing"
    assert verify(tiny, store) == []
    assert summary(tiny, store).digest == run(tiny, prepare(tiny, tmp_path / "run")).digest


def test_a_claim_of_a_host_that_is_silent_is_taken_over(tiny: Plan, url: str) -> None:
    store = prepare(tiny, url)
    block = next(tiny.blocks())
    store.claims.claim(block, "elsewhere")
    owner = json.loads(store.folder.read(key("claims", block)))
    store.folder.replace(key("claims", block), json.dumps(owner | {"machine": "another"}).encode())
    assert not store.claims.claim(block, "here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("generate.store.claims.LEASE_SECONDS", -1.0)
        patch.setattr("generate.store.claims.WATCH_SECONDS", -1.0)
        assert store.claims.claim(block, "here")


def test_a_url_that_cannot_be_used_ends_in_one_line(
    study_file: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "run", study_file, "--out", "s3://nowhere/run", "--device", "cpu") == 1
    printed = capsys.readouterr().err.strip().splitlines()[-1]
    assert printed.startswith("error: 's3://nowhere/run' cannot be used")
    assert call(monkeypatch, "status", url) == 1
    assert f"'{url}' has no run.json" in capsys.readouterr().err
    with pytest.raises(ibstats.IbstatsError, match=r"has no run\.json"):
        ibstats.open_store(url)
    with pytest.raises(ibstats.IbstatsError, match="NoSuchBucket"):
        ibstats.open_store("s3://nowhere/run")
