"""Tables of what whole images tell of their text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from ibstats.quantities import of_family
from ibstats.report.table import Column, Interval, Table, Text, interval, stacked
from ibstats.report.tables import grid
from ibstats.results import sentences, words
from ibstats.results.lookup import distinct
from schemas.rescored import EMPTY, STUDY, WORDINGS

if TYPE_CHECKING:
    from ibstats.results.lookup import Numbers
    from schemas.results import ResultRow

AMONG = {
    STUDY: "the prompts of the run",
    WORDINGS: "the wordings of the prompt",
    EMPTY: "no prompt",
}
"""What an image's text stands among, by contrast."""


def told(numbers: Numbers, experiment: str, model: str) -> list[Table]:
    """What the images of each condition tell of their text, in bits an image, a block a condition.

    Of bounds by paths those of the most paths. Empty where no contrast was scored.
    """
    here = {"experiment": experiment, "model": model}
    rows = numbers.all("whole_image", **here)
    if not rows:
        return []
    blocks, used = [], []
    for condition in grid.in_order(numbers, experiment, distinct(rows, "condition")):
        block = []
        for row in _shown(numbers.all("whole_image", condition=condition, **here)):
            name = Text(numbers.short(experiment, condition))
            block.append((name, Text(_long(row)), Text(among(row.part)), interval(row, 2)))
            used.append(row)
        blocks.append(block)
    title = f"{model}: what whole images tell of their text"
    columns = [Column("bits an image", Interval)]
    made = stacked(
        f"whole-image-{model}", title, ["condition", "quantity", "among"], blocks, columns
    )
    return [replace(made, caption=words.made(used), notes=grid.notes(used))]


def said(numbers: Numbers, experiment: str, models: Iterable[str]) -> dict[str, str]:
    """What whole images tell of wording and prompt, a sentence for each model that has either.

    Each quantity is of the condition nearest to the one without intervention that it is known of:
    that of a wording needs paraphrases. Of bounds by paths those of the most paths.
    """
    found = {}
    for model in models:
        rows = numbers.all("whole_image", experiment=experiment, model=model)
        rows.sort(key=lambda row: (_distance(numbers, row), -(row.paths or 0)))
        nearest: dict[str, ResultRow] = {}
        for row in rows:
            nearest.setdefault(row.quantity, row)
        sentence = sentences.whole_image(nearest)
        if sentence:
            found[model] = f"{model}, whole images: {sentence}."
    return found


def _distance(numbers: Numbers, row: ResultRow) -> int:
    """Levels in which the condition of a row differs from the one without intervention."""
    levels = {}
    if row.experiment in numbers.designs:
        for condition in numbers.designs[row.experiment].conditions:
            levels[condition.name] = set(condition.levels.items())
    base = levels.get(numbers.baseline(row.experiment) or "", set())
    return len(levels.get(row.condition or "", set()) - base)


def among(part: str | None) -> str:
    """What an image's text stands among, by the part of a row, which is its contrast.

    >>> among("400")
    '400 other prompts'
    """
    return AMONG.get(str(part), f"{part} other prompts")


def _shown(rows: list[ResultRow]) -> list[ResultRow]:
    """The rows of the most paths of each contrast, in the order of quantities."""
    most: dict[str | None, int] = {}
    for row in rows:
        most[row.part] = max(most.get(row.part, 0), row.paths or 0)
    order = [record.name for record in of_family("image")]
    chosen = [row for row in rows if (row.paths or 0) == most[row.part]]
    return sorted(chosen, key=lambda row: (list(most).index(row.part), order.index(row.quantity)))


def _long(row: ResultRow) -> str:
    (record,) = [one for one in of_family("image") if one.name == row.quantity]
    return record.long
