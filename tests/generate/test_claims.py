"""Who is believed to work on a block: the living of this machine, and those whose claim changes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from generate.errors import StoreError
from generate.run.preparing import prepare
from generate.store import claims as module
from generate.store.claims import Claims, key, machine_id
from generate.study.planning import Plan
from schemas.io.folder import LocalFolder
from schemas.io.layout import CREATION
from schemas.store import Block

BLOCK = Block("toy", "factorial", condition=0, index=0, start=0, stop=1)


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    return Claims(LocalFolder(tmp_path))


def changed(claims: Claims, **values: object) -> Path:
    """The file of a claim of this process, with other values."""
    claims.claim(BLOCK, "theirs")
    file = Path(str(claims.folder)) / key("claims", BLOCK)
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    return file


def test_a_living_process_of_this_machine_is_believed_whatever_the_clock_says(
    claims: Claims,
) -> None:
    file = changed(claims)
    for moment in (0.0, time.time() + 86400):
        os.utime(file, (moment, moment))
        assert not claims.claim(BLOCK, "ours")


@pytest.mark.parametrize("values", [{"process_started": 1.0}, {"pid": 2**22 + 1}])
def test_a_dead_process_of_this_machine_is_not(claims: Claims, values: dict[str, object]) -> None:
    changed(claims, **values)
    assert claims.claim(BLOCK, "ours")


@pytest.mark.parametrize("shift", [-86400.0, 86400.0, 0.0], ids=["behind", "ahead", "equal"])
def test_a_claim_of_another_machine_is_judged_by_its_change(
    claims: Claims, monkeypatch: pytest.MonkeyPatch, shift: float
) -> None:
    """The container of the same host name, and the machine whose clock is a day off."""
    moment = 1000.0
    monkeypatch.setattr("generate.store.claims.time.monotonic", lambda: moment)
    for beat in range(5):
        file = changed(claims, machine="another", beats=beat)
        os.utime(file, (time.time() + shift, time.time() + shift))
        assert not claims.claim(BLOCK, "ours"), "it beats"
        moment += module.WATCH_SECONDS - 1
    moment += module.LEASE_SECONDS
    assert claims.claim(BLOCK, "ours"), "it has stopped"


def test_what_was_left_long_ago_is_watched_before_it_is_swept(
    claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 1000.0

    def sleep(seconds: float) -> None:
        nonlocal moment
        moment += seconds

    monkeypatch.setattr("generate.store.claims.time.monotonic", lambda: moment)
    monkeypatch.setattr("generate.store.claims.time.sleep", sleep)
    os.utime(changed(claims, machine="another"), (0, 0))
    assert claims.sweep() == 1
    assert claims.sweep() == 0


@pytest.mark.parametrize("shift", [-86400.0, 86400.0], ids=["behind", "ahead"])
def test_the_age_of_a_claim_is_by_the_clock_of_its_disk(
    claims: Claims, monkeypatch: pytest.MonkeyPatch, shift: float
) -> None:
    """A clock that is behind would let the claim of a dead machine look young for a day."""
    changed(claims, machine="another")
    here = time.time()
    monkeypatch.setattr("time.time", lambda: here + shift)
    assert -5 < claims.folder.age(key("claims", BLOCK)) < 60
    assert sorted(claims.folder.sizes("claims")) == [key("claims", BLOCK)]


def test_a_machine_that_died_while_laying_out_a_run_does_not_hold_it_for_ever(
    toy_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that was killed, say: its process ids mean nothing to the next one."""
    root, moment = tmp_path / "run", 1000.0
    claims = Claims(LocalFolder(root))
    claims.claim(CREATION, "theirs")
    file = root / key("claims", CREATION)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"machine": "another"}))

    def sleep(seconds: float) -> None:
        nonlocal moment
        moment += seconds

    monkeypatch.setattr("generate.store.claims.time.monotonic", lambda: moment)
    monkeypatch.setattr("generate.store.claims.time.sleep", sleep)
    with pytest.raises(StoreError, match=r"is laying out .*, or, if it died, five minutes"):
        prepare(toy_plan, root)
    os.utime(file, (0, 0))
    prepare(toy_plan, root)
    assert not file.exists()


def test_a_claim_that_was_taken_over_is_not_given_back_by_its_first_owner(claims: Claims) -> None:
    with claims.claimed(BLOCK) as attempt:
        assert attempt is not None
        changed(claims, attempt="another", machine="another")
    assert claims.owner(BLOCK)["attempt"] == "another"


def test_this_machine_has_one_name_for_all_its_processes() -> None:
    assert machine_id() == machine_id.__wrapped__()
