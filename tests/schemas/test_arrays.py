"""Arrays in files of anybody: as they were written, or one line; nothing inflates beyond what it says."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from schemas.io.arrays import (
    UnreadableArrays,
    array_names,
    read_array,
    read_arrays,
    read_sealed,
    write_sealed,
)
from tests.faults.damages import DAMAGES

ARRAYS = {
    "a": np.arange(6.0).reshape(2, 3),
    "names": np.array(["x", "yz"]),
    "none": np.zeros((0, 3)),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "one": np.array(7),
}


def header(shape: tuple[int, ...]) -> bytes:
    """The beginning of a .npy file of doubles of any shape."""
    stream = io.BytesIO()
    about = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, about)
    return stream.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_as_numpy_reads_them(tmp_path: Path, save: object) -> None:
    file = tmp_path / "a.npz"
    save(file, **ARRAYS)  # type: ignore[operator]
    assert array_names(file) == list(ARRAYS)
    with np.load(file) as expected:
        for name, values in read_arrays(file).items():
            np.testing.assert_array_equal(values, expected[name], strict=True)
    assert list(read_arrays(file, ["a", "absent"])) == ["a"]
    np.save(tmp_path / "a.npy", ARRAYS["columns"])
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), ARRAYS["columns"], strict=True)


@pytest.mark.parametrize("shape", [(10**6, 10**6), (10**4, 10), (1,)])
def test_a_header_that_says_more_or_less_than_there_is_takes_no_memory(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    content = header(shape) + bytes(80)
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(UnreadableArrays, match=r"it has \d+ bytes, but its header says \d+"):
        read_array(tmp_path / "a.npy")
    with pytest.raises(UnreadableArrays, match=r"it has \d+ bytes, but its header says \d+"):
        read_arrays(tmp_path / "a.npz")


def test_a_member_that_inflates_beyond_what_the_archive_says_is_refused(tmp_path: Path) -> None:
    """The directory of a zip says how long a member is, and the bytes of it may inflate to more."""
    file = tmp_path / "a.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header((10,)) + bytes(10**7))
    said, shown = (10**7 + len(header((10,)))), 80 + len(header((10,)))
    content = file.read_bytes()
    file.write_bytes(content.replace(said.to_bytes(4, "little"), shown.to_bytes(4, "little")))
    with pytest.raises(UnreadableArrays, match="Bad CRC-32"):
        read_arrays(file)


def test_what_would_not_fit_into_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10**5))
    monkeypatch.setattr("schemas.io.arrays.np.lib.format.read_array", None)
    monkeypatch.setattr(
        "schemas.io.arrays.psutil.virtual_memory", lambda: type("Free", (), {"available": 10})
    )
    with pytest.raises(UnreadableArrays, match=r"it would take 0\.0 GB, and 0\.0 GB are free"):
        read_arrays(tmp_path / "a.npz")


def test_objects_and_what_is_no_file_of_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableArrays, match="it holds objects"):
        read_arrays(tmp_path / "a.npz")
    for content in (b"", b"<html>", b"PK\x03\x04"):
        (tmp_path / "b.npz").write_bytes(content)
        for read in (read_arrays, array_names, read_array):
            with pytest.raises(UnreadableArrays, match=r"b\.npz' cannot be read \(.+\)"):
                read(tmp_path / "b.npz")


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_sealed_is_given_as_it_was_or_not_at_all(tmp_path: Path, damage: str) -> None:
    for name in ("a", "b"):
        write_sealed(tmp_path / f"{name}.npz", {"x": np.full(30, ord(name)), "y": np.ones(3)})
    content = (tmp_path / "a.npz").read_bytes()
    refused = 0
    for seed in range(30):
        DAMAGES[damage](tmp_path / "a.npz", random.Random(seed))
        try:
            found = read_sealed(tmp_path / "a.npz")
        except UnreadableArrays:
            refused += 1
        else:
            np.testing.assert_array_equal(found["x"], np.full(30, ord("a")))
        write_sealed(tmp_path / "b.npz", {"x": np.full(30, ord("b")), "y": np.ones(3)})
        (tmp_path / "a.npz").write_bytes(content)
    assert refused >= 15
