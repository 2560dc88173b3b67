"""Where the time of a run went, by what its blocks recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from generate.cli.console import out, print_table
from schemas.store import Block, BlockRecord
from schemas.timings import SAMPLING

if TYPE_CHECKING:
    from generate.store.samples import SampleStore
    from generate.study.planning import Plan


def print_timings(laid_out: Plan, store: SampleStore) -> None:
    """Seconds of each stage, a column a model, of all processes that made blocks, and what a stage is."""
    from generate.run.cost import images_of

    records = {}
    for block, record in store.ledger.read_all(laid_out.blocks()).items():
        if record.seconds:
            records[block] = record
    spent = seconds_of(records)
    models = [label for label in laid_out.models if label in spent]
    if not models:
        out.print("where time went: no committed block recorded it.")
        return
    table = Table("stage", "what", *models)
    for stage, what in SAMPLING.items():
        if any(stage in spent[label] for label in models):
            cells = [_cell(spent[label], stage) for label in models]
            table.add_row(stage, what, *cells)
    totals = [f"{spent[label].total():.1f}" for label in models]
    table.add_row("all", "seconds of all processes", *totals)
    images = [images_of(laid_out, label, records) / spent[label].total() for label in models]
    table.add_row("images", "a second of a process", *(f"{speed:.3g}" for speed in images))
    print_table(table)


def seconds_of(records: Mapping[Block, BlockRecord]) -> dict[str, Counter[str]]:
    """Give the seconds of each stage by model, added over the blocks that recorded them."""
    spent: dict[str, Counter[str]] = {}
    for block, record in records.items():
        spent.setdefault(block.model, Counter()).update(record.seconds)
    return spent


def _cell(spent: Mapping[str, float], stage: str) -> str:
    """Seconds and share of a stage."""
    seconds = spent.get(stage, 0.0)
    return f"{seconds:.1f} ({seconds / sum(spent.values()):.0%})"
