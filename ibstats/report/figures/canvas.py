"""What every figure is drawn on: size, style, estimates with intervals, legends, files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError, unknown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from schemas.results import ResultRow

FORMATS = ("png", "pdf", "svg")
"""Kinds of files. PDF embeds its fonts, SVG the shapes of its letters: both need none installed."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that the colour-blind tell apart (Okabe & Ito)."""
MARKERS = "osD^vPX*<>h"
"""Markers; there are more of them than colours, so that series 8 does not look like series 1."""

HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----")
"""Fillings of bars, so that they look apart without colour."""

UNDATED: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""Metadata without the date that a format would write by itself."""

WIDTHS = {1: 3.4, 2: 7.0}
"""Inches of a file by the columns of a page that it spans; its letters are of one size for both."""
WIDTH = WIDTHS[1]
PAGE = 9.0
"""Inches of a page, which panels one above the other share."""

SMALL = 6.0
"""Size of the letters of what is said beside the data, in points."""
STYLE: Any = {
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "figure.labelsize": 7,
    "figure.titlesize": 7.5,
    "legend.frameon": False,
    "legend.title_fontsize": 6.5,
    "hatch.linewidth": 0.5,
    "lines.linewidth": 1.0,
    "savefig.dpi": 200,
    "svg.hashsalt": "ibstats",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}

MOST_LETTERS = 48
"""Letters of names that stand side by side under a figure of one column."""

MOST_SLANTED = 24
"""Letters of a slanted name."""

KEPT = "1\N{NO-BREAK SPACE}-\N{NO-BREAK SPACE}"
"""What no line is broken in."""

MISSING_LETTERS = (
    "boxes stand for letters that matplotlib's font lacks; "
    "name one that has them in its `font.family`"
)


NOTE = "note"
"""Group of a figure's note in an SVG."""
NOTE_SIZE, NOTE_LINE, NOTE_GAP = 5.5, 0.095, 0.03
"""Points of the letters of a note; inches of its lines, and around it."""
LETTERS_AN_INCH = 24
"""Letters of a note that an inch holds at the most."""


class Point(NamedTuple):
    """An estimate and the bounds of its interval, in the unit of its axis.

    Without an interval all three are equal.
    """

    estimate: float
    low: float
    high: float


def point(row: ResultRow | xr.Dataset | None) -> Point | None:
    """The estimate of a row, or of one point of a labelled Dataset, with its interval.

    None if there is no row or its estimate is undefined, so that a figure leaves it out. A bound
    that is undefined equals the estimate.

    >>> point(xr.Dataset({"estimate": 0.5, "low": 0.25, "high": np.nan}))
    Point(estimate=0.5, low=0.25, high=0.5)
    """
    if row is None:
        return None
    if isinstance(row, xr.Dataset):
        values = [float(row[name]) for name in Point._fields]
    else:
        values = np.array([row.estimate, row.low, row.high], dtype=np.float64).tolist()
    estimate, low, high = values
    if np.isnan(estimate):
        return None
    if np.isnan(low):
        low = estimate
    if np.isnan(high):
        high = estimate
    return Point(estimate, low, high)


def whiskers(points: Iterable[Point]) -> NDArray[np.float64]:
    """Lengths of n intervals below and above their estimates, `(2, n)`, none below 0.

    >>> whiskers([Point(0.5, 0.25, 1.0)]).tolist()
    [[0.25], [0.5]]
    """
    bounds = np.array(list(points), dtype=np.float64).reshape(-1, 3)
    lengths = np.stack([bounds[:, 0] - bounds[:, 1], bounds[:, 2] - bounds[:, 0]])
    return np.asarray(lengths.clip(0))


def estimates(points: Iterable[Point]) -> list[float]:
    """Estimates of n points, without their intervals."""
    return [one.estimate for one in points]


def style(columns: int = 1) -> AbstractContextManager[None]:
    """The style of every figure, for a `with` statement around drawing and saving.

    Figures are as wide as so many columns of a page, 1 or 2. Matplotlib's own settings return when
    it ends. Raises IbstatsError for another number of columns.

    >>> with style(columns=2):
    ...     figure, panels = canvas(2.0)
    >>> figure.get_size_inches().tolist()
    [7.0, 2.0]
    """
    import matplotlib

    if columns not in WIDTHS:
        known = " or ".join(map(str, WIDTHS))
        raise IbstatsError(f"a figure spans {known} columns of a page, not {columns}")
    width = WIDTHS[columns]
    return matplotlib.rc_context(STYLE | {"figure.figsize": (width, width)})


def _width() -> float:
    """Inches of a figure in the style in force."""
    import matplotlib

    return float(matplotlib.rcParams["figure.figsize"][0])


