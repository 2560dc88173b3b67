"""Figures of an analysis: one-column width, colour-blind safe (Okabe & Ito), every estimate with its interval."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ibstats.errors import unknown
from ibstats.variables import CELLS, DISTANCES, FACTORS, LEVELS, PROBES, REFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
WIDTH = 3.4
"""Inches of one column."""

FORMATS = ("png", "pdf", "svg")

STYLE: Any = {
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 6.5,
    "lines.linewidth": 1.0,
    "savefig.dpi": 200,
    "svg.hashsalt": "ibstats",
    "pdf.fonttype": 42,
}


def draw(
    tree: xr.DataTree, folder: Path, formats: Sequence[str] = FORMATS, *, interactions: bool = True
) -> list[Path]:
    """Draw every figure that the analysis has data for, and return the files; `interactions` are one per model."""
    import matplotlib

    check_formats(formats)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with matplotlib.rc_context(STYLE):
        for name, figure in figures(tree, interactions=interactions):
            files += save(figure, folder / name, formats)
    return files


def check_formats(formats: Sequence[str]) -> None:
    """An unknown format is an error before anything is drawn."""
    for kind in formats:
        if kind not in FORMATS:
            raise unknown("figure format", kind, FORMATS)


MISSING_LETTERS = "boxes stand for letters that matplotlib's font lacks; name one that has them in its `font.family`"


def save(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure in each format, without a date, so that equal data give equal files.

    Letters that the font lacks (of prompts in other scripts) are boxes, of which one warning is given, not one each.
    """
    files = []
    for kind in formats:
        file = stem.with_name(f"{stem.name}.{kind}")
        undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            figure.savefig(file, bbox_inches="tight", metadata=undated)
        texts = [str(found.message) for found in given]
        for text in dict.fromkeys(
            MISSING_LETTERS if text.startswith("Glyph ") else text for text in texts
        ):
            warnings.warn(text, stacklevel=2)
        files.append(file)
    return files


def figures(tree: xr.DataTree, *, interactions: bool = True) -> Iterator[tuple[str, Figure]]:
    """Name and figure, one by one; only one figure is in memory at a time."""
    from ibstats.report import quality_figures

    models = {
        name: {g: c.to_dataset() for g, c in tree[name].children.items()}
        for name in tree.attrs["models"]
    }
    first = next(iter(models.values()))
    if "diversity" in first:
        for quantity in map(str, first["diversity"]["quantity"].values):
            chosen = {
                name: {
                    g: d.sel(quantity=quantity)
                    for g, d in groups.items()
                    if "quantity" in d.dims and g in _DISTANCE_GROUPS
                }
                for name, groups in models.items()
            }
            for name, make in _PER_METRIC.items():
                yield f"{name}-{quantity}", make(chosen, DISTANCES[quantity].long_name)
            for model, groups in chosen.items() if interactions else ():
                yield (
                    f"interaction-{model}-{quantity}",
                    interaction(groups["diversity"], model, DISTANCES[quantity].long_name),
                )
    yield from quality_figures.figures(models)
    if "positions" in first:
        yield "positions", positions({name: groups["positions"] for name, groups in models.items()})


_DISTANCE_GROUPS = ("diversity", "effects", "probes", "waterfall", "waterfall_stochastic")

Groups = dict[str, dict[str, xr.Dataset]]


