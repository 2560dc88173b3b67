"""Figures of ablations (paper, Fig. 4 to 7): any labelled quantities over the arms, with intervals.

`draw_ablation` takes the tree of an experiment. Diversity and, where it was measured, quality are panels of one
figure; a panel is an estimate `(condition)` per model with `low` and `high`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill, shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ibstats.report.contact import montage
from ibstats.report.figures import (
    COLOURS,
    MARKERS,
    STYLE,
    WIDTH,
    check_formats,
    dots,
    legend_above,
    save,
    whiskers,
)
from ibstats.report.quality_figures import frontier
from ibstats.statistics.ablations import label, reference_arm
from ibstats.store import Store
from ibstats.variables import DISTANCES, preferred_distance, preferred_score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = dict[str, xr.Dataset]
"""Estimates over `condition` by model, of one quantity."""


def draw_ablation(
    name: str, kind: str, tree: xr.DataTree, folder: Path, formats: Sequence[str]
) -> list[Path]:
    """Draw one experiment, and its frontier where quality was measured; the files."""
    import matplotlib

    check_formats(formats)
    folder.mkdir(parents=True, exist_ok=True)
    panels, files = shown(tree), []
    with matplotlib.rc_context(STYLE):
        if panels:
            if kind == "subset_ratio":
                figure = ratio_curves(
                    panels, inflections(tree, next(iter(panels))), lost(tree, list(panels)[-1])
                )
            else:
                figure = (
                    enhancement(panels)
                    if kind == "enhancement"
                    else arms(panels, argmax_tokens(tree))
                )
            files += save(figure, folder / name, formats)
        if len(panels) == 2 and (scored := with_frontier(tree, *panels)):
            distance, score = panels
            files += save(frontier(scored, score, distance), folder / f"{name}-frontier", formats)
    return files


def shown(tree: xr.DataTree) -> dict[str, Panel]:
    """The panels of an experiment by quantity: the paper's distance and score, or the nearest that was measured."""
    panels: dict[str, Panel] = {}
    for group, preferred in (("arms", preferred_distance), ("quality", preferred_score)):
        found = {
            m: tree[m][group].to_dataset()
            for m in tree.attrs["models"]
            if group in tree[m].children
        }
        if name := preferred(
            {quantity for d in found.values() for quantity in d["quantity"].values}
        ):
            panels[name] = {
                m: d.sel(quantity=name) for m, d in found.items() if name in d["quantity"].values
            }
    return panels


def inflections(tree: xr.DataTree, quantity: str) -> Panel:
    """The inflection points that were found, by model."""
    groups = {
        m: tree[m]["inflection"].to_dataset()
        for m in tree.attrs["models"]
        if "inflection" in tree[m].children
    }
    points = {
        m: d.sel(quantity=quantity) for m, d in groups.items() if quantity in d["quantity"].values
    }
    return {m: point for m, point in points.items() if bool(point["found"])}


def lost(tree: xr.DataTree, score: str) -> dict[str, np.ndarray]:
    """By model the shares of codes kept at which that score is significantly worse than with the full codebook."""
    groups = {
        m: tree[m]["quality_losses"].to_dataset()
        for m in tree.attrs["models"]
        if "quality_losses" in tree[m]
    }
    found = {m: d.sel(quantity=score) for m, d in groups.items() if score in d["quantity"].values}
    return {m: one["keep_ratio"].values[one["lost"].values] for m, one in found.items()}


def ratio_curves(
    panels: Mapping[str, Panel], knees: Panel, losses: Mapping[str, np.ndarray]
) -> Figure:
    """Each quantity against the share of codes kept, a line per model (Fig. 4).

    Bars below diversity mark inflection points, hollow markers of quality a significant loss.
    """
    figure, axes = _axes(1.9 * len(panels) + 0.35, rows=len(panels), sharex=True)
    for axis, (quantity, panel) in zip(axes[:, 0], panels.items(), strict=True):
        for i, (model, arm) in enumerate(panel.items()):
            worse = losses.get(model, np.empty(0)) if quantity not in DISTANCES else np.empty(0)
            _line(axis, arm, i, model, shift=(i - (len(panel) - 1) / 2) * 0.008, hollow=worse)
        axis.set_ylabel(_name(quantity))
    first = axes[0, 0]
    models = list(next(iter(panels.values())))
    low, high = first.get_ylim()
    for i, (model, knee) in enumerate(knees.items()):
        point, colour = knee.sel(part="ratio"), COLOURS[models.index(model) % len(COLOURS)]
        y = low - (0.05 + 0.045 * i) * (high - low)
        first.plot(
            [point["low"], point["high"]],
            [y, y],
            color=colour,
            lw=2.2,
            solid_capstyle="butt",
            alpha=0.55,
        )
        first.plot(point["estimate"], y, marker="|", ms=6, color=colour)
    if knees:
        first.set_ylim(low - (0.07 + 0.045 * len(knees)) * (high - low), high)
    legend_above(first, 3)
    marks = [
        f"bars: inflection points, {knee.attrs['level']:.0%}" for knee in list(knees.values())[:1]
    ]
    marks += (
        ["hollow: significant loss of quality"]
        if any(len(ratios) for ratios in losses.values())
        else []
    )
    axes[-1, 0].set_xlabel(
        "share of the codebook kept" + (f"\n({'; '.join(marks)})" if marks else "")
    )
    axes[-1, 0].set_xlim(0, 1.02)
    return figure