def canvas(
    height: float, rows: int = 1, columns: int = 1, *, width: float | None = None, **options: Any
) -> tuple[Figure, Any]:
    """A new figure and its panels, an array `(rows, columns)` of axes.

    `width` and `height` are those of the file, in inches, the width by default that of the style in
    force; `options` are those of `Figure.subplots`. No window system and no state of `pyplot` takes
    part.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width or _width(), height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def stack(
    n_panels: int, wanted: float, extra: float, *, sharex: bool = False
) -> tuple[Figure, list[Axes]]:
    """A new figure of panels one above the other, or two side by side where it spans two columns.

    `wanted` are the inches of a panel's height, of which it has less where a page holds no more;
    `extra` those of everything else. With `sharex` the lowest panel of each column has the labels.

    >>> with style():
    ...     figure, panels = stack(3, 1.0, 0.5)
    >>> len(panels), figure.get_size_inches().tolist()
    (3, [3.4, 3.5])
    """
    across = 1 if _width() < WIDTHS[2] else min(2, n_panels)
    rows = math.ceil(n_panels / across)
    height = panel_height(wanted, rows) * rows + extra
    figure, axes = canvas(height, rows, across, sharex=sharex)
    panels = list(axes.ravel())
    for unused in panels[n_panels:]:
        unused.remove()
        axes[rows - 2, across - 1].tick_params(labelbottom=True)
    return figure, panels[:n_panels]


def lowest(panels: Sequence[Axes]) -> Sequence[Axes]:
    """Of the panels of a stack the lowest of each column, whose horizontal axes are named."""
    place = panels[0].get_subplotspec()
    return panels[-1:] if place is None else panels[-place.get_gridspec().ncols :]


def look(number: int) -> tuple[str, str]:
    """Colour and marker of a series, by its number from 0.

    >>> look(0) == look(7)
    False
    """
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def panel_height(wanted: float, n_panels: int) -> float:
    """Inches of each of so many panels one above the other: as wanted, or as a page holds.

    >>> panel_height(1.5, 3), panel_height(1.5, 9)
    (1.5, 1.0)
    """
    return min(wanted, PAGE / max(n_panels, 1))


def legend(
    figure: Figure,
    handles: Sequence[Any],
    labels: Sequence[str],
    *,
    place: str = "upper left",
    size: float = 6.5,
) -> None:
    """A legend outside the panels, which give way to it.

    It has as many columns (four at most) as the width of the figure holds. `place` is a side and an
    end of it, for instance `upper left`; `size` is that of the letters, in points.
    """
    outside: Any = f"outside {place}"
    drawn: Any = figure.canvas
    renderer = drawn.get_renderer()
    for columns in range(min(4, len(labels)), 0, -1):
        made = figure.legend(
            handles,
            labels,
            loc=outside,
            ncols=columns,
            fontsize=size,
            borderaxespad=0.2,
            handlelength=1.2,
            columnspacing=1.0,
        )
        if columns == 1 or made.get_window_extent(renderer).width <= figure.bbox.width:
            return
        made.remove()


def legend_of(figure: Figure, *panels: Axes, place: str = "upper left") -> None:
    """A legend of the labelled series in some panels, each named once; none if there are none.

    `place` is as in `legend`.
    """
    known: dict[str, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            known.setdefault(label, handle)
    if known:
        legend(figure, list(known.values()), list(known), place=place)


def placed(points: Iterable[Point | None], shift: float = 0.0) -> dict[float, Point]:
    """Points by their place from 0 on, moved by `shift`; those that lack leave their place empty.

    >>> placed([None, Point(1.0, 0.0, 2.0)], 0.25)
    {1.25: Point(estimate=1.0, low=0.0, high=2.0)}
    """
    there = {}
    for place, one in enumerate(points):
        if one is not None:
            there[place + shift] = one
    return there


def dots(axes: Axes, series: Mapping[str, Sequence[Point | None]], labels: Sequence[str]) -> None:
    """Draw estimates with intervals, a line per label, a colour and marker per series.

    The points of a series are in the order of the labels; one that lacks is left out. A series
    without any has no entry in a legend and keeps its place, so that others look as elsewhere.
    """
    step = 0.72 / max(len(series), 1)
    for number, (name, points) in enumerate(series.items()):
        colour, marker = look(number)
        there = placed(points, (number - (len(series) - 1) / 2) * step)
        if not there:
            continue
        axes.errorbar(
            estimates(there.values()),
            list(there),
            xerr=whiskers(there.values()),
            fmt=marker,
            color=colour,
            ms=2.8,
            lw=0.9,
            label=name,
        )
    axes.set_yticks(np.arange(len(labels)), labels, fontsize=6.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    for between in np.arange(len(labels) - 1) + 0.5:
        axes.axhline(between, color="0.9", lw=0.5, zorder=0)


def dots_height(n_lines: int, n_series: int) -> float:
    """Inches that `dots` needs for so many labels and series, so that points do not touch.

    >>> round(dots_height(8, 3), 2), round(dots_height(8, 8), 2)
    (2.72, 6.08)
    """
    return n_lines * max(0.34, 0.085 * n_series + 0.08)


def is_slanted(names: Sequence[str], width: float = WIDTH) -> bool:
    """Whether names along a horizontal axis are slanted, since they would run into each other.

    `width` is that of the figure, in inches.

    >>> is_slanted(["short", "names"]), is_slanted(["names of many letters"] * 3)
    (False, True)
    """
    return len("  ".join(names)) > MOST_LETTERS * width / WIDTH


def beside_height(names: Sequence[str]) -> float:
    """Inches that names along a horizontal axis need more than a line, when they are slanted.

    In a figure of the style in force.

    >>> with style():
    ...     beside_height(["short", "names"])
    0.0
    """
    if not is_slanted(names, _width()):
        return 0.0
    return 0.035 * min(max(map(len, names)), MOST_SLANTED)


def beside(axes: Axes, names: Sequence[str]) -> None:
    """Names along the horizontal axis at 0, 1, ..., with a faint line between two of them.

    They are slanted where they would run into each other, and cut where they are very long.
    """
    axes.set_xticks(np.arange(len(names)), names)
    if is_slanted(names, axes.figure.bbox.width / axes.figure.dpi):
        axes.set_xticks(np.arange(len(names)), [_cut(name) for name in names])
        axes.tick_params(axis="x", rotation=35)
        for text in axes.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    for between in np.arange(len(names) - 1) + 0.5:
        axes.axvline(between, color="0.9", lw=0.5, zorder=0)


def _cut(name: str) -> str:
    if len(name) <= MOST_SLANTED:
        return name
    return name[: MOST_SLANTED - 1] + "…"


def lines(text: str, letters: int = 28) -> str:
    """A text in lines of at most so many letters; a word is cut only where it alone is longer.

    What is taken from 1, as in "1 - SSIM", stays on its line.

    >>> lines("words of a very long name of a condition")
    'words of a very long name of\\na condition'
    """
    return fill(text.replace("1 - ", KEPT), letters, break_on_hyphens=False).replace(KEPT, "1 - ")


def check_formats(formats: Sequence[str]) -> None:
    """Refuse an unknown kind of file before anything is drawn.

    Raises IbstatsError, which names those that are known.
    """
    for kind in formats:
        if kind not in FORMATS:
            raise unknown("figure format", kind, FORMATS)


def note(figure: Figure, said: str) -> Figure:
    """Say below everything what a figure is of: prompts, images, intervals, baseline; the figure.

    It is laid out for good and grows by the lines of the note, so nothing may be added to it
    afterwards; panels stay as large as they are.
    """
    with _not_drawn_yet():
        _lay_out(figure)
        width, height = figure.get_size_inches()
        text = _in_lines(figure, said)
    grown = height + NOTE_LINE * (text.count("\n") + 1) + NOTE_GAP
    share, start = height / grown, 1 - height / grown
    figure.set_size_inches(width, grown)
    for axes in figure.axes:
        x, y, w, h = axes.get_position(original=True).bounds
        axes.set_position((x, start + share * y, w, share * h))
    for words in figure.texts:
        words.set_y(start + share * words.get_position()[1])
    for shown in figure.legends:
        shown.set_bbox_to_anchor((0.0, start, 1.0, share), transform=figure.transFigure)
    place = {"x": NOTE_GAP / width, "y": NOTE_GAP / grown, "va": "bottom", "ha": "left"}
    figure.text(s=text, fontsize=NOTE_SIZE, color="0.35", gid=NOTE, **place)
    return figure


def _in_lines(figure: Figure, said: str) -> str:
    """A note in lines of as many letters as fit into the width of its figure, as they are drawn."""
    drawn: Any = figure.canvas
    room = figure.bbox.width - 2 * NOTE_GAP * figure.dpi
    most = int(LETTERS_AN_INCH * figure.get_size_inches()[0])
    text = said
    for letters in range(most, 1, -1):
        text = fill(said, letters, break_on_hyphens=False)
        shown = figure.text(0.0, 0.0, text, fontsize=NOTE_SIZE)
        wide = shown.get_window_extent(drawn.get_renderer()).width
        shown.remove()
        if wide <= room:
            break
    return text


def save(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure in each format; the files, `stem` with the format as its ending.

    It is laid out once, so its files do not depend on which others are written, and are as wide as
    the canvas. There is no date in them, so equal data give equal files. Letters that the font
    lacks (of prompts in other scripts) are boxes, of which one warning is given, not one each.
    """
    files = []
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        _lay_out(figure)
        for kind in formats:
            file = stem.with_name(f"{stem.name}.{kind}")
            figure.savefig(file, metadata=UNDATED.get(kind))
            files.append(file)
    for text in _said(given):
        warnings.warn(text, stacklevel=2)
    return files


@contextmanager
def _not_drawn_yet() -> Iterator[None]:
    """Measure what will be drawn: of letters that the font lacks `save` warns, and it alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")
        yield


def _lay_out(figure: Figure) -> None:
    """Place everything once and for all."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def _said(given: Iterable[warnings.WarningMessage]) -> list[str]:
    """Each warning once, and one for all letters that lack."""
    said: dict[str, None] = {}
    for found in given:
        text = str(found.message)
        if text.startswith("Glyph "):
            text = MISSING_LETTERS
        said[text] = None
    return list(said)
