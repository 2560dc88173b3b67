"""Tables of pair distances: what is left of the diversity where images share one noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ibstats.quantities import preferred, quantity
from ibstats.report.table import Cell, Paragraph, Table, Text, interval, stacked
from ibstats.report.tables import grid
from ibstats.results import sentences, words

if TYPE_CHECKING:
    from ibstats.results.lookup import Numbers
    from schemas.results import ResultRow

WHOLE = "neither"
"""The part that the others are shares of."""

HEADS = {
    WHOLE: "neither shared",
    "path_shared": "path shared",
    "execution_shared": "exec. shared",
    "argmax": "argmax",
    "redundancy": "redundancy R",
    "tokens_shared": "tokens shared",
}
"""Parts of the pair distances, and the heads of their columns."""

RENDERED = "tokens_shared"
"""The part that is there where a decoder draws noise, and is shown there alone."""

MEANING = (
    "neither shared: mean distance of two images with other noise; the others are shares of it, of "
    "images with one path noise, with one execution noise, and of argmax images"
)
OF_TOKENS = "tokens shared: two images that the decoder drew of the same tokens, as a share too"
REDUNDANT = "R: 0 if each noise adds its own part, 1 if either alone gives all"


def shown_distance(numbers: Numbers, wanted: str | None = None) -> str | None:
    """The distance that pair distances are shown by: `wanted` where they have it, else the preferred.

    None where no noise was crossed.
    """
    found = [one.name for one in numbers.quantities("pair_distance")]
    if wanted in found or not found:
        return wanted if found else None
    return preferred("distance", found) or found[0]


def heads(numbers: Numbers, distance: str | None) -> dict[str, str]:
    """The parts that are shown by a distance, with their heads."""
    rows = numbers.all("pair_distance", quantity=distance)
    rendered = any(row.part == RENDERED for row in rows)
    return {part: head for part, head in HEADS.items() if rendered or part != RENDERED}


def of_model(numbers: Numbers, model: str, distance: str | None) -> dict[str, ResultRow]:
    """Pair distances of a model by part, of its first crossed-noise experiment.

    Empty if `distance` is None, or the model has none by it.
    """
    rows = numbers.all("pair_distance", model=model, quantity=distance)
    found: dict[str, ResultRow] = {}
    for row in rows:
        found.setdefault(str(row.part), row)
    return found


def pairs(numbers: Numbers, models: Sequence[str], distance: str | None) -> list[Table]:
    """Pair distances by one distance, a line a model; empty where none has any."""
    lines: list[tuple[Cell, ...]] = []
    used: list[ResultRow] = []
    shown = heads(numbers, distance)
    for model in models:
        found = of_model(numbers, model, distance)
        if found:
            cells = [interval(found.get(part), 3) for part in shown]
            lines.append((Text(model), *cells))
            used += found.values()
    if not lines:
        return []
    title = (
        f"Pair distances by {quantity(str(distance)).long}: what is left where a noise is shared"
    )
    made = stacked("pair-distances", title, ["model"], [lines], grid.columns(shown.values()))
    meaning = (MEANING, OF_TOKENS) if RENDERED in shown else (MEANING,)
    notes = (*meaning, REDUNDANT, *grid.notes(used))
    return [replace(made, caption=words.made(used), notes=notes)]


def said(numbers: Numbers, models: Sequence[str]) -> list[Paragraph]:
    """What is left of each model's diversity where a noise is shared, in a sentence.

    By the preferred distance; models without pair distances by it have none.
    """
    distance = shown_distance(numbers)
    found = []
    for model in models:
        sentence = sentences.pair_distances(of_model(numbers, model, distance))
        if sentence:
            found.append(Paragraph(f"{model}, by {quantity(str(distance)).short}: {sentence}."))
    return found
