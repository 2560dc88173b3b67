"""A file is as wide as its canvas, the same whatever else is written, and says what it cannot show."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ibstats.errors import IbstatsError
from ibstats.report.figures import FORMATS, canvas, draw
from ibstats.results.lookup import Numbers
from tests.ibstats.figures.documents import arms, drawn, factorial, tree

LONG = [f"a model of a rather long name, number {number}" for number in range(8)]


def boxes(figure: Any) -> list[list[float]]:
    return [axes.get_position().bounds for axes in figure.axes]


@pytest.mark.parametrize("models", [LONG[:1], LONG])
def test_a_figure_does_not_depend_on_the_formats_written_before(
    models: list[str], tmp_path: Path
) -> None:
    """A legend wider than the panels used to shrink them once more with every format."""
    made = factorial(3, models)
    name = "cells-ssim_dissimilarity"
    alone, among = drawn(made)[name], drawn(made)[name]
    with canvas.style(), warnings.catch_warnings():
        warnings.simplefilter("error")
        canvas.save(alone, tmp_path / "alone", ("svg",))
        canvas.save(among, tmp_path / "among", FORMATS)
    assert boxes(alone) == boxes(among)
    assert boxes(alone)[0][2] > 0.4
    assert (tmp_path / "alone.svg").read_bytes() == (tmp_path / "among.svg").read_bytes()


@pytest.mark.parametrize("kind", ["factorial", "subset_ratio", "enhancement", "argmax_window"])
def test_figures_of_eight_models_are_one_column_wide_and_cut_nothing_off(
    kind: str, tmp_path: Path
) -> None:
    made = factorial(3, LONG) if kind == "factorial" else arms(kind, LONG, n=12)
    with canvas.style(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, figure in drawn(made, tree(made)).items():
            if name.startswith("interaction"):
                continue
            canvas.save(figure, tmp_path / name, ("svg",))
            drawn_in: Any = figure.canvas
            inches = figure.get_tightbbox(drawn_in.get_renderer())
            assert inches.x0 > -0.02, name
            assert inches.x1 < canvas.WIDTH + 0.02, name
            assert max(box[2] for box in boxes(figure)) > 0.3, name
            text = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
            assert f'width="{canvas.WIDTH * 72:.1f}pt"' in text


def test_equal_data_give_equal_files(tmp_path: Path) -> None:
    numbers = Numbers(factorial())
    once = draw(numbers, None, tmp_path / "once")
    again = draw(numbers, None, tmp_path / "again")
    assert [file.name for file in once] == [file.name for file in again]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(once, again, strict=True))


def test_fonts_of_a_pdf_are_in_it(tmp_path: Path) -> None:
    with canvas.style():
        figure, panels = canvas.canvas(1.0)
        panels[0, 0].set_xlabel("letters")
        (file,) = canvas.save(figure, tmp_path / "letters", ("pdf",))
    content = file.read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content


def test_a_grid_is_made_of_shapes_not_of_a_blurred_image(tmp_path: Path) -> None:
    made = factorial()
    figure = drawn(made, tree(made))["positions"]
    figure.axes[-1].remove()  # a colour bar is an image of its own
    figure.axes[-1].remove()
    (file,) = canvas.save(figure, tmp_path / "positions", ("svg",))
    assert not re.search("<image", file.read_text(encoding="utf-8"))


def test_names_are_not_read_as_formulas(tmp_path: Path) -> None:
    made = arms("argmax_window", ["5$ or 6$", "a_b^c$"])
    with canvas.style():
        figure = drawn(made)["e"]
        (file,) = canvas.save(figure, tmp_path / "dollars", ("svg",))
    assert "<!-- 5$ or 6$ -->" in file.read_text(encoding="utf-8")


def test_letters_that_the_font_lacks_are_one_warning(tmp_path: Path) -> None:
    with canvas.style():
        figure, panels = canvas.canvas(1.0)
        panels[0, 0].set_title("\u732b\u72ac\u9ce5")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            canvas.note(figure, "two \u732b")
        with pytest.warns(UserWarning, match=r"boxes stand for letters") as given:
            canvas.save(figure, tmp_path / "cats", ("png", "svg"))
    assert len(given) == 1


def test_an_unknown_format_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(IbstatsError, match="unknown figure format 'gif'; known: png, pdf, svg"):
        draw(Numbers(factorial()), None, tmp_path / "figures", ("gif",))
    assert not (tmp_path / "figures").exists()


def test_a_point_without_an_interval_has_no_whiskers() -> None:
    points = [canvas.Point(1.0, 1.0, 1.0), canvas.Point(1.0, 1.2, 0.9)]
    np.testing.assert_array_equal(canvas.whiskers(points), np.zeros((2, 2)))


def test_series_beyond_the_colours_still_look_apart() -> None:
    assert len({canvas.look(number) for number in range(20)}) == 20
