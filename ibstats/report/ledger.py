"""The entropy ledger on the terminal: one table a model, and a sentence on what it shows."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ibstats.config import Config
from ibstats.errors import IbstatsError
from ibstats.measure import Machine, default_metrics, distances
from ibstats.quantities import quantity
from ibstats.report.tables import number
from ibstats.selection import select
from ibstats.statistics import rescored
from ibstats.statistics.diversity import mean_pairwise
from ibstats.statistics.path_and_execution import (
    crossed_components,
    ledger,
    ledger_intervals,
    paraphrase_budget,
    sobol_shares,
)
from ibstats.store import Store
from ibstats.variables import REFERENCE

if TYPE_CHECKING:
    from schemas.study import CrossedNoise


def decompose_run(
    store: Store,
    settings: Config,
    machine: Machine,
    console: Console,
    *,
    crossed: bool = False,
    wording: bool = False,
) -> None:
    """Print the ledger of each model, or the shares of its diversity that crossed noise or wordings account for."""
    for model in settings.models or store.models():
        if crossed:
            for name, experiment in crossed_experiments(store).items():
                for metric, measured in _embedded(store, model, name, settings, machine):
                    variance = crossed_components(
                        measured["distance"], experiment.paths, experiment.executions
                    )
                    show_shares(sobol_shares(variance, settings.resampling), model, metric, console)
        dataset = store.dataset(model, settings.experiment, allow_partial=settings.allow_partial)
        if wording:
            for metric, measured in _embedded(store, model, settings.experiment, settings, machine):
                budget = paraphrase_budget(
                    measured["distance"], dataset["text_index"], settings.resampling
                )
                show_paraphrases(budget, model, metric, console)
        if crossed or wording:
            continue
        found = ledger_intervals(ledger(dataset, store.identity(model)), settings.resampling)
        show_ledger(found, model, store.identity(model).family, console)
        if (scored := rescored.find(store, model, settings.experiment)) is not None:
            revised = "path_upper_trajectory" in found["quantity"]
            show_brackets(
                rescored.bracket_intervals(rescored.brackets(scored, revised=revised), settings.resampling),
                model, scored.record.proposal, console,
            )  # fmt: skip
        file = write_ledger(
            found, model, store.path / "results" / f"ledger-{model}-{settings.experiment}.csv"
        )
        console.print(f"all conditions: {file}", highlight=False, soft_wrap=True)


def draw_run(store: Store, settings: Config, machine: Machine) -> list[Path]:
    """Draw the figures of the ledger into RUN/results/figures; distances are of the first metric asked for."""
    from ibstats.report.ledger_figures import REFERENCE_CELL, draw_ledger

    settings = replace(settings, metrics=(settings.metrics or default_metrics())[:1])
    datasets, ledgers, diversity, budgets = {}, {}, {}, {}
    crossed = store.run.crossed_noise()
    for model in settings.models or store.models():
        data = store.dataset(model, settings.experiment, allow_partial=settings.allow_partial)
        datasets[model], ledgers[model] = data, ledger(data, store.identity(model))
        if "image" not in data:
            continue
        for _, measured in _embedded(store, model, settings.experiment, settings, machine):
            distance = measured["distance"].sel(condition=REFERENCE_CELL)
            diversity[model] = mean_pairwise(distance).assign_attrs(
                long_name=f"mean {settings.metrics[0]} distance"
            )
            wording = _wording(measured["distance"], data["text_index"], settings)
        for name, experiment in crossed.items():
            if REFERENCE["sampling"] not in experiment.sampling:
                continue
            for _, measured in _embedded(store, model, name, settings, machine):
                variance = crossed_components(
                    measured["distance"], experiment.paths, experiment.executions
                )
                parts = variance.sel(condition=REFERENCE_CELL).mean("prompt")
                budgets[model] = {
                    str(part): float(parts.sel(component=part))
                    for part in parts["component"].values
                }
            if wording is not None:
                budgets[model]["paraphrase"] = wording
    folder = store.path / "results" / "figures"
    return draw_ledger(datasets, ledgers, diversity, budgets, settings.resampling, folder)


def _wording(distance: xr.DataArray, text_index: xr.DataArray, settings: Config) -> float | None:
    """Variance component of the wording without other intervention, None where there are too few images for one."""
    try:
        budget = paraphrase_budget(distance, text_index, settings.resampling)["estimate"]
    except IbstatsError:
        return None
    return float(budget.sel(part="component", condition="stochastic-paraphrase-full"))


def crossed_experiments(store: Store) -> dict[str, CrossedNoise]:
    """Crossed-noise experiments of a run; an error that says how to get one if there is none."""
    found = store.run.crossed_noise()
    if not found:
        raise IbstatsError(
            "this run has no crossed-noise experiment; add one to the study: "
            "`crossed: {kind: crossed_noise, paths: 4, executions: 4}`"
        )
    return found


def _embedded(
    store: Store, model: str, experiment: str, settings: Config, machine: Machine
) -> Iterator[tuple[str, xr.Dataset]]:
    """Distances by metric, of those that are distances of an embedding and so have variance components."""
    for name in settings.metrics or default_metrics()[:1]:
        selection = select(store, model, experiment, allow_partial=settings.allow_partial)
        measured = distances(selection, machine.metric(name), each=machine.each)
        if bool(np.isnan(measured["squared_norm"]).all()):
            raise IbstatsError(
                f"'{name}' is not the distance of an embedding, so it has no variance components; "
                "leave it out, or take --metric pixel_cosine, reference or an lpips"
            )
        yield name, measured


def show_ledger(found: xr.Dataset, model: str, family: str, console: Console) -> None:
    """Bits per image and per token with intervals; of a factorial, the cells that keep wording and codebook."""
    n_tokens = int(found.attrs["n_tokens"])
    shown = [str(c) for c in found["condition"].values if str(c).endswith("-original-full")]
    table = Table(
        "condition",
        "quantity",
        "bits per image",
        "bits per token",
        title=escape(f"{model}: entropy ledger"),
    )
    for condition in shown or found["condition"].values:
        here = found.sel(condition=condition)
        for row, name in enumerate(here["quantity"].values):
            point = here.sel(quantity=name)
            table.add_row(
                "" if row else str(condition),
                quantity(str(name)).long,
                _bracket(point, digits=2),
                number(float(point["estimate"]) / n_tokens, 3),
            )
        table.add_section()
    console.print(table)
    console.print(_caption(found), highlight=False)
    if sentence := _reading(found, family):
        console.print(f"{escape(model)}: {sentence}", highlight=False)


def show_brackets(found: xr.Dataset, model: str, proposal: str, console: Console) -> None:
    """Bounds on H(Z|X) and the residual by number of rescored paths."""
    names = {"tokens_lower": "H(Z|X) ≥", "tokens_upper": "H(Z|X) ≤", "residual_lower": "residual ≥",
             "residual_upper": "residual ≤"}  # fmt: skip
    table = Table(
        "condition",
        "paths",
        *names.values(),
        title=escape(f"{model}: bounds by rescored paths, bits"),
    )
    for condition in found["condition"].values:
        for paths in found["paths"].values:
            here = found.sel(condition=condition, paths=paths)
            cells = [
                _bracket(here.sel(quantity=name), digits=1)
                if name in here["quantity"].values
                else "–"
                for name in names
            ]
            table.add_row(str(condition) if paths == found["paths"][0] else "", str(paths), *cells)
        table.add_section()
    console.print(table)
    unknown, images = found.attrs["unknown_images"], found.attrs["images"]
    console.print(f"{_caption(found)}; proposal: {escape(proposal)}", highlight=False)
    if "residual_lower" not in found["quantity"].values:
        console.print(
            "tokens are revised: the residual is of the whole trajectory, an upper bound alone",
            highlight=False,
        )
    if unknown:
        console.print(
            f"{unknown} of {images} images did not come out again; they count in H(Z|X) ≤ only",
            highlight=False,
        )


def show_shares(shares: xr.Dataset, model: str, metric: str, console: Console) -> None:
    """Sobol indices of crossed noise."""
    _show_parts(shares, "share", f"{model}: shares of {metric}", console)


def show_paraphrases(budget: xr.Dataset, model: str, metric: str, console: Console) -> None:
    """Diversity within and between paraphrases."""
    _show_parts(budget, "part", f"{model}: wording in {metric}", console)


def _show_parts(found: xr.Dataset, dim: str, title: str, console: Console) -> None:
    table = Table("condition", dim, "estimate", title=escape(title))
    for condition in found["condition"].values:
        for row, part in enumerate(found[dim].values):
            point = found.sel({"condition": condition, dim: part})
            table.add_row("" if row else str(condition), str(part), _bracket(point))
        table.add_section()
    console.print(table)
    console.print(_caption(found), highlight=False)


def write_ledger(found: xr.Dataset, model: str, file: Path) -> Path:
    """Every quantity in every condition as CSV, one number a row with how it was made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    how = {
        name: found.attrs[name]
        for name in ("level", "method", "n_prompts", "n_resamples", "seed", "n_tokens")
    }
    with file.open("w", newline="", encoding="utf-8") as target:
        names = [
            "model",
            "condition",
            "quantity",
            "units",
            "estimate",
            "low",
            "high",
            "degenerate",
            *how,
        ]
        writer = csv.DictWriter(target, names)
        writer.writeheader()
        for condition in found["condition"].values:
            for quantity in found["quantity"].values:
                point = found.sel(condition=condition, quantity=quantity)
                numbers = {name: float(point[name]) for name in ("estimate", "low", "high")}
                row = {
                    "model": model,
                    "condition": condition,
                    "quantity": quantity,
                    "units": "bit",
                    **numbers,
                    **how,
                }
                writer.writerow(row | {"degenerate": bool(point["degenerate"])})
    return file


