"""The gallery shows every figure that there is, as its script makes it, and stays small."""

from __future__ import annotations

import re
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from ibstats.report.figures import canvas
from tests.ibstats.figures.documents import drawn, factorial, of_bits, of_images, tree
from tests.source import ROOT, program

MOST_BYTES = 1_000_000
VARIANTS = {"positions-shannon"}
"""Figures that look like another one of the gallery."""

MODELS = re.compile(r"-(first|second|trio-\w+)(?=-|$)")


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    return program("docs/draw_gallery.py")


def test_the_page_is_that_of_its_script(gallery: ModuleType) -> None:
    assert gallery.PAGE.read_text(encoding="utf-8") == gallery.page()


def test_every_picture_is_there_and_all_are_small(gallery: ModuleType) -> None:
    files = {file.name: file for file in gallery.FOLDER.iterdir()}
    assert set(files) == {f"{entry.name}.png" for entry in gallery.ENTRIES}
    assert sum(file.stat().st_size for file in files.values()) <= MOST_BYTES
    for name, file in files.items():
        with Image.open(file) as picture:
            assert picture.format == "PNG"
            assert picture.width >= canvas.WIDTH * canvas.STYLE["savefig.dpi"] - 1, name


def test_a_smaller_picture_keeps_grey_letters_grey_beside_a_map(gallery: ModuleType) -> None:
    """Few letters and many shades from blue to yellow, as a map and its note have them."""
    shades = np.linspace((0, 34, 78), (254, 232, 56), 400).round().astype(np.uint8)
    picture = np.full((400, 400, 3), 255, np.uint8)
    picture[40:] = shades
    picture[:20, :200] = np.arange(60, 260)[:, None].clip(0, 255)
    small = np.asarray(gallery.reduced(Image.fromarray(picture)).convert("RGB"))
    assert np.abs(small.astype(int) - picture).max() <= 16
    assert np.ptp(small[:20].astype(int), axis=-1).max() <= 16


def test_every_kind_of_figure_of_a_factorial_is_in_it(gallery: ModuleType) -> None:
    made = of_images(of_bits(factorial(3)))
    wanted = {MODELS.sub("", name) for name in drawn(made, tree(made))} - VARIANTS
    shown = {MODELS.sub("", entry.name) for entry in gallery.ENTRIES}
    assert wanted <= shown
    of_paper = re.findall(r"^## .*\(Fig\. ([\d a-cto,]+)\)$", gallery.page(), re.MULTILINE)
    assert of_paper == ["1", "2", "3", "4", "5a", "5b", "5c", "6", "7", "8, 9", "10", "11 to 13"]


def test_every_entry_names_the_module_that_draws_it(gallery: ModuleType) -> None:
    for entry in gallery.ENTRIES:
        assert (ROOT / gallery.FIGURES / f"{entry.module}.py").is_file()
