"""How much of the diversity of paraphrase conditions lies between their wordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from ibstats.report.table import Part, Table, Text, stacked
from ibstats.report.tables import grid
from ibstats.results import words
from ibstats.results.lookup import Numbers, distinct, keyed

PARTS = {
    "within": "mean distance within a wording",
    "between": "mean distance between wordings",
    "component": "variance due to the wording",
    "share": "share of the wording",
}
"""What each part is, in the order of the table."""


def changes(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """Changes of diversity by paraphrases between wordings alone, a line a probe, a column a distance.

    Those over all pairs stand among the probes; the note says on what they depend. Empty where no
    condition has several wordings.
    """
    shown = grid.measured(numbers, "wording_effect", experiment, models, "distance")
    of = grid.Grid("wording_effect", experiment, line="effect", head="probe", marks=True)
    title = "Change of diversity by paraphrases, between wordings"
    made = grid.make(numbers, of, "wording-effects", title, models, shown)
    rows = []
    for model in models:
        rows += grid.of_quantities(numbers, of, model, shown)
    return grid.with_notes(made, words.MARKS, *words.remarks(rows))


def wording_parts(numbers: Numbers) -> list[Part]:
    """The share of the wording in the diversity: a table for each model and distance.

    A line a part, a column a condition that spreads its samples over texts. Empty where there is
    none.
    """
    tables: list[Part] = []
    for model in numbers.models("wording"):
        for distance in numbers.quantities("wording", model=model):
            rows = numbers.all("wording", model=model, quantity=distance.name)
            experiment = rows[0].experiment
            by = keyed(rows, "condition", "part")
            shown = grid.in_order(numbers, experiment, distinct(rows, "condition"))
            block = []
            for part, meaning in PARTS.items():
                cells = grid.intervals(by, product(shown, [part]), 3)
                block.append((Text(meaning), *cells))
            columns = grid.columns(numbers.short(experiment, name) for name in shown)
            title = f"{model}: wording in {distance.long}"
            made = stacked(f"wording-{model}-{distance.name}", title, ["part"], [block], columns)
            tables.append(replace(made, caption=words.made(rows)))
    return tables
