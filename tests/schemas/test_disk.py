"""What a disk refuses is one line that names the place, what is free and what is needed."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from schemas.errors import DiskError, DiskFullError
from schemas.io.disk import BROKEN, FULL, disk_told
from schemas.io.folder import LocalFolder
from schemas.io.refused import refusal


@pytest.mark.parametrize("number", sorted(FULL))
def test_a_full_disk_says_what_is_free_and_needed(tmp_path: Path, number: int) -> None:
    where = LocalFolder(tmp_path / "not yet")
    said = r"no room in .*MB free, 3.00 MB needed"
    with pytest.raises(DiskFullError, match=said) as caught, disk_told(where, 3_000_000):
        raise OSError(number, os.strerror(number))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", sorted(BROKEN))
def test_a_broken_disk_is_told_apart_from_a_full_one(tmp_path: Path, number: int) -> None:
    with pytest.raises(DiskError, match="failed") as caught, disk_told(tmp_path):
        raise OSError(number, os.strerror(number))
    assert not isinstance(caught.value, DiskFullError)


def test_what_is_no_error_of_the_disk_passes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_told(tmp_path):
        (tmp_path / "no").read_bytes()


def test_the_kernel_refuses_a_file_that_may_not_grow(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(DiskFullError), disk_told(tmp_path):
            (tmp_path / "file").write_bytes(b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("number", sorted(FULL | {errno.EIO, errno.EMFILE, errno.ENOMEM}))
def test_an_error_without_a_file_has_its_line_too(number: int) -> None:
    said = refusal(OSError(number, os.strerror(number)))
    assert said is not None
    assert said.startswith(os.strerror(number).lower())
