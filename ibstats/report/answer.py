"""The answer of an analysis: where the diversity of each model comes from, on one screen.

Made of rows of results alone, so that terminal, page, Markdown and JSON say it in the same words:
`answer` gives sentences, tables and cautions; `Answer.parts` puts them in order for any renderer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from ibstats.quantities import Quantity, preferred, quantity
from ibstats.report.table import (
    Cell,
    Column,
    Heading,
    Interval,
    Missing,
    P,
    Paragraph,
    Part,
    Table,
    Text,
    stacked,
)
from ibstats.report.tables import grid, path_and_execution, whole_image
from ibstats.results import words
from ibstats.results.lookup import distinct, keyed
from ibstats.statistics.unseen import MOST_UNSEEN
from ibstats.store import UNEQUAL

if TYPE_CHECKING:
    from ibstats.results.lookup import Numbers
    from schemas.results import ResultRow

ALPHA = 0.05
"""Adjusted p values below it decide a direction."""

CHANGES = ("probe", "contrast", "effect")
"""Sections of tested changes, the first that an experiment has."""

MOST_COLUMNS = 4
"""Changes that stand side by side; more of them stand below each other."""

MOST_LINES = 8
"""Changes of a model that stand below each other; the rest is in the whole report."""

FEW_PROMPTS = 20
"""Prompts below which intervals cover less than they say (docs/verification.md)."""

CHANGE = "change"
"""Name of the table of changes."""

TO_ZERO, DROP, RISE, EQUIVALENT, UNDECIDED = "to zero", "drop", "rise", "equivalent", "undecided"

CLAUSES = {
    TO_ZERO: "falls to 0 under {}",
    DROP: "falls under {}",
    EQUIVALENT: "stays within {margin} under {}",
    RISE: "rises under {}",
    UNDECIDED: "is undecided under {}",
}
"""What a change of diversity was judged to be, in words and in this order."""

STRATEGIES = {
    "mixed": "none of the paper's strategies",
    "undecided": "strategy undecided",
}
"""Verdicts that name no strategy, in a sentence."""

NO_LPIPS = "lpips_alex_distance is left out"
"""How the note begins that says why there is no LPIPS."""

ERROR_CONTROL = "verdicts: p Holm < .05 in a model"
EQUIVALENCE = "equivalent: 90% interval within {}"


@dataclass(frozen=True)
class Answer:
    """What an analysis says of each model, what it cannot say, and where the rest is.

    `places` are files by what lies in them and `command` is the next useful one; both are empty
    until somebody who knows them fills them in.
    """

    heading: str
    """How much data it is of, and the distance that diversity is told by."""
    sentences: Mapping[str, str]
    """One a model."""
    tables: tuple[Table, ...]
    """Change of diversity, a line a model; path and execution where they were measured."""
    cautions: tuple[str, ...]
    """What is missing or weak, a line each."""
    places: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    whole_images: Mapping[str, str] = field(default_factory=dict)
    """What whole images tell of wording and prompt, of the models whose images were scored."""

    def parts(self) -> list[Part]:
        """Everything in order, for a renderer."""
        found: list[Part] = [Heading(self.heading), *map(Paragraph, self.sentences.values())]
        found += self.tables
        found += map(Paragraph, self.whole_images.values())
        found += map(Paragraph, self.cautions)
        for where, kinds in _together(self.places).items():
            found.append(Paragraph(f"{', '.join(kinds)}: {where}", whole=True))
        if self.command:
            found.append(Paragraph(f"next: {self.command}", whole=True))
        return found


def _together(places: Mapping[str, str]) -> dict[str, list[str]]:
    """What lies in each folder, by name; what is no path stands under its own kind."""
    found: dict[str, list[str]] = {}
    for kind, where in places.items():
        folder, slash, name = where.rpartition("/")
        if slash and " " not in name:
            found.setdefault(folder, []).append(name)
        else:
            found.setdefault(where, []).append(kind)
    return found


def answer(numbers: Numbers) -> Answer:
    """The answer that the rows of an analysis give, of the experiment that its settings name.

    Diversity is told by the paper's distance where it was measured, else by the one that stands in
    for it. What was not measured is left out, and a caution says so.
    """
    experiment = numbers.document.settings.get("experiment", "")
    if experiment not in numbers.experiments():
        experiment = next(iter(numbers.experiments()), "")
    told = numbers.models(experiment=experiment)
    distance = _distance(numbers, experiment)
    tables: list[Table] = []
    sentences = {}
    if distance is None:
        for model in told:
            sentences[model] = f"{_named(numbers, model)}: no distance of images was measured."
    else:
        section = _section(numbers, experiment, distance)
        tables += _changes(numbers, experiment, told, distance, section)
        for model in told:
            sentences[model] = _sentence(numbers, experiment, model, distance, section)
    by = None if distance is None else distance.name
    tables += path_and_execution.brief(numbers, experiment, told, by)
    cautions = tuple(_cautions(numbers, experiment))
    heading = _heading(numbers, experiment, distance)
    scored = whole_image.said(numbers, experiment, told)
    return Answer(heading, sentences, tuple(tables), cautions, whole_images=scored)


def shortened(found: Answer, height: Callable[[Sequence[Part]], int], most: int) -> Answer:
    """The answer in `most` lines at most, by `height`, as far as that goes.

    First the intervals of path and execution are left to the whole report, then what whole images
    tell, then the table of path and execution, then models, from the last one; a caution says what
    is left out.
    """
    ways = [found, replace(found, tables=tuple(map(_without_intervals, found.tables)))]
    if found.whole_images:
        ways.append(_leaving(replace(ways[-1], whole_images={}), "what whole images tell"))
    changes = [table for table in found.tables if table.name == CHANGE]
    if changes:
        ways.append(_leaving(replace(ways[-1], tables=tuple(changes)), "path and execution"))
    models, of_all = list(found.sentences), ways[-1]
    for n_models in range(len(models) - 1, 0, -1):
        n_left = len(models) - n_models
        left = _leaving(of_all, f"{n_left} more model{'s' * (n_left > 1)}")
        ways.append(_of_models(left, models[:n_models]))
    for way in ways:
        if height(way.parts()) <= most:
            return way
    return ways[-1]


def _without_intervals(table: Table) -> Table:
    """The table with estimates alone, if it is that of path and execution."""
    if table.name == CHANGE:
        return table
    rows = []
    for row in table.rows:
        rows.append(tuple(map(_estimate, row)))
    return replace(table, rows=tuple(rows))


def _estimate(cell: Cell) -> Cell:
    if not isinstance(cell, Interval):
        return cell
    return replace(cell, low=None, high=None, degenerate=False)


def _leaving(found: Answer, what: str) -> Answer:
    return replace(found, cautions=(f"{what}: see report --full", *found.cautions))


def _of_models(found: Answer, models: Sequence[str]) -> Answer:
    """The answer of these models alone."""
    tables = []
    for table in found.tables:
        rows = tuple(row for row in table.rows if _names(row[0], models))
        groups = tuple(rule for rule in table.groups if rule < len(rows))
        tables.append(replace(table, rows=rows, groups=groups))
    sentences = {model: found.sentences[model] for model in models}
    scored = {model: said for model, said in found.whole_images.items() if model in models}
    return replace(found, sentences=sentences, tables=tuple(tables), whole_images=scored)


def _names(cell: Cell, models: Sequence[str]) -> bool:
    return isinstance(cell, Text) and cell.words in models


def _distance(numbers: Numbers, experiment: str) -> Quantity | None:
    """The distance that stands for diversity; None where none was measured."""
    found = numbers.quantities("diversity", experiment=experiment)
    name = preferred("distance", list(map(attrgetter("name"), found)))
    if name is not None:
        return quantity(name)
    return found[0] if found else None


def _heading(numbers: Numbers, experiment: str, distance: Quantity | None) -> str:
    rows = numbers.all("diversity", "information", experiment=experiment)
    said = f"{words.extent(rows, 'n_prompts') or 'no'} prompts"
    images = words.images(rows)
    if images:
        said += f" x {images} images"
    if distance is not None:
        said += f": diversity by {distance.short}"
    return said


def _section(numbers: Numbers, experiment: str, distance: Quantity) -> str:
    """The section of the changes that are told of; empty where nothing was compared."""
    for section in CHANGES:
        if numbers.all(section, experiment=experiment, quantity=distance.name):
            return section
    return ""


def _of(
    numbers: Numbers, experiment: str, model: str, distance: Quantity, section: str
) -> list[ResultRow]:
    here = {"experiment": experiment, "model": model, "quantity": distance.name}
    return numbers.all(section, **here) if section else []


def _judged(numbers: Numbers, row: ResultRow) -> str:
    """What a change was judged to be.

    By equivalence within the margin where there is one; else a direction, if p Holm decides it.
    """
    here = {"experiment": row.experiment, "model": row.model, "quantity": row.quantity}
    verdict = numbers.one("equivalence", effect=row.effect, **here)
    if verdict is not None and verdict.verdict in CLAUSES:
        return verdict.verdict
    left = numbers.one("diversity", condition=row.condition, **here)
    if row.estimate and left is not None and left.estimate == 0 and left.degenerate:
        return TO_ZERO
    if row.estimate is None or row.p_holm is None or row.p_holm >= ALPHA:
        return UNDECIDED
    return DROP if row.estimate < 0 else RISE


def _sentence(
    numbers: Numbers, experiment: str, model: str, distance: Quantity, section: str
) -> str:
    """What the diversity of a model does under each change, and the strategy that this makes."""
    rows = _of(numbers, experiment, model, distance, section)
    said = _named(numbers, model)
    here = {"experiment": experiment, "model": model, "quantity": distance.name}
    strategy = numbers.one("strategy", **here)
    if strategy is not None and strategy.verdict:
        said += f", {STRATEGIES.get(strategy.verdict, strategy.verdict)}"
    if not rows:
        return f"{said}: {_values(numbers, experiment, model, distance)}."
    by: dict[str, list[str]] = {}
    margins = distinct(numbers.all("equivalence", **here), "margin")
    for row in rows[:MOST_LINES]:
        by.setdefault(_judged(numbers, row), []).append(_effect(row))
    clauses = []
    for judged, clause in CLAUSES.items():
        if judged in by:
            margin = words.margins(margins) if margins else ""
            clauses.append(clause.format(words.listed(by[judged]), margin=margin))
    return f"{said}: diversity {', '.join(clauses)}."


def _named(numbers: Numbers, model: str) -> str:
    family = numbers.families.get(model)
    return f"{model} ({family})" if family else model


def _values(numbers: Numbers, experiment: str, model: str, distance: Quantity) -> str:
    """Diversity of conditions that nothing was compared with."""
    said = []
    here = {"experiment": experiment, "model": model, "quantity": distance.name}
    for row in numbers.all("diversity", **here)[:MOST_COLUMNS]:
        name = numbers.short(experiment, str(row.condition))
        said.append(f"{words.interval(row, 3)} in {name}")
    return f"diversity {', '.join(said)}"


def _effect(row: ResultRow) -> str:
    return words.times(row.effect or "")


def _changes(
    numbers: Numbers, experiment: str, models: Sequence[str], distance: Quantity, section: str
) -> list[Table]:
    """Change of diversity by each probe, a line a model; a line a change where there are many."""
    used = []
    for model in models:
        used += _of(numbers, experiment, model, distance, section)
    if not used:
        return []
    effects = distinct(used, "effect")
    by = keyed(used, "model", "effect")
    title = "Change of diversity"
    baseline = numbers.baseline(experiment)
    if baseline is not None:
        title += f" from {numbers.short(experiment, baseline)}"
    if len(effects) <= MOST_COLUMNS:
        block = []
        for model in models:
            cells = [_change(numbers, by.get((model, effect))) for effect in effects]
            block.append((Text(model), *cells))
        columns = grid.columns(map(words.times, effects))
        made = stacked(CHANGE, title, ["model"], [block], columns)
    else:
        blocks = []
        for model in models:
            rows = _of(numbers, experiment, model, distance, section)[:MOST_LINES]
            blocks.append([(Text(model), *_line(numbers, row)) for row in rows])
        heads = ["model", "change"]
        columns = [Column("estimate", Interval), Column("p Holm", P)]
        made = stacked(CHANGE, title, heads, blocks, columns)
    notes = [ERROR_CONTROL]
    here = {"experiment": experiment, "quantity": distance.name}
    margins = distinct(numbers.all("equivalence", **here), "margin")
    if margins:
        notes.append(EQUIVALENCE.format(words.margins(margins)))
    said = "; ".join(notes)
    open_ones = tuple(filter(None, [words.open_intervals(used)]))
    return [replace(made, caption=words.made_briefly(used), notes=(said, *open_ones))]


def _line(numbers: Numbers, row: ResultRow) -> tuple[Cell, ...]:
    return Text(_effect(row)), _change(numbers, row), P(row.p_holm)


def _change(numbers: Numbers, row: ResultRow | None) -> Cell:
    """A change with its interval, and what it was judged to be."""
    if row is None or row.estimate is None:
        return Missing("not measured")
    digits = words.decimals(row.low, row.high)
    word = _judged(numbers, row)
    return Interval(row.estimate, row.low, row.high, digits, row.degenerate, word=word)


def _cautions(numbers: Numbers, experiment: str) -> list[str]:
    """What is missing or weak, a line each."""
    found = []
    notes = []
    for document in numbers.documents:
        notes += document.notes
    measured = [one.name for one in numbers.quantities("diversity", experiment=experiment)]
    if not any(name.startswith("lpips") for name in measured):
        if any(note.startswith(NO_LPIPS) for note in notes):
            found.append(
                "LPIPS, the paper's distance, is missing: no weights or packages for it here"
            )
    rows = numbers.all("diversity", "information", experiment=experiment)
    prompts = distinct(rows, "n_prompts")
    if prompts and min(prompts) < FEW_PROMPTS:
        found.append(
            f"few prompts ({min(prompts)}): intervals cover less than they say below {FEW_PROMPTS}"
        )
    found += _unseen(numbers, experiment)
    notes = list(dict.fromkeys(notes))
    found += [note for note in notes if UNEQUAL in note]
    n_left = len(notes)
    if n_left:
        found.append(f"{n_left} notes on what was left out or is weak: see report --full")
    return found


def _unseen(numbers: Numbers, experiment: str) -> list[str]:
    """The largest mass of unseen codes, where an entropy cannot be relied on for it."""
    masses = []
    for name in ("unseen_by_prompt", "unseen_by_image"):
        for row in numbers.all("information", experiment=experiment, quantity=name):
            if row.estimate is not None and row.estimate > MOST_UNSEEN:
                masses.append((row.estimate, row.model))
    if not masses:
        return []
    most, model = max(masses)
    return [
        f"Shannon entropies rest on unseen codes (up to {most:.2f} of the tokens, {model}): "
        "read the collision entropies"
    ]
