"""Pictures of every kind: each size, pixel mode, orientation and folder has a stated rule."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from ibstats.errors import IbstatsError
from ibstats.measure.reference_set import prepare
from ibstats.measure.reference_set.pictures import (
    FIRST_FRAME,
    NOTES,
    OVER_WHITE,
    PLAIN,
    SCALED,
    SIXTEEN_BIT,
    TRANSPARENT,
    TURNED,
    pictures_of,
    rgb,
)
from ibstats.measure.reference_set.sources import images_in

RAMP = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)


def picture(where: Path, colour: str = "red", **settings: object) -> Path:
    where.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), colour).save(where, **settings)
    return where


def read(file: Path) -> Image.Image:
    return next(images_in([file]))[1]


def test_no_side_is_too_long_or_too_short_for_a_centre_crop() -> None:
    """Every shorter side from 1 to 640, to sizes that few of them divide."""
    for side in range(1, 641):
        upright, lying = Image.new("RGB", (side, side + 3)), Image.new("RGB", (side + 1, side))
        assert prepare(upright, (64, 64), "centre-crop").shape == (64, 64, 3)
        assert prepare(lying, (24, 17), "centre-crop").shape == (24, 17, 3)
    for side in (425, 428, 575, 581):
        assert prepare(Image.new("RGB", (640, side)), (256, 256), "centre-crop").shape == (
            256,
            256,
            3,
        )


@pytest.mark.parametrize("mode", Image.MODES)
def test_every_pixel_mode_has_a_rule_or_is_refused(mode: str) -> None:
    if mode in PLAIN | TRANSPARENT | SIXTEEN_BIT:
        assert rgb(Image.new(mode, (4, 4))).mode == "RGB"
        return
    with pytest.raises(IbstatsError, match=f"pixels are of mode '{mode}'"):
        rgb(Image.new(mode, (4, 4)))


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.pgm"])
def test_grey_of_sixteen_bits_keeps_its_ramp(tmp_path: Path, name: str) -> None:
    Image.fromarray(RAMP).save(tmp_path / name)
    found = read(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(found)[..., 0], np.rint(RAMP / 257))
    assert found.info[NOTES] == (SCALED,)


@pytest.mark.parametrize(
    "values", [RAMP.astype(np.int32), (RAMP / 65535).astype(np.float32)], ids=["int", "float"]
)
def test_numbers_without_a_white_are_refused_with_their_file(
    tmp_path: Path, values: np.ndarray
) -> None:
    Image.fromarray(values).save(tmp_path / "depth.tif")
    with pytest.raises(IbstatsError, match=r"depth\.tif': its pixels are of mode"):
        read(tmp_path / "depth.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_the_camera_was_held(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((8, 16, 3), dtype=np.uint8)
    upright[:4, :4] = 255
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "p.png", exif=exif)
    found = read(tmp_path / "p.png")
    np.testing.assert_array_equal(np.asarray(found), upright)
    assert (TURNED in found.info[NOTES]) == (orientation > 1)
    np.testing.assert_array_equal(np.asarray(rgb(found)), upright)


@pytest.mark.parametrize("name", ["p.png", "p.gif", "p.webp"])
def test_what_is_transparent_is_laid_over_white(tmp_path: Path, name: str) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / name, lossless=True)
    found = read(tmp_path / name)
    assert found.info[NOTES] == (OVER_WHITE,)
    assert np.asarray(found).min() == 255


def test_an_opaque_alpha_changes_nothing() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    found = rgb(Image.fromarray(colours).convert("RGBA"))
    np.testing.assert_array_equal(np.asarray(found), colours)
    assert found.info[NOTES] == ()


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif", "a.png"])
def test_of_several_frames_the_first_is_taken_and_said(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    found = read(tmp_path / name)
    assert found.info[NOTES] == (FIRST_FRAME,)
    assert np.asarray(found)[0, 0, 0] > 200


def test_hidden_files_and_folders_of_systems_are_passed_over_and_counted(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    picture(tmp_path / "deep" / "1.PNG")
    for debris in (".ipynb_checkpoints/0.png", "@eaDir/t.png", "__MACOSX/deep/0.png"):
        picture(tmp_path / debris)
    (tmp_path / "._0.png").write_bytes(b"no picture")
    (tmp_path / "paper.pdf").write_bytes(b"%PDF")
    (tmp_path / "data.h5").write_bytes(b"\x89HDF")
    (tmp_path / "notes.txt").write_text("nothing to count")
    found = pictures_of(tmp_path)
    assert [file.name for file in found.files] == ["0.png", "1.PNG"]
    assert found.passed_over == 6


def test_a_hidden_folder_that_is_named_is_read(tmp_path: Path) -> None:
    picture(tmp_path / ".cache" / "0.png")
    assert len(pictures_of(tmp_path / ".cache").files) == 1


def test_links_to_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    picture(tmp_path / "ref" / "a" / "0.png")
    picture(tmp_path / "elsewhere" / "1.png")
    (tmp_path / "ref" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "ref")
    (tmp_path / "ref" / "a" / "self").symlink_to(tmp_path / "ref" / "a")
    names = [
        str(file.relative_to(tmp_path / "ref")) for file in pictures_of(tmp_path / "ref").files
    ]
    assert names == ["a/0.png", "b/1.png"]


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    (tmp_path / "1.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(IbstatsError, match=r"1\.png' is a link to nothing"):
        pictures_of(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is readable to root")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    picture(tmp_path / "locked" / "1.png")
    (tmp_path / "locked").chmod(0)
    with pytest.raises(IbstatsError, match="locked' cannot be read"):
        pictures_of(tmp_path)
    (tmp_path / "locked").chmod(0o755)


@pytest.mark.parametrize("error", [KeyError("a"), IndexError(), TypeError("x\ny"), EOFError()])
def test_whatever_a_reader_of_pictures_raises_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(image: ImageFile.ImageFile) -> None:
        raise error

    file = picture(tmp_path / "0.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(IbstatsError, match=r"0\.png' is not a readable image") as told:
        read(file)
    assert "\n" not in str(told.value)