def _reading(found: xr.Dataset, family: str) -> str:
    """What the cell without intervention says, in a sentence."""
    cell = "stochastic-original-full"
    if cell not in found["condition"].values:
        return ""
    bits = {
        str(name): float(found["estimate"].sel(condition=cell, quantity=name))
        for name in found["quantity"].values
    }
    if "share_estimate" not in found and "path_given_candidates" in bits:
        return (
            f"given its candidates the order of an image takes {bits['path_given_candidates']:.1f} bits, its tokens at "
            f"most {bits['execution_marginal']:.1f}; `path_surprisal: exact` splits path and execution without overlap."
        )
    if "share_estimate" not in found:
        return ""
    path, execution = (
        float(found["share_estimate"].sel(condition=cell, part=p)) for p in found["part"].values
    )
    if family == "autoregressive":
        return "the order is fixed, so the path has no entropy and all of it is execution."
    return (
        f"without intervention an image takes {bits['joint']:.1f} bits, {path:.0%} of them in the path and "
        f"{execution:.0%} in its execution."
    )


def _bracket(point: xr.Dataset, digits: int = 3) -> str:
    low, high, estimate = (float(point[name]) for name in ("low", "high", "estimate"))
    if np.isnan(estimate):
        return "–"
    if bool(point["degenerate"]):
        return f"{number(estimate, digits)} degenerate"
    return f"{number(estimate, digits)} [{number(low, digits)}, {number(high, digits)}]"


def _caption(found: xr.Dataset) -> str:
    attrs: dict[Any, Any] = found.attrs
    return (
        f"{attrs['level']:.0%} {attrs['method']} intervals over {attrs['n_prompts']} prompts, "
        f"{attrs['n_resamples']} resamples, seed {attrs['seed']}"
    )
