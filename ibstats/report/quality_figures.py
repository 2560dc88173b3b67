"""Figures of quality: each probe's effect on every score (paper, Fig. 3), and diversity against quality."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ibstats.report.figures import COLOURS, MARKERS, WIDTH, whiskers
from ibstats.report.quality import better, is_part
from ibstats.results.rows import condition_terms
from ibstats.statistics.ablations import label
from ibstats.variables import DISTANCES, PROBES, QUALITY, REFERENCE, preferred_distance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Groups = dict[str, dict[str, xr.Dataset]]

SHORT = {
    "clip_score": "CLIP score",
    "clip_iqa": "CLIP-IQA",
    "fid": "FID",
    "fid_infinity": "FID, n → ∞",
    "kid": "KID",
    "reference_accuracy": "reference\naccuracy",
    "reference_frechet": "reference\nFrechet",
    "reference_frechet_infinity": "reference\nFrechet, n → ∞",
    "reference_kernel": "reference\nkernel",
}


def scores_of(models: Groups) -> list[str]:
    """Scores that every model has, without the parts of one."""
    have = [set(map(str, groups["quality"]["quantity"].values)) for groups in models.values()]
    return [name for name in QUALITY if all(name in one for one in have) and not is_part(name)]


def probes(models: Groups) -> Figure:
    """Scores of the reference cell and of each probe alone, one panel a score."""
    from matplotlib.figure import Figure

    names = scores_of(models)
    figure = Figure(figsize=(WIDTH, 0.35 + 1.05 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), 1, squeeze=False, sharex=True)[:, 0]
    arms: dict[str, dict[str, str]] = {"reference cell": {}, **PROBES}
    step = 0.8 / len(arms)
    for panel, name in zip(panels, names, strict=True):
        for i, (arm, change) in enumerate(arms.items()):
            points = [
                _cell(groups["quality"].sel(quantity=name), REFERENCE | change)
                for groups in models.values()
            ]
            x = np.arange(len(models)) + (i - (len(arms) - 1) / 2) * step
            error = np.stack([whiskers(point) for point in points], axis=1)
            height = [float(point["estimate"]) for point in points]
            panel.errorbar(
                x, height, error, fmt=MARKERS[i], color=COLOURS[i], ms=3, lw=0.9, label=arm
            )
        panel.set_ylabel(f"{SHORT[name]} {better(name)}")
        panel.margins(x=0.08)
        for between in np.arange(len(models) - 1) + 0.5:
            panel.axvline(between, color="0.9", lw=0.5, zorder=0)
    panels[-1].set_xticks(np.arange(len(models)), list(models))
    figure.align_ylabels()
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(arms),
        handlelength=1.0,
    )
    return figure


def _cell(group: xr.Dataset, levels: dict[str, str]) -> xr.Dataset:
    chosen = np.all(
        [group[factor].values.astype(object) == level for factor, level in levels.items()], axis=0
    )
    return group.isel(condition=int(np.flatnonzero(chosen)[0]))


def frontier(models: Groups, name: str, distance: str) -> Figure:
    """Diversity against one score, one panel a model; better is up and right, dominated conditions are hollow."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(WIDTH, 0.75 + 1.55 * len(models)), layout="constrained")
    panels = figure.subplots(len(models), 1, squeeze=False)[:, 0]
    for panel, (model, groups) in zip(panels, models.items(), strict=True):
        score = groups["quality"].sel(quantity=name)
        found = groups["frontier"].sel(quantity=name, distance=distance)
        diversity = xr.Dataset(
            {bound: found[f"diversity_{bound}"] for bound in ("estimate", "low", "high")}
        )
        for i, (condition, term) in enumerate(
            zip(score["condition"].values, condition_terms(score), strict=True)
        ):
            x, y = diversity.sel(condition=condition), score.sel(condition=condition)
            dominated = str(found["verdict"].sel(condition=condition).values) != "frontier"
            colour = COLOURS[i % 4] if len(score["condition"]) <= 8 else COLOURS[i % len(COLOURS)]
            panel.errorbar(
                float(x["estimate"]),
                float(y["estimate"]),
                xerr=whiskers(x)[:, None],
                yerr=whiskers(y)[:, None],
                fmt=MARKERS[i // 4 if len(score["condition"]) <= 8 else i // len(COLOURS)],
                color=colour,
                mfc="white" if dominated else colour,
                ms=3.6,
                lw=0.7,
                label=label(term),
            )
        if not QUALITY[name].larger_is_better:
            panel.invert_yaxis()
        panel.set_title(model, loc="left")
        panel.set_ylabel(f"{SHORT[name]} {better(name)}")
    panels[-1].set_xlabel(f"diversity ({DISTANCES[distance].long_name})")
    handles, labels = panels[0].get_legend_handles_labels()
    shown = [
        Line2D([], [], ls="", ms=3.6, marker=h[0].get_marker(), color=h[0].get_color())
        for h in handles
    ]
    hollow = Line2D([], [], ls="", ms=3.6, marker="o", mfc="white", color="0.4")
    figure.legend(
        [*shown, hollow],
        [*labels, "hollow: dominated"],
        loc="outside lower center",
        ncols=2,
        handlelength=1.0,
        fontsize=6,
    )
    return figure


def figures(models: Groups) -> Iterator[tuple[str, Figure]]:
    """Name and figure, of the models that have scores."""
    scored = {name: groups for name, groups in models.items() if "quality" in groups}
    names = scores_of(scored) if scored else []
    if not names:
        return
    first = next(iter(scored.values()))
    if "quality_probes" in first:
        yield "quality-probes", probes(scored)
    compared = all("frontier" in groups for groups in scored.values())
    if compared and (distance := preferred_distance(first["frontier"]["distance"].values)):
        for name in names:
            yield f"frontier-{name}", frontier(scored, name, distance)
