"""Contact sheets: samples of every condition side by side, to be looked at (paper, Fig. 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill, shorten
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.checks import of_run
from ibstats.report.figures.ablations import RATIO, strategy
from ibstats.report.figures.canvas import WIDTH, canvas, check_formats, lines, note, save, style
from ibstats.selection import Selection, select
from ibstats.store import Store
from schemas.analysis import Config
from schemas.study import ABLATIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPERS_RATIO = 0.8
"""Share of the codes kept in the paper's Fig. 7: the most frequent 20 % disabled."""

Images = NDArray[np.uint8]


STRATEGIES = "enhancement"
"""Kind of experiment whose conditions are strategies."""


def sheets(
    store: Store, settings: Config, folder: Path, formats: Sequence[str] = ("png",)
) -> list[Path]:
    """Draw the sheets that suit the experiment, one a model that has images; the files.

    Of strategies `strategy_sheets`, of the conditions of a factorial or of any others
    `contact_sheets`; of the other ablations, whose arms differ little to the eye, none.
    """
    settings = of_run(settings, store)
    selections: list[Selection] = []
    kinds = set()
    for model in settings.models or store.models():
        partial = settings.allow_partial
        selections.append(select(store, model, settings.experiment, allow_partial=partial))
        kinds.add(selections[-1].kind)
    if STRATEGIES in kinds:
        return strategy_sheets(selections, folder, formats=formats)
    if kinds & set(ABLATIONS):
        return []
    return contact_sheets(selections, folder, formats=formats)


def contact_sheets(
    selections: Iterable[Selection],
    folder: Path,
    *,
    prompts: Sequence[int] = (0, 1),
    n_samples: int = 6,
    formats: Sequence[str] = ("png",),
) -> list[Path]:
    """Draw `contact-MODEL`: a row per condition, blocks of samples per prompt; the files.

    Parameters: the selections, of which those without images are left out; the folder, made if it
    is not there; places of the prompts shown, of which those that a run does not have are left out;
    samples of each; kinds of files.
    """
    check_formats(formats)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for selection in selections:
        images = _images(selection, prompts)
        if images is None:
            continue
        names = [lines(condition.label) for condition in selection.design.conditions]
        with style():
            figure = _conditions(
                images.isel(sample=slice(n_samples)), names, _texts(selection, images)
            )
            figure.suptitle(selection.model)
            shown = min(n_samples, selection.n_samples)
            note(figure, _size(selection, shown, len(images["prompt"])))
            files += save(figure, folder / f"contact-{selection.model}", formats)
    return files


def strategy_sheets(
    selections: Iterable[Selection],
    folder: Path,
    *,
    prompts: Sequence[int] = (0, 1, 2, 3),
    formats: Sequence[str] = ("png",),
) -> list[Path]:
    """Draw `EXPERIMENT-MODEL`: four samples of each strategy, a row per prompt; the files.

    Of a strategy at several shares of the codebook the one nearest the paper's is shown. Selections
    without images or baseline are left out. `prompts` are places of those shown.
    """
    check_formats(formats)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for selection in selections:
        images = _images(selection, prompts)
        columns = _strategies(selection)
        if images is None or not columns:
            continue
        chosen = images.sel(condition=list(columns)).isel(sample=slice(4))
        with style():
            figure = _squares(chosen, list(columns.values()), _texts(selection, images))
            figure.suptitle(selection.model)
            note(figure, _size(selection, chosen.sizes["sample"], len(images["prompt"])))
            stem = folder / f"{selection.experiment}-{selection.model}"
            files += save(figure, stem, formats)
    return files


def _size(selection: Selection, n_samples: int, n_prompts: int) -> str:
    """How many of the images and prompts of a selection are shown."""
    of_images = f"{n_samples} of {selection.n_samples} images"
    return f"{n_prompts} of {selection.n_prompts} prompts × {of_images}, the first ones"


