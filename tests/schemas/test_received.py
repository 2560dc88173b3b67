"""A run that somebody else made reads no file of ours, and inflates to what it says it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from numcodecs.zstd import Zstd

from schemas.errors import CorruptStore, StoreError
from schemas.io.folder import LocalFolder
from schemas.io.received import content_size, guard, refuse_links_out


@pytest.mark.parametrize("size", [1, 200, 255, 256, 300, 65791, 65792, 10**6, 5 * 10**6])
def test_the_size_of_a_frame_is_read_from_its_header(size: int) -> None:
    for codec in (Zstd(level=3, checksum=True), Zstd(level=1)):
        assert content_size(bytes(codec.encode(b"x" * size))[:18]) == size


def test_what_is_no_frame_has_no_size() -> None:
    for content in (b"", b"x" * 30, b"\x28\xb5\x2f\xfd"):
        assert content_size(content) is None


@pytest.mark.parametrize("shards", [None, (8,)])
def test_a_chunk_that_would_inflate_beyond_its_array_is_refused(
    tmp_path: Path, shards: tuple[int] | None
) -> None:
    guard(LocalFolder(tmp_path))
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=(8,),
        chunks=(4,),
        shards=shards,
        dtype="uint8",
        compressors=zarr.codecs.ZstdCodec(level=3, checksum=True),
    )
    array[:] = np.arange(8, dtype="uint8")
    assert zarr.open_array(tmp_path / "a.zarr")[:].tolist() == list(range(8))
    if shards is not None:
        return
    bomb = bytes(Zstd(level=19).encode(bytes(10**8)))
    (tmp_path / "a.zarr" / "c" / "1").write_bytes(bomb)
    with pytest.raises(CorruptStore, match="at most 4 bytes would inflate to 100000000"):
        zarr.open_array(tmp_path / "a.zarr")[:]


def test_texts_are_read_as_before(tmp_path: Path) -> None:
    guard(LocalFolder(tmp_path))
    array = zarr.create_array(
        tmp_path / "t.zarr",
        shape=(2,),
        dtype=str,
        compressors=zarr.codecs.ZstdCodec(level=3, checksum=True),
    )
    array[:] = np.array(["a" * 1000, "b"], dtype=np.dtypes.StringDType())
    assert [str(text) for text in zarr.open_array(tmp_path / "t.zarr")[:]] == ["a" * 1000, "b"]


def test_a_link_out_of_a_run_is_refused_and_one_within_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    run = tmp_path / "run"
    (run / "data").mkdir(parents=True)
    (run / "data" / "a").write_text("a")
    (run / "within").symlink_to("data")
    refuse_links_out(run)
    (tmp_path / "named").symlink_to(run)
    refuse_links_out(tmp_path / "named")
    for name, target in (("data/b", "../../secret"), ("results", tmp_path)):
        (run / name).symlink_to(target)
        with pytest.raises(StoreError, match="is a link out of the run"):
            refuse_links_out(run)
        (run / name).unlink()
