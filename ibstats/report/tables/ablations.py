"""Tables of an ablation: arms, their changes, planned comparisons, codebook, inflection, offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from operator import attrgetter
from typing import TYPE_CHECKING

from ibstats.quantities import Quantity, quantity
from ibstats.report.table import (
    Cell,
    Column,
    Interval,
    Missing,
    Number,
    P,
    Paragraph,
    Table,
    Text,
    interval,
    stacked,
)
from ibstats.report.tables import grid, information, quality
from ibstats.results import sentences, words
from ibstats.results.lookup import distinct, keyed
from ibstats.statistics.subset_ratio import (
    AT_EDGE,
    EDGE_NOTE,
    KNEE_NOTE,
    NEEDED_NOTE,
    NO_POINT,
    NOT_DISTINCT,
    OFFER_NOTE,
    POINTS,
)
from schemas.study import ABLATIONS

if TYPE_CHECKING:
    from ibstats.results.lookup import Numbers
    from schemas.results import ResultRow

CODEBOOK = (
    "codebook_entropy",
    "conditional_entropy",
    "capacity",
    "utilisation",
    "coverage_per_prompt",
    "tokens_under_argmax",
)
CODEBOOK_NOTE = (
    "most: log2 of the codes an arm may use; utilisation of the whole codebook; "
    "per prompt: coverage of one prompt's codes"
)
PAIRED = "changes are paired within prompts"

CHANGES = {
    "contrast": "Change of diversity by each {arm}",
    "wording_effect": "Change of diversity between wordings by each {arm}",
    "comparison": "Planned comparisons of {arm}s",
    "quality_effect": "Change of quality by each {arm}",
}
"""Sections of tested differences, and the titles of their tables, with what a condition is called."""


def arms(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """Diversity and quality of each arm.

    One table for distances and one for scores, both with intervals, in the order of the design.
    Notes of scores stand below.
    """
    distances = grid.measured(numbers, "diversity", experiment, models, "distance")
    of = grid.Grid("diversity", experiment, head="arm", digits=3)
    title = "Diversity: mean distance over pairs of images of one prompt"
    made = grid.make(numbers, of, "arms-diversity", title, models, distances)
    scores = quality.scores(numbers, experiment, models)
    of = grid.Grid("quality", experiment, head="arm", digits=3)
    return made + quality.values(numbers, of, models, scores, "arms-quality")


def changes(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """Changes of each arm from the baseline and planned comparisons, a column a quantity.

    A table for each section of `CHANGES` that has rows. Marks are of p values that are Holm-
    adjusted within the section; parts of a score are left out.
    """
    design = numbers.designs.get(experiment)
    arm = "condition"
    if design is not None and design.kind in ABLATIONS:
        arm = "arm"
    tables = []
    for section, title in CHANGES.items():
        measured = grid.measured(numbers, section, experiment, models, "distance", "score")
        shown = [one for one in measured if not one.part_of]
        of = grid.Grid(
            section, experiment, line="effect", head=f"{arm} - {arm}", digits=3, marks=True
        )
        name = f"changes-{section.replace('_', '-')}"
        for table in grid.make(numbers, of, name, title.format(arm=arm), models, shown):
            rows = []
            for model in models:
                rows += grid.of_quantities(numbers, of, model, shown)
            tests = words.extent(rows, "n_tests")
            notes = [f"{words.MARKS}; Holm over {tests} tests; {PAIRED}"]
            if section == "wording_effect":
                notes += words.remarks(rows)
            tables += grid.with_notes([table], *notes)
    return tables


def codebook(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """Entropies of the codes of each arm, and how much of the codebook it uses.

    Only the quantities of `CODEBOOK` that some model has: entropies in bits per token, shares
    between 0 and 1, tokens an image.
    """
    measured = grid.measured(numbers, "information", experiment, models, "entropy", "usage")
    shown = information.chosen(measured, CODEBOOK)
    of = grid.Grid("information", experiment, head="arm", digits=2)
    title = "Codebook"
    estimators = distinct(numbers.all("information", experiment=experiment), "estimator")
    if estimators:
        title += f": entropies per token by {', '.join(estimators)}"
    made = grid.make(numbers, of, "codebook", title, models, shown)
    return grid.with_notes(made, CODEBOOK_NOTE)


def arm_changes(
    numbers: Numbers, experiment: str, models: Sequence[str], measured: Quantity
) -> list[Table]:
    """Every arm by one distance or score, and beside it its change from the baseline.

    `measured` is a distance (its changes are of section `contrast`) or a score (`quality_effect`).
    The baseline has no change, so a dash; no table where no model has the quantity.
    """
    value, change = "quality", "quality_effect"
    if measured.family == "distance":
        value, change = "diversity", "contrast"
    of = grid.Grid(value, experiment)
    blocks, used, tested = [], [], []
    for model in models:
        here = {"model": model, "experiment": experiment, "quantity": measured.name}
        rows = grid.of_quantities(numbers, of, model, [measured])
        arms = keyed(rows, "condition")
        changed = keyed(numbers.all(change, **here), "condition")
        block = []
        for arm in grid.in_order(numbers, experiment, distinct(rows, "condition")):
            row = changed.get((arm,))
            p: Cell = Missing() if row is None else P(row.p_holm)
            name = Text(numbers.short(experiment, arm))
            cells = (interval(arms[arm,]), interval(row, marks=True), p)
            block.append((*grid.named(models, model), name, *cells))
        blocks.append(block)
        used += rows
        tested += list(changed.values())
    if not used:
        return []
    columns = (Column("value", Interval), Column("change", Interval), Column("p Holm", P))
    title = f"{_title(measured)}, and change from the arm without intervention"
    heads = grid.heads(models, "arm")
    made = stacked(f"arms-{measured.name}", title, heads, blocks, columns)
    notes = dict.fromkeys((words.MARKS, PAIRED, *grid.notes([*used, *tested])))
    return [replace(made, caption=words.made(used), notes=tuple(notes))]


def comparisons(
    numbers: Numbers, experiment: str, models: Sequence[str], measured: Quantity
) -> list[Table]:
    """Planned comparisons of arms by one distance or score, with their tests.

    No table where nothing was compared. Estimates are differences of means over prompts, paired
    within prompts.
    """
    blocks, used = [], []
    for model in models:
        here = {"model": model, "experiment": experiment, "quantity": measured.name}
        rows = numbers.all("comparison", **here)
        block = []
        for row in rows:
            cells = (interval(row, marks=True), P(row.p_holm), Number(row.d_z, 2))
            block.append((*grid.named(models, model), Text(row.effect or ""), *cells))
        blocks.append(block)
        used += rows
    if not used:
        return []
    columns = (Column("estimate", Interval), Column("p Holm", P), Column("d_z", Number))
    tests = words.extent(used, "n_tests")
    title = f"Planned comparisons of arms over {tests} tests: {_title(measured, first=False)}"
    heads = grid.heads(models, "arm - arm")
    made = stacked(f"comparisons-{measured.name}", title, heads, blocks, columns)
    notes = (words.MARKS, PAIRED, *grid.notes(used))
    return [replace(made, caption=words.made(used), notes=notes)]


def _title(measured: Quantity, *, first: bool = True) -> str:
    if measured.family == "distance":
        said = f"diversity, mean {measured.long} of pairs of a prompt's images"
    else:
        said = f"quality: {measured.long} ({words.better(measured.name)})"
    if not first:
        return said
    return said[:1].upper() + said[1:]


def inflection(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """Where diversity over the share of codes kept bends, with the slopes on both sides.

    The ratios swept are in the title; a line is the inflection with its slopes and their intervals,
    and the p value that the slope changes and no smooth curve says as much. A ratio that is not found
    reads as its verdict (`smooth`, `no distinct bend`, `not found`), one at the end of the sweep
    carries `edge`. Where a bend is not distinct stands how many prompts would make it so.
    """
    points = []
    for model in models:
        points += numbers.all("inflection", part="ratio", model=model, experiment=experiment)
    if not points:
        return []
    is_open = NOT_DISTINCT in distinct(points, "verdict")
    blocks = []
    for model in models:
        here = {"model": model, "experiment": experiment}
        block = []
        by = keyed(numbers.all("inflection", **here), "quantity", "part")
        for row in numbers.all("inflection", part="ratio", **here):
            keys = product([row.quantity], ("slope_below", "slope_above"))
            sides = grid.intervals(by, keys, 2)
            name = Text(quantity(row.quantity).short)
            cells = [_knee(row), *sides, P(row.p)]
            if is_open:
                needed = by.get((row.quantity, "prompts_needed"))
                cells.append(Number(None if needed is None else needed.estimate, 0))
            block.append((*grid.named(models, model), name, *cells))
        blocks.append(block)
    columns = [
        Column("ratio", Interval),
        Column("slope below", Interval),
        Column("slope above", Interval),
        Column("p", P),
    ]
    if is_open:
        columns.append(Column("prompts needed", Number))
    title = "Inflection point of diversity over the share of codes kept"
    title += _swept(numbers, experiment)
    made = stacked("inflection", title, grid.heads(models, "diversity by"), blocks, columns)
    notes = [KNEE_NOTE]
    if AT_EDGE in distinct(points, "verdict"):
        notes.append(EDGE_NOTE)
    if is_open:
        notes.append(NEEDED_NOTE)
    return [replace(made, caption=words.made(points), notes=tuple(notes))]


def _swept(numbers: Numbers, experiment: str) -> str:
    """Over which ratios, where the rows say so."""
    ends = []
    for part in ("swept_from", "swept_to"):
        row = numbers.one("inflection", experiment=experiment, part=part)
        if row is not None:
            ends.append(words.number(row.estimate, 2))
    return f", swept from {' to '.join(ends)}" if ends else ""


def _knee(row: ResultRow) -> Cell:
    if row.estimate is None:
        return Missing("undefined")
    if row.verdict not in POINTS:
        return Text(row.verdict or "")
    knee = Interval(row.estimate, row.low, row.high, 2, row.degenerate)
    if row.verdict == AT_EDGE:
        return replace(knee, word="edge")
    return knee


def offer(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """The subset ratio offered for the main study, a line a model, with what decides it.

    By the preferred distance among those that bend, and the preferred score; see
    `ibstats.results.sentences.offers`. No table for other kinds of experiment.
    """
    found = sentences.offers(numbers, experiment)
    lines = []
    for model, one in found.items():
        if model in models:
            lines.append((Text(model), *_offer(one)))
    if not lines:
        return []
    columns = (
        Column("inflection", Interval),
        Column("stable from", Number),
        Column("at"),
        Column("change", Interval),
        Column("offered", Number),
        Column("verdict"),
    )
    offered = list(map(attrgetter("row"), found.values()))
    title = f"Subset ratio offered; inflection by {quantity(offered[0].quantity).long}"
    scores = distinct(offered, "score")
    if scores:
        title += f", change of {', '.join(quantity(score).short for score in scores)}"
    evidence = list(filter(None, map(attrgetter("evidence"), found.values())))
    made = stacked("offer", title, ["model"], [lines], columns)
    notes = (f"Offered: {OFFER_NOTE}",)
    return [replace(made, caption=words.made(evidence), notes=notes)]


def _offer(one: sentences.Offer) -> tuple[Cell, ...]:
    has_point = one.row.verdict != NO_POINT
    return (
        interval(one.knee, 2) if has_point else Missing(NO_POINT),
        Number(one.stable_from, 2),
        Text(one.at) if one.at else Missing(),
        interval(one.evidence),
        Number(one.row.estimate, 2),
        Text(one.row.verdict or ""),
    )


def offer_sentences(numbers: Numbers, experiment: str) -> list[Paragraph]:
    """What each model offers, what the study is offered, and the rule.

    Empty for experiments without an offer.
    """
    found = sentences.offers(numbers, experiment)
    return list(map(Paragraph, sentences.offered(found)))
