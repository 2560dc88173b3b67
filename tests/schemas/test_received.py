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
    for name, target in (("data/b", "../../secret"), ("results", tmp_path), ("x", tmp_path)):
        (run / name).symlink_to(target)
        with pytest.raises(StoreError, match="is a link out of the run"):
            refuse_links_out(run)
        (run / name).unlink()


def test_results_may_be_a_link_of_the_users_own_to_where_nothing_else_is(tmp_path: Path) -> None:
    """To a larger disk, say; but no run that was received can have us write among other files."""
    run, disk = tmp_path / "run", tmp_path / "disk"
    (run / "inside").mkdir(parents=True)
    disk.mkdir()
    link = run / "results"
    link.symlink_to("inside")
    refuse_links_out(run)
    link.unlink()
    link.symlink_to(disk)
    refuse_links_out(run)
    (disk / "analyses").mkdir()
    (disk / "results.json").write_text("{}")
    (disk / f".results.{'0' * 32}.json").write_text("left by a kill")
    refuse_links_out(run)
    (disk / "analyses" / "out").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="analyses/out' is a link out of the run"):
        refuse_links_out(run)
    (disk / "analyses" / "out").unlink()
    for name in ("thesis.tex", ".ssh"):
        (disk / name).write_text("mine")
        with pytest.raises(StoreError, match=rf"results' is a link .*, which holds '{name}'"):
            refuse_links_out(run)
        (disk / name).unlink()
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="is a link out of the run"):
        refuse_links_out(run)
