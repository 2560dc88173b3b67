"""Tables of tokens: entropies of the codebook, how much of it is used, effects on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from ibstats.quantities import quantity
from ibstats.report.table import Cell, Count, Table, stacked
from ibstats.report.tables import grid
from ibstats.results.lookup import distinct, keyed
from ibstats.statistics.rarefaction import SUBSETS
from ibstats.statistics.unseen import MOST_UNSEEN

if TYPE_CHECKING:
    from ibstats.quantities import Quantity
    from ibstats.results.lookup import Numbers

ENTROPIES = ("codebook_entropy", "conditional_entropy", "mutual_information")
COLLISION = (
    "collision_entropy",
    "collision_conditional",
    "collision_information",
    "hill_2",
)
USE = (
    "utilisation",
    "perplexity",
    "coverage",
    "coverage_per_prompt",
    "unseen_by_prompt",
    "unseen_by_image",
)

POSITIONS = (
    "collision_entropy_at_position",
    "collision_conditional_at_position",
    "collision_information_at_position",
    "positions_seen",
)
POSITIONS_NOTE = (
    "chances of agreement are averaged over positions before the logarithm; positions seen: where "
    f"the mass of codes that one image alone shows is at most {MOST_UNSEEN}, so that Shannon's map "
    "can be read"
)
RAREFACTION_NOTE = (
    f"means over all subsets of that size, at most over {SUBSETS}; what holds at any number of "
    "images and prompts does not move down its column"
)
SUBSET = ("subset_mass_removed", "subset_overlap", "subset_tie_share", "subset_unseen")
SUBSET_NOTE = (
    "overlap: share of the codes kept that a calibration without end would keep too, from its "
    "halves; mass removed: of the condition without intervention"
)


def entropies(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """H(Z), H(Z|X) and I(X;Z) per token in bits, a line a condition.

    The title names the estimator. The note says what pooled estimates are of; H(Z) is of all
    prompts together, H(Z|X) the mean over prompts.
    """
    made = _of(numbers, experiment, models, "entropy", "Codebook entropy per token", ENTROPIES)
    rows = numbers.all("information", experiment=experiment, quantity=ENTROPIES[0])
    estimators = ", ".join(distinct(rows, "estimator"))
    if not estimators:
        return made
    tables = []
    for table in made:
        tables.append(replace(table, title=f"{table.title} ({estimators})"))
    return tables


def agreement(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """H2(Z), H2(Z|X), I2 and the Hill number of the tokens, a line a condition.

    What an author should report: they do not move with the number of images.
    """
    title = "Collision entropy per token"
    return _of(numbers, experiment, models, "collision", title, COLLISION)


def use(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """Share of the codebook seen, perplexity and coverage, a line a condition.

    Shares lie between 0 and 1; the perplexity is 2^H(Z). Coverage has no interval.
    """
    return _of(numbers, experiment, models, "codebook-use", "Codebook use", USE)


def positions(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """H2(Z), H2(Z|X) and I2 of tokens at one and the same position of the grid, a line a condition.

    In bits, with intervals; and the share of positions at which Shannon's entropy can be read.
    """
    title = "Collision entropy at one position of the grid"
    made = _of(numbers, experiment, models, "positions", title, POSITIONS)
    return grid.with_notes(made, POSITIONS_NOTE)


def rarefaction(numbers: Numbers, experiment: str, model: str) -> list[Table]:
    """The numbers of the codebook from fewer images and from fewer prompts, a line a part.

    Of one condition, the baseline where there is one. What holds at any number does not move down
    its column; what rests on codes that were not seen is greyed out.
    """
    rows = numbers.all("rarefaction", experiment=experiment, model=model)
    if not rows:
        return []
    shown = distinct(rows, "quantity")
    by_part = keyed(rows, "part", "quantity")
    block: list[tuple[Cell, ...]] = []
    first = {row.part: row for row in reversed(rows)}
    for part in distinct(rows, "part"):
        of = first[part]
        cells = grid.intervals(by_part, product([part], shown), 3)
        block.append((Count(of.n_images), Count(of.n_prompts), *cells))
    condition = numbers.short(experiment, rows[0].condition or "")
    title = f"The same from fewer images and from fewer prompts ({condition})"
    columns = grid.columns(grid.head(quantity(name)) for name in shown)
    made = stacked("rarefaction", title, ["images", "prompts"], [block], columns)
    return [replace(made, notes=(RAREFACTION_NOTE, *grid.notes(rows)))]


def subsets(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """What each restricted codebook takes away, and how far the calibration knows what it keeps.

    A line a condition that may not use every code; no table where all may. Shares between 0 and 1.
    """
    title = "Codebook subsets, and what the calibration knows of them"
    made = _of(numbers, experiment, models, "subsets", title, SUBSET)
    return grid.with_notes(made, SUBSET_NOTE)


def chosen(measured: Sequence[Quantity], names: Sequence[str]) -> list[Quantity]:
    """Those of the quantities measured that have one of these names, in the order of the names.

    Names that were not measured are left out.
    """
    found = [one for one in measured if one.name in names]
    return sorted(found, key=lambda one: names.index(one.name))


def _of(
    numbers: Numbers,
    experiment: str,
    models: Sequence[str],
    name: str,
    title: str,
    names: Sequence[str],
) -> list[Table]:
    """The quantities of these names that some model has."""
    measured = grid.measured(numbers, "information", experiment, models, "entropy", "usage")
    of = grid.Grid("information", experiment, digits=3)
    return grid.make(numbers, of, name, title, models, chosen(measured, names))