def _images(selection: Selection, prompts: Sequence[int]) -> xr.DataArray | None:
    """Images `(condition, prompt, sample, y, x, channel)` of some prompts; None without."""
    if not selection.has("image"):
        return None
    places = [place for place in prompts if place < selection.n_prompts]
    if not places:
        return None
    images = selection.dataset["image"].isel(prompt=places)
    return images.transpose("condition", "prompt", "sample", "y", "x", "channel")


def _texts(selection: Selection, images: xr.DataArray) -> list[str]:
    """The wording of each prompt shown; its name where the run records none."""
    names = images["prompt"].values.astype(object).tolist()
    wording = dict(zip(names, names, strict=True))
    for prompt in selection.store.prompts:
        if prompt.id in wording:
            wording[prompt.id] = prompt.text
    return list(wording.values())


def _strategies(selection: Selection) -> dict[str, str]:
    """The condition of each strategy, by name, and what a column is called."""
    design = selection.design
    if design.baseline is None:
        return {}
    base = design.condition(design.baseline).levels
    best: dict[str, tuple[float, str, str]] = {}
    for condition in design.conditions:
        ratio = float(condition.settings.get(RATIO, 1.0))
        found = (abs(ratio - PAPERS_RATIO), condition.name, condition.short)
        name = strategy(condition.levels, base)
        if name not in best or found[0] < best[name][0]:
            best[name] = found
    return {name: short for _, name, short in best.values()}


def _conditions(images: xr.DataArray, names: Sequence[str], texts: Sequence[str]) -> Figure:
    """A row per condition, a panel per prompt."""
    n_columns = len(texts) * images.sizes["sample"]
    square = 5.2 / max(n_columns, 1)
    height = square * images.sizes["condition"] * images.sizes["y"] / images.sizes["x"]
    figure, panels = canvas(height + 0.6, columns=len(texts), width=2 * WIDTH)
    row = images.sizes["y"] + 2
    for number, (panel, text) in enumerate(zip(panels[0], texts, strict=True)):
        _picture(panel, _montage(images.isel(prompt=number).values))
        title = shorten(text, 60, placeholder=" ...")
        panel.set_title(title, loc="left")
        if number == 0:
            places = row * (np.arange(len(names)) + 0.5)
            panel.set_yticks(places, names)
            panel.tick_params(length=0)
    return figure


def _squares(images: xr.DataArray, names: Sequence[str], texts: Sequence[str]) -> Figure:
    """Squares of two by two samples, a row per prompt, a column per strategy."""
    n_samples = images.sizes["sample"] - images.sizes["sample"] % 2
    figure, panels = canvas(
        1.12 * len(texts) + 0.4, rows=len(texts), columns=len(names), width=1.6 * WIDTH
    )
    pixels = images.transpose("prompt", "condition", ...).values[:, :, : max(n_samples, 1)]
    for row, text, of_prompt in zip(panels, texts, pixels, strict=True):
        for panel, samples in zip(row, of_prompt, strict=True):
            n_rows = min(2, len(samples))
            squares = samples.reshape(n_rows, len(samples) // n_rows, *samples.shape[1:])
            _picture(panel, _montage(squares))
        row[0].set_ylabel(
            fill(shorten(text, 90, placeholder=" ..."), 24),
            rotation=0,
            ha="right",
            va="center",
        )
    for panel, name in zip(panels[0], names, strict=True):
        panel.set_title(name)
    return figure


def _picture(axes: Axes, pixels: Images) -> None:
    """Pixels as they are: no file blurs them or holds more of them than there are."""
    axes.imshow(pixels, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _montage(images: Images) -> Images:
    """Images `(row, column, y, x, channel)` as one picture with white gutters of two pixels."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    rows, columns, height, width, channels = padded.shape
    ordered = padded.transpose(0, 2, 1, 3, 4)
    return np.asarray(ordered.reshape(rows * height, columns * width, channels))
