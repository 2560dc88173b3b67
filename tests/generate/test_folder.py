"""A folder and a bucket keep the same promises."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from zarr.core.buffer import default_buffer_prototype

from schemas.io import folder as folders
from schemas.io.folder import Folder, LocalFolder, folder
from schemas.io.refused import FolderError
from tests.generate.s3 import credentials, server


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with server() as address:
        yield address


@pytest.fixture(params=["folder", "bucket"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> Folder:
    credentials(monkeypatch, address)
    return folder(tmp_path if request.param == "folder" else f"s3://bucket/{uuid.uuid4().hex}")


def test_an_object_is_made_once_and_read_as_it_was_written(place: Folder) -> None:
    place.create("a/b.json", b"first")
    with pytest.raises(FileExistsError):
        place.create("a/b.json", b"second")
    assert place.read("a/b.json") == b"first"
    place.replace("a/b.json", b"third")
    assert (place.read("a/b.json"), place.size("a/b.json"), place.exists("a/b.json")) == (
        b"third",
        5,
        True,
    )
    assert -5 < place.age("a/b.json") < 60
    place.remove("a/b.json")
    place.remove("a/b.json")
    assert (place.size("a/b.json"), place.exists("a/b.json")) == (None, False)
    for look in (place.read, place.age):
        with pytest.raises(FileNotFoundError):
            look("a/b.json")


def test_objects_are_listed_by_what_their_keys_begin_with(place: Folder) -> None:
    for key in ("a/x.json", "a/deep/y.json", "ab/z.json"):
        place.create(key, key.encode())
    assert place.sizes("a") == {"a/x.json": 8, "a/deep/y.json": 13}
    assert place.sizes("nothing") == {}
    assert place.found(["a/x.json", "gone", "ab/z.json"]) == {
        "a/x.json": b"a/x.json",
        "ab/z.json": b"ab/z.json",
    }


def test_of_many_that_create_one_key_at_once_one_succeeds(place: Folder) -> None:
    """The promise that a block is committed once rests on this."""
    for attempt in range(5):
        made, start = [], threading.Barrier(8)

        def create(
            writer: int,
            key: str = f"race-{attempt}",
            made: list[int] = made,
            start: threading.Barrier = start,
        ) -> None:
            start.wait()
            try:
                place.create(key, b"%d" % writer * 100)
                made.append(writer)
            except FileExistsError:
                pass

        threads = [threading.Thread(target=create, args=(writer,)) for writer in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 1
        assert place.read(f"race-{attempt}") == b"%d" % made[0] * 100


def test_a_disk_without_hard_links_makes_an_object_once_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT and some shares: what `link` says there."""

    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    place = LocalFolder(tmp_path)
    made, start = [], threading.Barrier(8)

    def create(writer: int) -> None:
        start.wait()
        try:
            place.create("a/claim", b"%d" % writer * 100)
            made.append(writer)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=create, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert place.read("a/claim") == b"%d" % made[0] * 100
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["claim"]


def test_a_key_that_others_make_and_remove_is_taken_or_made(place: Folder) -> None:
    """A claim may be given back between the refusal of another's and the look at whose it is."""
    problems: list[object] = []

    def take_turns(writer: int) -> None:
        for turn in range(40):
            mine = b"turn %d of %d" % (turn, writer)
            try:
                place.create("claim", mine)
                if (found := place.read("claim")) != mine:
                    problems.append((mine, found))
                place.remove("claim")
            except FileExistsError:
                continue
            except Exception as error:
                problems.append(error)

    threads = [threading.Thread(target=take_turns, args=(writer,)) for writer in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_the_same_content_sent_twice_is_no_conflict_in_a_bucket(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a conditional put may be lost after the object was made; the client then sends it again."""
    credentials(monkeypatch, address)
    place = folder(f"s3://bucket/{uuid.uuid4().hex}")
    place.create("record", b"attempt 1")
    place.create("record", b"attempt 1")
    with pytest.raises(FileExistsError):
        place.create("record", b"attempt 2")


NEIGHBOURS = [
    ("marks/c.4.6", "marks/c.4.5"),
    ("marks/c.4", "marks/c.4.5"),
    ("tokens/c.4.50.0.0", "tokens/c.4.5.0.0"),
    ("tokens/c.4.5.0.1", "tokens/c.4.5.0.0"),
    ("claims/c4.json", "claims/c4"),
]


@pytest.mark.parametrize(
    ("written", "removed"), [*NEIGHBOURS, *(pair[::-1] for pair in NEIGHBOURS)]
)
@pytest.mark.parametrize("by_zarr", [True, False], ids=["zarr", "ours"])
def test_an_object_that_is_being_written_survives_that_another_is_removed(
    place: Folder, monkeypatch: pytest.MonkeyPatch, written: str, removed: str, by_zarr: bool
) -> None:
    """Blocks of a condition are made by several processes, and one is withdrawn and made again."""
    put_in_place = {"replace": Path.replace, "rename": Path.rename}

    def removing_first(name: str) -> Callable[[Path, Path], Path]:
        def act(temporary: Path, path: Path) -> Path:
            place.remove(removed)
            return put_in_place[name](temporary, path)

        return act

    for name in put_in_place:
        monkeypatch.setattr(Path, name, removing_first(name))
    if by_zarr:
        under, _, key = written.partition("/")
        put_by_zarr(place, under, key)
    else:
        place.replace(written, b"whole")
    assert place.read(written) == b"whole"


def put_by_zarr(place: Folder, under: str, key: str) -> None:
    content = default_buffer_prototype().buffer.from_bytes(b"whole")
    asyncio.run(place.zarr(under, read_only=False).set(key, content))


@pytest.mark.parametrize("key", ["../secret", "a/../../secret", "/etc/passwd"])
def test_a_key_that_leads_out_of_a_folder_names_nothing(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "run").mkdir()
    place = LocalFolder(tmp_path / "run")
    assert not place.exists(key)
    with pytest.raises(FileNotFoundError, match="leads out of"):
        place.read(key)
    with pytest.raises(FileNotFoundError, match="leads out of"):
        place.create(key, b"")


def test_what_is_wrong_with_a_url_is_said_in_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials(monkeypatch, address)
    with pytest.raises(
        FolderError, match=r"'s3://nowhere/run' cannot be used .*NoSuchBucket"
    ) as error:
        folder("s3://nowhere/run").create("a", b"")
    assert "\n" not in str(error.value)
    with pytest.raises(FolderError, match="'ftp://host/run' cannot be used"):
        folder("ftp://host/run")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(folders, "RETRIES", 1)
    with pytest.raises(
        FolderError, match=r"'s3://bucket/run' cannot be used .*127\.0\.0\.1:9.*check the URL"
    ) as error:
        folder("s3://bucket/run").read("a")
    assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)
    with pytest.raises(
        FolderError, match=r"needs the package obstore.* pip install 'ibstats\[remote\]'"
    ):
        folder("s3://bucket/run")
