"""Every figure can be read: no text is cut or covers another, in colour or grey, in every format alike."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image

from ibstats.errors import IbstatsError
from ibstats.report.figures import FORMATS, canvas, figures
from ibstats.results.lookup import Numbers
from schemas.results import Results
from tests.ibstats.figures.documents import arms, factorial, of_bits, of_images, tree

KINDS = ("factorial", "subset_ratio", "enhancement", "argmax_window", "paraphrase_length")
SIZE = re.compile(r"\d+( to \d+)? prompts × \d+( to \d+)? images")
TOUCH = 1.0
"""Pixels by which boxes of text, which are larger than their letters, may meet."""


def document(kind: str) -> Results:
    return of_images(of_bits(factorial(3)) if kind == "factorial" else arms(kind))


def made_of(kind: str, columns: int = 1) -> Iterator[tuple[str, Any]]:
    made = document(kind)
    with canvas.style(columns):
        yield from figures(Numbers(made), tree(made))


def texts(figure: Any) -> list[Text]:
    """What is written in a figure, but for ticks outside of their axis."""
    figure.canvas.draw()  # a legend places its texts when it is drawn
    found = []
    for one in figure.findobj(Text):
        if one.get_visible() and one.get_text().strip():
            found.append(one)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            shown = {
                id(tick) for tick in axis.get_ticklabels() if low <= _place(axis, tick) <= high
            }
            every = {id(tick) for tick in axis.get_ticklabels(which="both")}
            found = [one for one in found if id(one) not in every or id(one) in shown]
    return found


def _place(axis: Any, tick: Text) -> float:
    return tick.get_position()[0 if axis.axis_name == "x" else 1]


@pytest.mark.parametrize("columns", canvas.WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_text_is_cut_or_covers_another(kind: str, columns: int) -> None:
    n = 0
    for name, figure in made_of(kind, columns):
        assert figure.get_size_inches()[0] == canvas.WIDTHS[columns], name
        renderer = figure.canvas.get_renderer()
        whole = figure.bbox
        boxes = {}
        for one in texts(figure):
            box = one.get_window_extent(renderer)
            assert box.x0 >= whole.x0 - TOUCH, (name, one.get_text())
            assert box.x1 <= whole.x1 + TOUCH, (name, one.get_text())
            assert box.y0 >= whole.y0 - TOUCH, (name, one.get_text())
            assert box.y1 <= whole.y1 + TOUCH, (name, one.get_text())
            if one.get_rotation() in (0, 90):
                boxes[id(one), one.get_text()] = box
        for (first, a), (second, b) in itertools.combinations(boxes.items(), 2):
            wide = min(a.x1, b.x1) - max(a.x0, b.x0)
            high = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(wide, high) <= TOUCH, (name, first[1], second[1])
            n += 1
    assert n > 50


def test_text_that_covers_another_is_found() -> None:
    with canvas.style():
        figure, panels = canvas.canvas(1.0)
        for place in (0.5, 0.52):
            panels[0, 0].text(place, 0.5, "letters")
        found = [one for one in texts(figure) if one.get_text() == "letters"]
        a, b = (one.get_window_extent(figure.canvas.get_renderer()) for one in found)
    assert min(a.x1, b.x1) - max(a.x0, b.x0) > TOUCH


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_says_of_how_much_it_is_and_of_which_condition(kind: str) -> None:
    for name, figure in made_of(kind):
        notes = [one.get_text() for one in figure.texts if one.get_gid() == canvas.NOTE]
        assert len(notes) == 1, name
        said = notes[0].replace("\n", " ")
        assert SIZE.search(said), name
        assert "baseline: " in said, name
        everything = " ".join(one.get_text() for one in texts(figure)).replace("\n", " ")
        metrics = ("structural dissimilarity", "accuracy", "H(Z", "H2(Z", "attributes right")
        assert any(metric in everything for metric in metrics), name


def drawn_panels(columns: int) -> Any:
    """A figure of two panels with a legend and a note, whose panels stand at odd places."""
    with canvas.style(columns):
        figure, panels = canvas.stack(2, 1.0, 0.3)
        for number, panel in enumerate(panels):
            panel.plot([0, 1], [number, 3], label=f"series {number}")
            panel.set_ylabel("a label\nof two lines")
        figure.supxlabel("below")
        canvas.legend_of(figure, *panels)
        return canvas.note(figure, "a note of more than one line, " * 6)


def test_a_figure_of_two_columns_has_its_panels_side_by_side() -> None:
    """The one that stands alone in the last row leaves its neighbour above the names of its axis."""
    with canvas.style(2):
        figure, panels = canvas.stack(3, 1.0, 0.5, sharex=True)
        for panel in panels:
            canvas.beside(panel, ["one", "two"])
    assert figure.get_size_inches().tolist() == [7.0, 2.5]
    places = [panel.get_position() for panel in panels]
    assert places[0].y0 == places[1].y0 > places[2].y0
    shown = [panel.xaxis.get_tick_params()["labelbottom"] for panel in panels]
    assert shown == [False, True, True]
    assert list(canvas.lowest(panels)) == panels[1:]
    with pytest.raises(IbstatsError, match="spans 1 or 2 columns of a page, not 3"):
        canvas.style(3)


def corners(figure: Any) -> list[tuple[float, float]]:
    """Lower left corners of the panels, in shares of the width and of the height."""
    return [(axes.get_position().x0, axes.get_position().y0) for axes in figure.axes]


@pytest.mark.parametrize("columns", canvas.WIDTHS)
def test_panels_stand_in_the_same_place_in_every_format(columns: int, tmp_path: Path) -> None:
    """Read back from the files: left spines of SVG and PDF as paths, of PNG as dark pixels."""
    figure = drawn_panels(columns)
    with canvas.style(), rc_context({"pdf.compression": 0}):
        canvas.save(figure, tmp_path / "figure", FORMATS)
    width, height = (72 * inches for inches in figure.get_size_inches())
    tolerance = 0.005 * width
    svg = (tmp_path / "figure.svg").read_text()
    found = re.findall(r"M ([\d.]+) ([\d.]+) \nL ([\d.]+) ([\d.]+) \n\"", svg)
    of_svg = [(float(x), height - float(y)) for x, y, end, _ in found if x == end]
    pdf = (tmp_path / "figure.pdf").read_bytes().decode("latin-1")
    found = re.findall(r"([\d.]+) ([\d.]+) m\n([\d.]+) ([\d.]+) l\n", pdf)
    of_pdf = [(float(x), float(y)) for x, y, end, _ in found if x == end]
    grey = np.asarray(Image.open(tmp_path / "figure.png").convert("L"))
    assert len(corners(figure)) == 2
    for x, y in corners(figure):
        wanted = np.array([x * width, y * height])
        for places in (of_svg, of_pdf):
            distances = np.abs(np.array(places) - wanted).max(axis=1)
            assert distances.min() <= tolerance
        column = round(x * grey.shape[1])
        middle = round((1 - y) * grey.shape[0]) - 20
        assert grey[middle, column - 2 : column + 3].min() < 100


@pytest.mark.parametrize("kind", KINDS)
def test_series_look_apart_in_grey(kind: str) -> None:
    """Bars of one figure by filling or lightness, curves by marker or dash."""
    n = 0
    for name, figure in made_of(kind):
        for axes in figure.axes:
            looks = set()
            _, labels = axes.get_legend_handles_labels()
            for handle in axes.get_legend_handles_labels()[0]:
                looks.add(_look(handle))
            assert len(looks) == len(labels), (name, looks)
            n += len(labels)
    assert n >= 4


def _look(handle: Any) -> tuple[object, ...]:
    """What is left of a series without its colour."""
    if hasattr(handle, "patches"):
        bar = handle.patches[0]
        lightness = float(np.dot(to_rgb(bar.get_facecolor()), (0.299, 0.587, 0.114)))
        return bar.get_hatch(), round(lightness, 0)
    line = handle[0] if isinstance(handle, tuple) else handle
    return line.get_marker(), line.get_linestyle()