def with_frontier(tree: xr.DataTree, distance: str, score: str) -> dict[str, dict[str, xr.Dataset]]:
    """Quality and frontier of the models whose conditions have a place between that distance and that score."""
    names = [model for model in tree.attrs["models"] if "frontier" in tree[model].children]
    found = {
        model: {group: tree[model][group].to_dataset() for group in ("quality", "frontier")}
        for model in names
    }

    def has(groups: dict[str, xr.Dataset]) -> bool:
        placed = groups["frontier"]
        return distance in placed["distance"].values and score in placed["quantity"].values

    return {model: groups for model, groups in found.items() if has(groups)}


def argmax_tokens(tree: xr.DataTree) -> list[str]:
    """A line for each arm of an argmax window: tokens that each model commits under it; empty for other kinds."""
    models = [m for m in tree.attrs["models"] if "window_tokens" in tree[m].children]
    counts = [tree[m]["window_tokens"].to_dataset()["tokens"] for m in models]
    if not counts:
        return []
    arms_of_models = zip(*(np.round(count.values).astype(int) for count in counts), strict=True)
    return [
        f"{' / '.join(map(str, arm))} of {counts[0].attrs['n_tokens']} tokens"
        for arm in arms_of_models
    ]


def arms(panels: Mapping[str, Panel], lines: Sequence[str] = ()) -> Figure:
    """Every arm of an experiment, all models (Fig. 5); dotted lines mark the arm without intervention.

    `lines` stand below the names of the arms.
    """
    one = next(iter(next(iter(panels.values())).values()))
    names = [label(str(condition)) for condition in one["condition"].values]
    names = [f"{name}\n{line}" for name, line in zip(names, lines, strict=True)] if lines else names
    figure, axes = _axes((0.36 * len(names) + 0.5) * len(panels) + 0.25, rows=len(panels))
    for axis, (quantity, panel) in zip(axes[:, 0], panels.items(), strict=True):
        dots(axis, panel, names)
        for colour, arm in zip(COLOURS, panel.values(), strict=False):
            axis.axvline(
                float(arm["estimate"][reference_arm(arm)]), color=colour, lw=0.6, ls=":", zorder=0
            )
        axis.set_xlabel(_name(quantity))
        axis.set_xlim(left=min(0.0, axis.get_xlim()[0]) if quantity in DISTANCES else None)
    for axis in axes[1:, 0]:
        axis.get_legend().remove()
    return figure


def enhancement(panels: Mapping[str, Panel]) -> Figure:
    """Proposed strategy and its subset half against the share kept, baseline and paraphrases as levels (Fig. 6)."""
    models = list(next(iter(panels.values())))
    figure, axes = _axes(
        1.25 * len(models) + 0.5, rows=len(models), columns=len(panels), sharex=True, sharey="col"
    )
    for row, model in zip(axes, models, strict=True):
        for axis, panel in zip(row, panels.values(), strict=True):
            if model in panel:
                _strategies(axis, panel[model])
        row[0].set_ylabel(model)
    for axis, quantity in zip(axes[0], panels, strict=True):
        axis.set_title(_name(quantity, 26))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=4, handlelength=1.4, columnspacing=1.0
    )
    for axis in axes[-1]:
        axis.set_xlabel("share of codes kept")
    return figure


def _strategies(axis: Axes, arm: xr.Dataset) -> None:
    names = np.array([label(str(condition)) for condition in arm["condition"].values])
    for i, level in enumerate(("baseline", "paraphrase")):
        point = arm.isel(condition=int(np.flatnonzero(names == level)[0]))
        axis.axhline(float(point["estimate"]), color=COLOURS[i], ls=("--", "-.")[i], label=level)
        axis.axhspan(float(point["low"]), float(point["high"]), color=COLOURS[i], alpha=0.1, lw=0)
    for i, strategy in enumerate(("subset", "proposed"), start=2):
        chosen = np.flatnonzero(np.char.startswith(names, strategy))
        _line(axis, arm.isel(condition=chosen), i, strategy, shift=(i - 2.5) * 0.008)


