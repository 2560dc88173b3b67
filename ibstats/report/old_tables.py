"""Tables for the terminal: the rows of a report, model by model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ibstats.report.budget import budget
from ibstats.results.open_intervals import open_intervals, remark
from ibstats.statistics.information import POOLED_NOTE
from ibstats.variables import CELLS, DISTANCES, PROBES

if TYPE_CHECKING:
    from ibstats.results.compare import Comparison
    from schemas.results import ResultRow, Results

SECTIONS = ("diversity", "entropy", "effects", "waterfall", "quality", "ledger", "strategy")
"""Parts of a report, in order; `waterfall_two` (two factors, as in Fig. 10) is printed on request."""

POWER_NOTE = (
    "of one test of this contrast, unadjusted: Holm over several needs more prompts, and so does the equivalence of a "
    "probe (the strategy), a change of one cell, which varies more than a mean over cells"
)
"""What a power is of, as its table states it."""

WIDTH = 114
"""Columns the tables need; a number is never cut short."""


def number(value: float | None, digits: int = 4) -> str:
    """A number with fixed decimals, a dash where undefined."""
    return "–" if value is None else f"{value:.{digits}f}"


def interval(row: ResultRow, digits: int = 4) -> str:
    """Estimate with its interval in brackets."""
    if row.degenerate:
        return f"{number(row.estimate, digits)} degenerate"
    if row.low is None and row.high is None:
        return number(row.estimate, digits)
    return f"{number(row.estimate, digits)} [{number(row.low, digits)}, {number(row.high, digits)}]"


def p_value(p: float | None) -> str:
    """A p value, never printed as zero."""
    if p is None:
        return "–"
    return "<.0001" if p < 1e-4 else f"{p:.4f}"


MARKS = "* p Holm < .05, ** < .01, *** < .001"


def stars(p: float | None) -> str:
    """Significance marks: *** below .001, ** below .01, * below .05."""
    if p is None:
        return ""
    return "***" if p < 0.001 else "**" if p < 0.01 else "*" if p < 0.05 else ""


def show(document: Results, console: Console, sections: Sequence[str] = SECTIONS) -> None:
    """Print the chosen parts for every model."""
    from ibstats.report import quality

    models = list(dict.fromkeys(row.model for row in document.rows))
    for model in models:
        rows = [row for row in document.rows if row.model == model]
        if set(sections) <= {"ledger", "strategy"}:
            break
        one = rows[0]
        n_cells = len(
            {row.term for row in rows if (row.section, row.quantity) == (one.section, one.quantity)}
        )
        cells = "8 cells" if n_cells == 8 else f"{n_cells} conditions"
        level = next((r.level for r in rows if r.level), 0.95)
        method = next((r.interval_method for r in rows if r.interval_method), "")
        console.rule(f"[bold]{escape(model)}[/]", align="left")
        console.print(
            f"{one.n_prompts} prompts x {cells} x {one.n_images} images; intervals {level:.0%}, {method} bootstrap "
            f"over prompts, seed {next((r.seed for r in rows if r.seed is not None), 0)}",
            highlight=False,
        )
        makers = {
            "diversity": _diversity,
            "entropy": _entropy,
            "effects": _effects,
            "waterfall": _waterfall,
            "waterfall_two": _waterfall_two,
            "quality": quality.quality,
            "quality_effects": _quality_effects,
        }
        for section, make in makers.items():
            if section in sections:
                for table in make(rows):
                    console.print(table)
        for note in quality.notes(rows) if "quality" in sections else ():
            console.print(escape(note), highlight=False)
    if "ledger" in sections:
        for part in budget(document):
            console.print(part, highlight=False)
    if "strategy" in sections:
        for table in _strategy(document.rows):
            console.print(table)
    if line := open_intervals(document.rows):
        console.print(line, highlight=False)
    for note in document.notes:
        console.print(f"[yellow]note[/] {escape(note)}", highlight=False)


def new_table(title: str, *columns: str, caption: str | None = None) -> Table:
    """A table in the style of all, first column to the left."""
    table = Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _grid(
    rows: list[ResultRow],
    title: str,
    names: dict[str, str],
    digits: int,
    caption: str | None = None,
) -> Table:
    """One line per cell, one column per quantity."""
    table = new_table(title, "cell", *names.values(), caption=caption)
    by_key = {(row.quantity, row.term): row for row in rows}
    for cell in CELLS:
        term = "/".join(cell)
        found = [by_key.get((name, term)) for name in names]
        table.add_row(term, *("–" if row is None else interval(row, digits) for row in found))
    return table


def _diversity(rows: list[ResultRow]) -> list[Table]:
    chosen = [row for row in rows if row.section == "diversity"]
    names = {name: name for name in DISTANCES if any(row.quantity == name for row in chosen)}
    return [_grid(chosen, "Diversity: mean distance over pairs of images of one prompt", names, 4)]


def _entropy(rows: list[ResultRow]) -> list[Table]:
    chosen = [row for row in rows if row.section == "information"]
    estimator = next((row.estimator for row in chosen if row.estimator), "")
    entropies = {
        "codebook_entropy": "H(Z) bit",
        "conditional_entropy": "H(Z|X) bit",
        "mutual_information": "I(X;Z) bit",
    }
    usage = {
        "utilisation": "utilisation",
        "perplexity": "perplexity",
        "coverage": "coverage",
        "coverage_per_prompt": "per prompt",
    }
    return [
        _grid(chosen, f"Codebook entropy per token ({estimator})", entropies, 3, POOLED_NOTE),
        _grid(chosen, "Codebook use", usage, 3),
    ]


def _effects(rows: list[ResultRow]) -> list[Table]:
    return _effect_tables([row for row in rows if row.section == "effect"])


def _quality_effects(rows: list[ResultRow]) -> list[Table]:
    from ibstats.report.quality import is_part

    return _effect_tables(
        [row for row in rows if row.section == "quality_effect" and not is_part(row.quantity)]
    )


def _effect_tables(chosen: list[ResultRow]) -> list[Table]:
    tables = []
    for quantity in dict.fromkeys(row.quantity for row in chosen):
        mine = [row for row in chosen if row.quantity == quantity]
        of = "arm minus arm" if " - " in mine[0].term else "high minus low"
        tests = mine[0].n_tests
        table = new_table(
            f"Effects on {quantity} ({of}; F(1, {mine[0].df}) = t²; p over {tests} tests, intervals unadjusted)",
            "effect",
            "estimate",
            "t",
            "p Holm",
            "p max-T",
            "partial η²",
            "d_z",
            "",
            caption=MARKS,
        )
        for row in mine:
            table.add_row(
                row.term.replace(":", " × "),
                interval(row),
                number(row.statistic, 2),
                p_value(row.p_holm),
                p_value(row.p_max_t),
                number(row.partial_eta_squared, 3),
                number(row.d_z, 2),
                stars(row.p_holm),
            )
        tables.append(table)
    return tables


def _waterfall(rows: list[ResultRow]) -> list[Table]:
    return _waterfalls(
        [row for row in rows if row.section == "waterfall" and ": " not in row.term], ""
    )


def _waterfall_two(rows: list[ResultRow]) -> list[Table]:
    prefix = "sampling=stochastic: "
    chosen = [row for row in rows if row.section == "waterfall" and row.term.startswith(prefix)]
    return _waterfalls(chosen, prefix)


def _waterfalls(rows: list[ResultRow], prefix: str) -> list[Table]:
    tables = []
    for quantity in dict.fromkeys(row.quantity for row in rows):
        mine = {
            (row.attribution, row.term.removeprefix(prefix)): row
            for row in rows
            if row.quantity == quantity
        }
        attributions = list(dict.fromkeys(attribution for attribution, _ in mine))
        note = next(filter(None, map(remark, mine.values())), None)
        title = f"Waterfall of {quantity}" + (f" ({prefix.removesuffix(': ')})" if prefix else "")
        table = new_table(title, "step", *(str(a) for a in attributions), caption=note)
        for term in dict.fromkeys(term for _, term in mine):
            cells = []
            for attribution in attributions:
                row = mine[attribution, term]
                by_definition = term == "gap" and attribution == "shapley"
                cells.append("0 by definition" if by_definition else interval(row))
            table.add_row({"gap": "synergy gap"}.get(term, term), *cells)
            if term == "gap":
                found = [p_value(mine[attribution, term].p) for attribution in attributions]
                table.add_row("  its p", *found)
        tables.append(table)
    return tables


def _strategy(rows: list[ResultRow]) -> list[Table]:
    """Models side by side, each verdict with the probes it rests on."""
    verdicts = [row for row in rows if row.section == "strategy"]
    outcomes = {
        (row.model, row.quantity, row.term): row for row in rows if row.section == "equivalence"
    }
    tables = []
    for quantity in dict.fromkeys(row.quantity for row in verdicts):
        margin = next(row.margin for key, row in outcomes.items() if key[1] == quantity)
        title = f"Strategy by {quantity} (change from the reference cell; equivalence margin ±{margin:g})"
        table = new_table(title, "model", *PROBES, "path", "strategy")
        for row in verdicts:
            if row.quantity == quantity:
                found = [outcomes[row.model, quantity, probe] for probe in PROBES]
                cells = [f"{outcome.verdict}\n{interval(outcome, 3)}" for outcome in found]
                path = "varies" if "varies" in (row.note or "") else "fixed"
                table.add_row(escape(row.model), *cells, path, row.verdict)
        tables.append(table)
    return tables


def power(table: xr.Dataset, needed: np.ndarray, title: str, target: float) -> Table:
    """Power by prompts, one line per number of images, and the prompts needed."""
    goal = f"{table.attrs['goal']} {table.attrs['size']:g} of {table.attrs['effect']}"
    prompts = [str(n) for n in table["n_prompts"].values]
    made = new_table(
        f"{title}: power for {goal}, alpha {table.attrs['alpha']:g}",
        "images",
        *prompts,
        f"for {target:g}",
        caption=f"rows: images a prompt; columns: prompts, last the fewest of them for {target:g}; {POWER_NOTE}",
    )
    for i, n_images in enumerate(table["n_images"].values):
        values = [f"{value:.2f}" for value in table["power"].values[i]]
        enough = "more" if np.isnan(needed[i]) else f"{needed[i]:.0f}"
        made.add_row(str(n_images), *values, enough)
    return made


def changes(comparison: Comparison, limit: int) -> Table:
    """The largest changes between two analyses."""
    shown = comparison.changes[:limit]
    title = f"{len(comparison.changes)} of {comparison.n_rows} rows differ" + (
        f", largest {limit}" if len(shown) < len(comparison.changes) else ""
    )
    made = new_table(title, "number", "kind", "before", "after", "by")
    for change in shown:
        name = " ".join(part for part in change.key if part)
        made.add_row(
            escape(name),
            change.kind,
            number(change.before),
            number(change.after),
            number(change.by),
        )
    return made