def _new(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def whiskers(point: xr.Dataset) -> np.ndarray:
    """Lengths below and above the estimate, (2, ...)."""
    return np.asarray(
        np.nan_to_num(
            np.stack([point["estimate"] - point["low"], point["high"] - point["estimate"]]).clip(0)
        )
    )


def legend_above(axes: Axes, columns: int) -> None:
    """A legend over the axes, out of the way of the data."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        handlelength=1.2,
        columnspacing=1.0,
    )


def dots(axes: Axes, series: dict[str, xr.Dataset], labels: list[str]) -> None:
    """Estimates with intervals, one line per label, one colour and marker per series."""
    step = 0.72 / len(series)
    for i, (name, point) in enumerate(series.items()):
        y = np.arange(len(labels)) + (i - (len(series) - 1) / 2) * step
        axes.errorbar(
            point["estimate"].values.ravel(),
            y,
            xerr=whiskers(point).reshape(2, -1),
            fmt=MARKERS[i % len(MARKERS)],
            color=COLOURS[i % len(COLOURS)],
            ms=2.8,
            lw=0.9,
            label=name,
        )
    axes.set_yticks(np.arange(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    for y in np.arange(len(labels) - 1) + 0.5:
        axes.axhline(y, color="0.9", lw=0.5, zorder=0)
    legend_above(axes, min(3, len(series)))


def cells(models: Groups, long_name: str) -> Figure:
    """Diversity of the eight cells, all models."""
    figure, axes = _new(3.0)
    dots(
        axes[0, 0],
        {name: groups["diversity"] for name, groups in models.items()},
        [" / ".join(c) for c in CELLS],
    )
    axes[0, 0].set_xlabel(f"diversity ({long_name})")
    axes[0, 0].set_xlim(left=min(0.0, axes[0, 0].get_xlim()[0]))
    return figure


def forest(models: Groups, long_name: str) -> Figure:
    """The seven effects, all models."""
    figure, axes = _new(3.5)
    effect = next(iter(models.values()))["effects"]["effect"].values
    dots(
        axes[0, 0],
        {name: groups["effects"] for name, groups in models.items()},
        [str(e).replace(":", " ×\n") for e in effect],
    )
    axes[0, 0].axvline(0, color="0.4", lw=0.6, zorder=0)
    axes[0, 0].set_xlabel(f"effect on diversity ({long_name})")
    return figure


def probe_bars(models: Groups, long_name: str) -> Figure:
    """The reference cell and each probe alone, as in the paper's Fig. 2."""
    figure, axes = _new(2.1)
    arms = {"reference": {}, **PROBES}
    width = 0.8 / len(arms)
    for i, (arm, change) in enumerate(arms.items()):
        point = [groups["diversity"].sel(REFERENCE | change) for groups in models.values()]
        height = np.array([float(p["estimate"]) for p in point])
        error = np.stack([whiskers(p) for p in point], axis=1)
        x = np.arange(len(models)) + (i - (len(arms) - 1) / 2) * width
        axes[0, 0].bar(x, height, width * 0.92, color=COLOURS[i], label=arm)
        axes[0, 0].errorbar(x, height, yerr=error, fmt="none", color="0.15", lw=0.8)
        for place, value in zip(x, height, strict=True):
            if value == 0:
                axes[0, 0].annotate("0", (place, 0), ha="center", va="bottom", color=COLOURS[i])
    axes[0, 0].set_xticks(np.arange(len(models)), list(models))
    axes[0, 0].set_ylabel(f"diversity\n({long_name})")
    legend_above(axes[0, 0], len(arms))
    return figure


def waterfalls(models: Groups, long_name: str) -> Figure:
    """Marginal effects added from the all-low to the all-high cell (Fig. 8 to 10), one panel a model."""
    figure, axes = _new(1.55 * len(models) + 0.3, rows=len(models))
    for panel, (name, groups) in zip(axes[:, 0], models.items(), strict=True):
        _waterfall(panel, groups["waterfall"].sel(attribution="marginal"))
        panel.set_title(name, loc="left")
        panel.set_ylabel("diversity")
    axes[-1, 0].set_xlabel(long_name)
    return figure


def _waterfall(axes: Axes, fall: xr.Dataset) -> None:
    steps = [str(step) for step in fall["step"].values]
    value = dict(zip(steps, fall["estimate"].values, strict=True))
    whisker = dict(zip(steps, whiskers(fall).T, strict=True))
    level = 0.0
    top = max(value["actual"], value["predicted"], 1e-12)
    for x, step in enumerate(steps):
        whole = step in ("baseline", "predicted", "actual")
        bottom, height = (0.0, value[step]) if whole else (level, value[step])
        colour = COLOURS[0] if whole else COLOURS[2] if height >= 0 else COLOURS[1]
        axes.bar(x, height, 0.66, bottom=bottom, color=colour)
        end = bottom + height
        axes.errorbar(x, end, yerr=whisker[step][:, None], fmt="none", color="0.15", lw=0.8)
        reach = max(bottom, end) + (whisker[step][1] if height >= 0 else 0.0)
        text = f"{value[step]:.3f}" if whole else f"{value[step]:+.3f}"
        axes.annotate(
            text,
            (x, reach),
            xytext=(0, 1.5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=6,
        )
        if x + 1 < len(steps):
            axes.plot([x + 0.33, x + 0.67], [end, end], color="0.5", lw=0.5)
        level = end
        top = max(top, reach)
    axes.set_ylim(top=top * 1.14)
    axes.set_xticks(range(len(steps)), [_SHORT.get(step, step) for step in steps], fontsize=6)


_SHORT = {
    "baseline": "all low",
    "sampling": "+ sam-\npling",
    "prompt_type": "+ prompt",
    "codebook": "+ code-\nbook",
    "predicted": "additive",
    "gap": "synergy\ngap",
    "actual": "all high",
}


def interaction(diversity: xr.Dataset, model: str, long_name: str) -> Figure:
    """Interaction profiles in three facetings (Fig. 11 to 13)."""
    figure, axes = _new(4.6, rows=3, columns=2, sharey=True)
    for row, (facet, along, lines) in zip(axes, _FACETINGS, strict=True):
        for panel, at in zip(row, LEVELS[facet], strict=True):
            for i, level in enumerate(LEVELS[lines]):
                point = diversity.sel({facet: at, lines: level})
                x = np.arange(2) + (i - 0.5) * 0.06
                panel.errorbar(
                    x,
                    point["estimate"],
                    yerr=whiskers(point),
                    marker=MARKERS[i],
                    color=COLOURS[i],
                    ms=3,
                    label=level,
                )
            panel.set_xticks([0, 1], LEVELS[along])
            panel.set_xlim(-0.35, 1.35)
            panel.set_title(at)
        row[0].set_ylabel("diversity")
        row[1].legend(title=lines, loc="center left", bbox_to_anchor=(1.0, 0.5), title_fontsize=6.5)
    figure.suptitle(f"{model}, {long_name}", fontsize=7.5)
    return figure


_FACETINGS = (
    ("sampling", "prompt_type", "codebook"),
    ("prompt_type", "codebook", "sampling"),
    ("codebook", "prompt_type", "sampling"),
)


def positions(models: dict[str, xr.Dataset]) -> Figure:
    """H(Z) and H(Z|X) of each grid position in the reference cell."""
    rows = {"codebook_entropy": "H(Z)", "conditional_entropy": "H(Z|X)"}
    figure, axes = _new(2.7, rows=len(rows), columns=len(models))
    condition = "-".join(REFERENCE[factor] for factor in FACTORS)
    for row, (name, label) in zip(axes, rows.items(), strict=True):
        values = {model: data[name].sel(condition=condition) for model, data in models.items()}
        low, high = (
            min(float(v.min()) for v in values.values()),
            max(float(v.max()) for v in values.values()),
        )
        for panel, (model, value) in zip(row, values.items(), strict=True):
            image = panel.imshow(value.values, cmap="cividis", vmin=low, vmax=high)
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
            if name == "codebook_entropy":
                panel.set_title(model)
        row[0].set_ylabel(label)
        figure.colorbar(image, ax=list(row), label="bit", shrink=0.85)
    return figure


def draw_power(
    power: xr.Dataset, target: float, stem: Path, formats: Sequence[str] = ("png",)
) -> list[Path]:
    """Power against prompts, one line per number of images."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure, axes = _new(2.2)
        axes = axes[0, 0]
        for i, n_images in enumerate(power["n_images"].values):
            line = power["power"].sel(n_images=n_images)
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            axes.plot(
                power["n_prompts"],
                line,
                marker=marker,
                ms=2.5,
                color=colour,
                label=f"{n_images} images",
            )
        axes.axhline(target, color="0.5", lw=0.6, ls="--")
        axes.set_xscale("log")
        axes.set_xticks([10, 20, 50, 100, 200, 500, 1000], [10, 20, 50, 100, 200, 500, 1000])
        axes.minorticks_off()
        axes.set_ylim(0, 1.03)
        axes.set_xlabel("prompts")
        axes.set_ylabel(f"power, {power.attrs['goal']} {power.attrs['size']:g}")
        legend_above(axes, 3)
        return save(figure, stem, formats)


_PER_METRIC: dict[str, Callable[[Groups, str], Figure]] = {
    "cells": cells,
    "probes": probe_bars,
    "waterfall": waterfalls,
    "forest": forest,
}
