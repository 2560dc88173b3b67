"""Figures of the entropy ledger: budget of diversity, entropy by step, order of commitment, surprisal and diversity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ibstats.report.figures import COLOURS, STYLE, WIDTH, save
from ibstats.statistics.profiles import commit_map, rank_correlation, step_profile
from ibstats.statistics.uncertainty import Resampling

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REFERENCE_CELL = "stochastic-original-full"
BUDGET = ("path", "execution", "interaction", "paraphrase")


def draw_ledger(
    datasets: Mapping[str, xr.Dataset],
    ledgers: Mapping[str, xr.DataArray],
    diversity: Mapping[str, xr.DataArray],
    budgets: Mapping[str, Mapping[str, float]],
    how: Resampling,
    folder: Path,
    formats: Sequence[str] = ("png",),
) -> list[Path]:
    """Draw what there is data for, by model: experiments, ledgers, `(prompt)` diversity, variance by source."""
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with matplotlib.rc_context(STYLE):
        for name, figure in _figures(datasets, ledgers, diversity, budgets, how):
            files += save(figure, folder / f"ledger-{name}", formats)
    return files


def _figures(
    datasets: Mapping[str, xr.Dataset],
    ledgers: Mapping[str, xr.DataArray],
    diversity: Mapping[str, xr.DataArray],
    budgets: Mapping[str, Mapping[str, float]],
    how: Resampling,
) -> Iterator[tuple[str, Figure]]:
    if budgets:
        yield "budget", diversity_budget(budgets)
    yield (
        "steps",
        entropy_by_step({name: step_profile(d, REFERENCE_CELL) for name, d in datasets.items()}),
    )
    maps = {
        name: commit_map(d, REFERENCE_CELL) for name, d in datasets.items() if "token_step" in d
    }
    if maps:
        yield "order", order_maps(maps)
    if diversity:
        yield "surprisal", surprisal_against_diversity(ledgers, diversity, how)


def diversity_budget(budgets: Mapping[str, Mapping[str, float]]) -> Figure:
    """Variance components per model without intervention, stacked; an estimate below zero is drawn as none."""
    figure, axes = _axes(0.35 * len(budgets) + 0.9)
    left = np.zeros(len(budgets))
    for colour, part in zip(COLOURS, BUDGET, strict=False):
        size = np.nan_to_num([parts.get(part, 0.0) for parts in budgets.values()]).clip(0)
        axes.barh(range(len(budgets)), size, left=left, height=0.6, color=colour, label=part)
        left = left + size
    axes.set_yticks(range(len(budgets)), list(budgets))
    axes.invert_yaxis()
    axes.set_xlabel("variance component")
    axes.legend(ncol=len(BUDGET), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def entropy_by_step(profiles: Mapping[str, xr.Dataset]) -> Figure:
    """Entropy per token, and path surprisal where recorded, over the share of steps done."""
    figure, axes = _axes(2.2)
    for colour, (name, profile) in zip(COLOURS, profiles.items(), strict=False):
        done = (np.arange(profile.sizes["step"]) + 0.5) / profile.sizes["step"]
        axes.plot(done, profile["token_entropy"], color=colour, label=f"{name}, bits per token")
        if "path_surprisal" in profile:
            axes.plot(
                done,
                profile["path_surprisal"],
                color=colour,
                linestyle=":",
                label=f"{name}, path bits per step",
            )
    axes.set_xlabel("share of steps")
    axes.set_ylabel("bits")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)
    return figure


def order_maps(maps: Mapping[str, xr.DataArray]) -> Figure:
    """Mean step at which each position of the grid was last changed."""
    figure, axes = _axes(WIDTH / len(maps) + 0.3, columns=len(maps))
    for panel, (name, steps) in zip(np.atleast_1d(axes), maps.items(), strict=True):
        drawn = panel.imshow(steps.transpose("row", "col").values, cmap="cividis")
        panel.set_title(name)
        panel.set_xticks([])
        panel.set_yticks([])
        figure.colorbar(drawn, ax=panel, shrink=0.6, label="mean step")
    return figure


def surprisal_against_diversity(
    ledgers: Mapping[str, xr.DataArray], diversity: Mapping[str, xr.DataArray], how: Resampling
) -> Figure:
    """One point a prompt: surprisal of its images against their mean distance, with the rank correlation."""
    figure, axes = _axes(2.4)
    for colour, (name, spread) in zip(COLOURS, diversity.items(), strict=False):
        here = ledgers[name].sel(condition=REFERENCE_CELL)
        known = here["quantity"].values
        bits = here.sel(quantity="joint" if "joint" in known else "execution_marginal")
        found = rank_correlation(bits, spread, how)
        rho, low, high = (float(found[part]) for part in ("estimate", "low", "high"))
        label = f"{name}: rank correlation {rho:.2f} [{low:.2f}, {high:.2f}]"
        axes.scatter(bits.values, spread.values, s=8, color=colour, label=label)
    axes.set_xlabel("bits per image")
    axes.set_ylabel(next(iter(diversity.values())).attrs.get("long_name", "mean distance"))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _axes(height: float, columns: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(1, columns)