def _line(
    axis: Axes,
    arm: xr.Dataset,
    i: int,
    name: str,
    *,
    shift: float = 0.0,
    hollow: Sequence[float] | np.ndarray = (),
) -> None:
    """Estimates with intervals against the share kept; `hollow` are shares whose marker is open."""
    arm = arm.sortby("keep_ratio")
    colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
    ratios = arm["keep_ratio"].values
    axis.errorbar(
        ratios + shift,
        arm["estimate"],
        yerr=whiskers(arm),
        color=colour,
        marker=marker,
        ms=2.8,
        elinewidth=0.7,
        label=name,
    )
    open_ = np.isin(ratios, hollow)
    y = arm["estimate"].values[open_]
    axis.plot(
        ratios[open_] + shift, y, ls="", marker=marker, ms=2.8, color=colour, mfc="white", zorder=4
    )


def _name(quantity: str, width: int = 36) -> str:
    """What an axis shows, in lines of that many characters."""
    if quantity not in DISTANCES:
        return quantity.replace("_", " ")
    return f"diversity\n{fill(f'({DISTANCES[quantity].long_name})', width, break_on_hyphens=False)}"


def _axes(
    height: float, rows: int = 1, columns: int = 1, width: float = WIDTH, **options: Any
) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


PAPERS_RATIO = 0.8
"""Share of the codes kept in the paper's Fig. 7: the most frequent 20 % disabled."""


def strategy_sheets(
    store: Store,
    experiment: str,
    folder: Path,
    *,
    models: Sequence[str] = (),
    prompts: Sequence[int] = (0, 1, 2, 3),
    formats: Sequence[str] = ("png",),
    partial: bool = False,
) -> list[Path]:
    """Four samples of each strategy (column) for some prompts (rows), a sheet per model (Fig. 7)."""
    import matplotlib

    files = []
    folder.mkdir(parents=True, exist_ok=True)
    for model in models or store.models():
        dataset = store.dataset(model, experiment, allow_partial=partial)
        if "image" not in dataset:
            continue
        shown_prompts = [p for p in prompts if p < dataset.sizes["prompt"]]
        columns = _columns(dataset)
        chosen = dataset["image"].isel(
            condition=list(columns.values()), prompt=shown_prompts, sample=slice(4)
        )
        pixels = chosen.transpose("prompt", "condition", "sample", "y", "x", "channel").values
        wording = {prompt.id: prompt.text for prompt in store.run.prompts}
        texts = [wording[str(prompt)] for prompt in chosen["prompt"].values]
        with matplotlib.rc_context(STYLE):
            files += save(
                _sheet(pixels, list(columns), texts, model),
                folder / f"{experiment}-{model}",
                formats,
            )
    return files


def _columns(dataset: xr.Dataset) -> dict[str, int]:
    """The strategies and their conditions; subset and proposed at the ratio nearest the paper's."""
    names = [label(str(condition)) for condition in dataset["condition"].values]
    distance = np.abs(dataset["keep_ratio"].values - PAPERS_RATIO)
    columns = {}
    for strategy in ("baseline", "subset", "paraphrase", "proposed"):
        having = [i for i, name in enumerate(names) if name.startswith(strategy)]
        best = min(having, key=lambda i: float(distance[i]))
        columns[names[best]] = best
    return columns


def _sheet(
    pixels: np.ndarray, strategies: Sequence[str], texts: Sequence[str], title: str
) -> Figure:
    """`(prompt, strategy, sample, y, x, channel)` as squares of two by two samples."""
    n_samples = pixels.shape[2] - pixels.shape[2] % 2
    figure, axes = _axes(
        1.12 * len(texts) + 0.3, rows=len(texts), columns=len(strategies), width=1.6 * WIDTH
    )
    for row, text, of_prompt in zip(axes, texts, pixels, strict=True):
        for axis, samples in zip(row, of_prompt, strict=True):
            squares = samples[:n_samples].reshape(2, n_samples // 2, *samples.shape[1:])
            axis.imshow(montage(squares), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(
            fill(shorten(text, 90, placeholder=" ..."), 24),
            rotation=0,
            ha="right",
            va="center",
            parse_math=False,
        )
    for axis, strategy in zip(axes[0], strategies, strict=True):
        axis.set_title(strategy)
    figure.suptitle(title, fontsize=8)
    return figure
