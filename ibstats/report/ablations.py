"""The ablations of a run: analysed, printed, drawn and exported, experiment by experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ibstats.config import Config
from ibstats.errors import IbstatsError, unknown
from ibstats.measure import Machine
from ibstats.report import files
from ibstats.report.figures import FORMATS, check_formats
from ibstats.report.old_tables import interval, new_table, p_value, stars
from ibstats.report.quality import is_part
from ibstats.results.offer import sentences
from ibstats.results.open_intervals import open_intervals
from ibstats.results.rows import extent
from ibstats.statistics.ablations import KINDS, experiments, label
from ibstats.statistics.information import POOLED_NOTE
from ibstats.statistics.subset_ratio import AT_EDGE, EDGE_NOTE, KNEE_NOTE, NOT_FOUND
from ibstats.store import Store

if TYPE_CHECKING:
    from schemas.results import ResultRow, Results

Rows = Sequence["ResultRow"]


def analysed(
    store: Store, settings: Config, machine: Machine
) -> dict[str, tuple[str, Results, xr.DataTree]]:
    """Kind, document and tree of every ablation of a store, or of the one that the settings name (not the default)."""
    known = experiments(store)
    if not known:
        raise IbstatsError(
            f"'{store.path}' holds no ablation, only {', '.join(store.experiments())}; add an experiment of kind "
            f"{', '.join(KINDS)} to a study and run it"
        )
    if settings.experiment not in (*known, Config.experiment):
        raise unknown("ablation", settings.experiment, known)
    chosen = [settings.experiment] if settings.experiment in known else list(known)
    asked = {name: replace(settings, experiment=name) for name in chosen}
    return {
        name: (
            known[name],
            files.obtain(store, one, machine),
            files.obtain_tree(store, one, machine),
        )
        for name, one in asked.items()
    }


def ablations_run(
    store: Store,
    settings: Config,
    machine: Machine,
    console: Console,
    formats: Sequence[str] = FORMATS,
) -> dict[str, Path]:
    """Print every ablation, write its tables, results and figures under RUN/results/ablations; where they lie."""
    check_formats(formats)
    made = analysed(store, settings, machine)
    folder = store.path / "results" / "ablations"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (kind, document, _) in made.items():
        show(name, kind, document, console)
        files.write_csv(document, folder / "tables" / name)
        files.write_latex(document, folder / "latex" / name)
        files.write_json(document, folder / f"{name}.json")
    if line := open_intervals(row for _, document, _ in made.values() for row in document.rows):
        console.print(line, highlight=False)
    for note in dict.fromkeys(note for _, document, _ in made.values() for note in document.notes):
        console.print(f"[yellow]note[/] {escape(note)}", highlight=False)
    for name, (_, _, tree) in made.items():
        files.figures(store, replace(settings, experiment=name), tree, folder / "figures", formats)
    return {"results": folder, **{part: folder / part for part in ("tables", "latex", "figures")}}


def show(name: str, kind: str, document: Results, console: Console) -> None:
    """Print one experiment: arms, differences and codebook of each model, and the inflection points."""
    for model in dict.fromkeys(row.model for row in document.rows):
        rows = [row for row in document.rows if row.model == model]
        one = next(row for row in rows if row.level)
        console.rule(f"[bold]{escape(name)}, {escape(model)}[/]", align="left")
        console.print(
            f"{one.n_prompts} prompts x {one.n_images} images an arm; intervals {one.level:.0%}, {one.interval_method} "
            f"bootstrap over prompts, seed {one.seed}",
            highlight=False,
        )
        for make in (_arms, _differences, _codebook):
            for table in make(rows):
                console.print(table)
    if kind == "subset_ratio":
        for table in _inflections(document.rows):
            console.print(table)
        for line in sentences(document.rows):
            console.print(escape(line), highlight=False, soft_wrap=True)


def _grid(
    title: str,
    rows: Rows,
    names: Mapping[str, str],
    first: str,
    cell: Callable[[ResultRow], str],
    caption: str = "",
) -> Table:
    """One line per term, one column per quantity."""
    table = new_table(title, first, *names.values(), caption=caption or None)
    by_key = {(row.quantity, row.term): row for row in rows}
    for term in dict.fromkeys(row.term for row in rows):
        found = [by_key.get((name, term)) for name in names]
        table.add_row(escape(label(term)), *("–" if row is None else cell(row) for row in found))
    return table


def _quantities(rows: Rows) -> dict[str, str]:
    return {
        row.quantity: row.quantity.removesuffix("_distance")
        for row in rows
        if not is_part(row.quantity)
    }


def _arms(rows: Rows) -> list[Table]:
    tables = []
    titles = {"diversity": "Diversity (mean distance of pairs)", "quality": "Quality"}
    for section, title in titles.items():
        chosen = [row for row in rows if row.section == section]
        if chosen:
            tables.append(
                _grid(title, chosen, _quantities(chosen), "arm", lambda row: interval(row, 3))
            )
    return tables


def _differences(rows: Rows) -> list[Table]:
    tables = []
    titles = {
        "contrast": "Change of diversity by each arm",
        "comparison": "Planned comparisons of arms",
        "quality_effect": "Change of quality by each arm",
    }
    for section, title in titles.items():
        chosen = [row for row in rows if row.section == section and not is_part(row.quantity)]
        if chosen:
            counted = extent(row.n_tests for row in chosen)
            caption = (
                f"* p < .05, ** .01, *** .001, Holm over {counted} tests; intervals unadjusted; "
                "paired within prompts"
            )
            tables.append(_grid(title, chosen, _quantities(chosen), "arm - arm", _change, caption))
    return tables


def _change(row: ResultRow) -> str:
    return f"{interval(row, 3)} {stars(row.p_holm):3}".rstrip()


def _codebook(rows: Rows) -> list[Table]:
    names = {
        "codebook_entropy": "H(Z) bit",
        "conditional_entropy": "H(Z|X) bit",
        "capacity": "most, bit",
        "utilisation": "utilisation",
        "coverage_per_prompt": "coverage",
        "tokens_under_argmax": "tokens argmax",
    }
    chosen = [row for row in rows if row.section == "information"]
    present = {
        name: head for name, head in names.items() if any(row.quantity == name for row in chosen)
    }
    title = "Codebook"
    return (
        [_grid(title, chosen, present, "arm", lambda row: interval(row, 2), POOLED_NOTE)]
        if chosen
        else []
    )


def _inflections(rows: Rows) -> list[Table]:
    chosen = {(r.model, r.quantity, r.term): r for r in rows if r.section == "inflection"}
    if not chosen:
        return []
    edge = any(row.verdict == AT_EDGE for row in chosen.values())
    table = new_table(
        "Inflection point of diversity over the share of codes kept",
        "model", "diversity", "ratio", "slope below", "slope above", "p",
        caption=f"{KNEE_NOTE}; {EDGE_NOTE}" if edge else KNEE_NOTE,
    )  # fmt: skip
    for (model, quantity, term), row in chosen.items():
        if term == "ratio":
            below, above = (
                interval(chosen[model, quantity, f"slope_{side}"], 2) for side in ("below", "above")
            )
            ratio = f"{interval(row, 2)}{' edge' if row.verdict == AT_EDGE else ''}"
            if row.verdict == NOT_FOUND:
                ratio = "undefined" if row.estimate is None else NOT_FOUND
            distance = quantity.removesuffix("_distance")
            table.add_row(escape(model), distance, ratio, below, above, p_value(row.p_max_t))
    return [table]
