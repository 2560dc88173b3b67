"""Path and execution of a run: the tables, and the rows as CSV, from the one analysis."""

from __future__ import annotations

from dataclasses import dataclass

from ibstats.analysis.measured import NO_COMPONENTS
from ibstats.errors import IbstatsError
from ibstats.measure import Machine
from ibstats.report.table import Part
from ibstats.report.tables import decomposition_parts
from ibstats.report.tables.wording import wording_parts
from ibstats.results.kept import obtain
from ibstats.results.lookup import Numbers
from ibstats.results.tidy import write_csv
from ibstats.store import Store
from schemas.analysis import Config
from schemas.io.layout import ResultsFolder

HOW_TO_CROSS = (
    "this run has no crossed-noise experiment; add one to the study: "
    "`crossed: {kind: crossed_noise, paths: 4, executions: 4}`"
)
HOW_TO_SPREAD = "no condition spreads the samples of every prompt over two or more paraphrases"


@dataclass(frozen=True)
class Decomposed:
    """Tables and sentences, and where the rows lie.

    `places` are files by what lies in them, as the command line tells them.
    """

    parts: list[Part]
    places: dict[str, str]


def decompose(
    store: Store, settings: Config, machine: Machine, *, crossed: bool, wording: bool
) -> Decomposed:
    """The bits of path and execution, or the shares of the diversity by noise and by the wording.

    Rows are written as CSV into RUN/results/export. Raises IbstatsError where a run cannot answer
    what was asked.
    """
    kinds = [store.kind(name) for name in store.experiments()]
    if crossed and "crossed_noise" not in kinds:
        raise IbstatsError(HOW_TO_CROSS)
    document = obtain(store, settings, machine)
    numbers = Numbers(document)
    parts: list[Part] = []
    if wording:
        if not numbers.all("wording"):
            raise IbstatsError(_why_no_wording(document.notes))
        parts += wording_parts(numbers)
    if crossed or not wording:
        grids = {model: store.identity(model).grid for model in numbers.models()}
        n_tokens = {model: rows * cols for model, (rows, cols) in grids.items()}
        parts += decomposition_parts(numbers, n_tokens, crossed=crossed)
    written = write_csv(document, ResultsFolder(store.path).export)
    return Decomposed(parts, {"all conditions": ", ".join(str(file) for file in written)})


def _why_no_wording(notes: list[str]) -> str:
    for note in notes:
        if "wording" in note or NO_COMPONENTS in note:
            return note
    return HOW_TO_SPREAD
