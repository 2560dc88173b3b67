"""The tables of runs compared with each other, one a quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibstats.quantities import quantity
from ibstats.report.table import (
    Cell,
    Column,
    Interval,
    Missing,
    Number,
    P,
    Paragraph,
    Part,
    Table,
    Text,
)
from ibstats.results.words import METHODS

if TYPE_CHECKING:
    from ibstats.results.runs import Compared, Difference

NO_MARGIN = (
    "no margin was declared, and runs compared have none by default, so only what is equal in every "
    "prompt is called equivalent; decide one before looking at the data: --margin NAME=NUMBER"
)
SAID = (
    "p: adjusted by Holm over the lines; sees: the difference that a test finds with power .8 at "
    "this n and spread; within: the margin that the 90 % interval lies in"
)


def runs(found: Compared) -> list[Part]:
    """A table a quantity, then how samples are paired and what lacks.

    A line is a condition of a run less that of the first run.
    """
    parts: list[Part] = []
    for name in found.quantities:
        parts.append(_table(found, found.of(name)))
    return [*parts, *map(Paragraph, found.notes)]


def _table(found: Compared, of: list[Difference]) -> Table:
    first = of[0]
    record = quantity(first.quantity)
    unit = "" if first.units == "1" else f", {first.units}"
    several = len({(one.model, one.against_model) for one in of}) > 1
    columns = [Column("runs"), Column("condition")]
    if several:
        columns.insert(1, Column("model"))
    labels = len(columns)
    columns += [Column("difference", Interval), Column("p", P), Column("verdict")]
    columns += [Column("sees", Number), Column("within", Number)]
    rows = []
    for one in of:
        cells: list[Cell] = [Text(one.label), Text(one.condition)]
        if several:
            cells.insert(1, Text(one.model))
        rows.append((*cells, *_numbers(one)))
    images: set[int] = set()
    for one in of:
        images |= {one.n_images, one.n_images_against}
    each = " or ".join(map(str, sorted(images)))
    method = METHODS.get(first.method, first.method)
    caption = (
        f"{first.level:.0%} intervals: {method} over {first.n_prompts} prompts with {each} images "
        f"each, {found.resampling['n_resamples']} resamples, seed {found.resampling['seed']}."
    )
    notes = [SAID]
    if first.margin is None:
        notes.append(NO_MARGIN)
    if first.margin is not None:
        notes.append(f"equivalent: within {first.margin:g} by two one-sided tests, Holm-adjusted")
    title = f"{record.long}{unit}: differences"
    name = f"compare-{first.quantity}"
    return Table(name, title, tuple(columns), tuple(rows), caption, tuple(notes), labels=labels)


def _numbers(one: Difference) -> tuple[Cell, ...]:
    """The cells of a line that hold its numbers."""
    shown: Cell = Missing("undefined")
    if one.estimate is not None:
        shown = Interval(one.estimate, one.low, one.high, degenerate=one.degenerate, p=one.p_holm)
    verdict = one.verdict
    return shown, P(one.p_holm), Text(verdict), Number(one.detectable), Number(one.within)
