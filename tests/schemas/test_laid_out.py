"""A hierarchy and its record: whoever is killed or stopped at whichever step, nothing is replaced."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr
from zarr.abc.store import Store

from schemas.io import laid_out
from schemas.io.folder import LocalFolder
from schemas.io.laid_out import PENDING, finish, lay_out

UNDER, RECORD = "a/data.zarr", "a/record.json"


class Stopped(BaseException):
    """The process ends here."""


def make(where: LocalFolder, name: str) -> None:
    def write(store: Store) -> None:
        zarr.open_group(store, mode="w", zarr_format=3).attrs["name"] = name

    lay_out(where, UNDER, RECORD, write, lambda objects: name.encode())


def name_there(where: LocalFolder) -> Any:
    return zarr.open_group(where.zarr(UNDER, read_only=True), mode="r").attrs["name"]


@pytest.fixture
def where(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path)


def test_what_is_recorded_stays(where: LocalFolder) -> None:
    make(where, "first")
    with pytest.raises(FileExistsError):
        make(where, "second")
    assert (name_there(where), where.read(RECORD)) == ("first", b"first")
    assert sorted(where.sizes("a")) == [f"{UNDER}/zarr.json", RECORD]
    assert [path.name for path in (where.root / "a").iterdir() if path.name[0] == "."] == []
    assert not (where.root / UNDER / PENDING).exists()


@pytest.mark.parametrize("step", ["sync_folder", "_put_in_place", "sync"])
def test_a_maker_that_is_stopped_at_a_step_and_goes_on_replaces_nothing(
    where: LocalFolder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The late one wakes after another has made, recorded and filled the same hierarchy."""
    waiting, woken = threading.Event(), threading.Event()
    original: Callable[..., Any] = getattr(laid_out, step)
    late_name = "late"
    ended: list[BaseException] = []

    def stop(*arguments: Any) -> Any:
        if threading.current_thread().name == late_name:
            waiting.set()
            assert woken.wait(30)
        return original(*arguments)

    def late() -> None:
        try:
            make(where, "late")
        except BaseException as error:
            ended.append(error)

    monkeypatch.setattr(laid_out, step, stop)
    sleeper = threading.Thread(target=late, name=late_name)
    sleeper.start()
    assert waiting.wait(30)
    try:
        make(where, "quick")
    except FileExistsError:
        finish(where, UNDER, RECORD)
    record = where.read(RECORD).decode()
    filled = where.root / UNDER / "block"
    filled.write_bytes(b"committed")
    woken.set()
    sleeper.join()
    assert filled.read_bytes() == b"committed"
    assert (name_there(where), where.read(RECORD).decode()) == (record, record)
    assert all(isinstance(error, FileExistsError) for error in ended)


@pytest.mark.parametrize("step", ["sync_folder", "_put_in_place", "sync"])
def test_a_maker_that_is_killed_at_a_step_leaves_a_place_to_go_on(
    where: LocalFolder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def killed(*arguments: Any) -> Any:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(laid_out, step, killed)
        patch.setattr(laid_out.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Stopped):
            make(where, "killed")
    finish(where, UNDER, RECORD)
    if where.exists(RECORD):
        assert step == "sync"
    else:
        make(where, "next")
    assert name_there(where) == where.read(RECORD).decode()


def test_what_an_older_version_left_without_a_record_is_replaced(where: LocalFolder) -> None:
    place = where.root / UNDER
    place.mkdir(parents=True)
    (place / "half").write_text("of it")
    make(where, "new")
    assert name_there(where) == "new"
    assert not (place / "half").exists()
