"""Files are written whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from schemas.io.files import file_sha256, whole_file, whole_folder, write_whole


def fail_halfway(file: Path) -> None:
    """Write a part of a file, then stop."""
    with whole_file(file) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("halfway")


def fail_inside(folder: Path) -> None:
    """Make a folder, then stop."""
    with whole_folder(folder) as temporary:
        temporary.mkdir()
        raise RuntimeError("halfway")


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than one piece
    (tmp_path / "a").write_bytes(content)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("content", ["naïve", "naïve".encode()])
def test_a_file_is_written_with_its_folder(tmp_path: Path, content: str | bytes) -> None:
    write_whole(tmp_path / "new" / "a.txt", content)
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "naïve"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_a_file_that_fails_halfway_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway(file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    with whole_file(file) as first, whole_file(file) as second:
        assert first != second
        assert first.suffix == second.suffix == ".npz"
        first.write_text("first")
        second.write_text("second")
    assert file.read_text() == "first"  # the outer block ended last


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "old").write_text("old")
    with whole_folder(folder) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
        assert (folder / "old").is_file()
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_a_folder_that_fails_halfway_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    with pytest.raises(RuntimeError, match="halfway"):
        fail_inside(folder)
    assert list(tmp_path.iterdir()) == [folder]
