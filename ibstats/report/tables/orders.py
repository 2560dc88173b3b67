"""Tables of an experiment that varies the order: what each noise gives, and bits, order by order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ibstats.quantities import Quantity, preferred, quantity
from ibstats.report.table import Cell, Paragraph, Part, Table, Text, interval, stacked
from ibstats.report.tables import grid, pair_distances
from ibstats.results import sentences, words

if TYPE_CHECKING:
    from ibstats.results.lookup import Numbers
    from schemas.results import ResultRow

HEADS = {
    "neither": "D_0",
    "path_shared": "path shared",
    "argmax": "argmax",
    "nothing_varies": "both",
    "redundancy": "redundancy R",
}
"""Parts of the pair distances of an order, and the heads of their columns."""

MEANING = (
    "D_0: mean distance of two images with other noise; path shared, argmax: what is left of it, as "
    "a share, where images share the path noise, or where tokens are modes; both: the distance that is "
    "left where they do and are, 0 exactly"
)

BITS = {
    "path_causal": "H(P|X) ≥",
    "path_upper_schedule": "H(P|X) ≤",
    "tokens_lower": "H(Z|X) ≥",
    "tokens_upper": "H(Z|X) ≤",
    "joint": "H(P,Z|X)",
}
"""Bits of an order, and the heads of their columns."""

MORE = "tokens_more_lower"
"""How much more H(Z|X) an order has than the baseline, at least."""

COMPARED = "{head}: than {baseline}, over the prompts whose paths were rescored: the lower bound less the upper one"

BOUNDED = (
    "bits an image; A and the schedule (for entropy_bounded H(Z|X)) bound H(P|X), and are equal where the "
    "order is fixed or random; H(Z|X) is exact where the order has no noise, else bounded by rescored paths "
    "(`ibgenerate rescore`), and at most H(P,Z|X)"
)


def tables(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    """The two tables of the orders, of all `models`; none where the experiment is of another kind.

    Lines are the conditions in which all noise of an order varies; distances by the preferred one.
    """
    if not _is_of_orders(numbers, experiment):
        return []
    return [*_pairs(numbers, experiment, models), *_bits(numbers, experiment, models)]


def said(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Paragraph]:
    """Whether the diversity of each order is that of its path noise, in a sentence an order.

    By the preferred distance. None for orders without noise, and for other experiments.
    """
    if not _is_of_orders(numbers, experiment):
        return []
    distance = pair_distances.shown_distance(numbers)
    found = []
    for model in models:
        for condition in _conditions(numbers, experiment, model):
            sentence = sentences.order(_parts(numbers, experiment, model, condition, distance))
            if sentence:
                name = numbers.short(experiment, condition)
                short = quantity(str(distance)).short
                found.append(Paragraph(f"{model}, {name} order, by {short}: {sentence}."))
    return found


def parts(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Part]:
    """The tables of the orders and the sentences below them."""
    return [*tables(numbers, experiment, models), *said(numbers, experiment, models)]


def _is_of_orders(numbers: Numbers, experiment: str) -> bool:
    design = numbers.designs.get(experiment)
    return design is not None and design.kind == "order"


def _conditions(numbers: Numbers, experiment: str, model: str) -> list[str]:
    """The conditions in which all noise of an order varies, in the order of the design.

    They are those that pair distances are of, and those whose bits are compared.
    """
    here = {"experiment": experiment, "model": model}
    found = []
    for row in numbers.all("pair_distance", "information_effect", **here):
        if row.section == "pair_distance" or quantity(row.quantity).family == "bits":
            found += [row.condition, row.against]
    return grid.in_order(numbers, experiment, [name for name in dict.fromkeys(found) if name])


def _parts(
    numbers: Numbers, experiment: str, model: str, condition: str, distance: str | None
) -> dict[str, ResultRow]:
    """Pair distances of one order by part."""
    here = {"experiment": experiment, "model": model, "condition": condition, "quantity": distance}
    return {str(row.part): row for row in numbers.all("pair_distance", **here)}


def _pairs(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    distance = pair_distances.shown_distance(numbers)
    blocks: list[list[tuple[Cell, ...]]] = []
    used: list[ResultRow] = []
    for model in models:
        block: list[tuple[Cell, ...]] = []
        for condition in _conditions(numbers, experiment, model):
            found = _parts(numbers, experiment, model, condition, distance)
            if not found:
                continue
            cells = [interval(found.get(part), 3) for part in HEADS]
            name = Text(numbers.short(experiment, condition))
            block.append((*grid.named(models, model), name, *cells))
            used += found.values()
        blocks.append(block)
    if not used:
        return []
    title = f"Orders, by {quantity(str(distance)).long}: what each noise gives"
    columns = grid.columns(HEADS.values())
    made = stacked("orders", title, grid.heads(models, "order"), blocks, columns)
    notes = (MEANING, pair_distances.REDUNDANT, *grid.notes(used))
    return [replace(made, caption=words.made(used), notes=notes)]


def _bits(numbers: Numbers, experiment: str, models: Sequence[str]) -> list[Table]:
    score = _score(numbers, experiment, models)
    is_compared = bool(numbers.all("information_effect", experiment=experiment, quantity=MORE))
    blocks: list[list[tuple[Cell, ...]]] = []
    used: list[ResultRow] = []
    for model in models:
        block: list[tuple[Cell, ...]] = []
        for condition in _conditions(numbers, experiment, model):
            rows = [_of(numbers, experiment, model, condition, name) for name in BITS]
            cells = [interval(row, 0) for row in rows]
            here = {"experiment": experiment, "model": model, "condition": condition}
            if is_compared:
                rows.append(numbers.one("information_effect", quantity=MORE, **here))
                cells.append(interval(rows[-1], 1))
            if score is not None:
                rows.append(numbers.one("quality", quantity=score.name, **here))
                cells.append(interval(rows[-1], 3))
            name = Text(numbers.short(experiment, condition))
            block.append((*grid.named(models, model), name, *cells))
            used += [row for row in rows if row is not None]
        blocks.append(block)
    if not used:
        return []
    heads, notes = list(BITS.values()), [BOUNDED]
    if is_compared:
        heads.append(quantity(MORE).short)
        baseline = numbers.short(experiment, str(numbers.baseline(experiment)))
        notes.append(COMPARED.format(head=heads[-1], baseline=baseline))
    if score is not None:
        heads.append(grid.head(score))
    title = "Orders: bits of path and tokens, and quality"
    made = stacked("orders-bits", title, grid.heads(models, "order"), blocks, grid.columns(heads))
    more = grid.notes([row for row in used if row.quantity != "tokens"])  # `BOUNDED` has theirs
    return [replace(made, caption=words.made(used), notes=(*notes, *more))]


def _score(numbers: Numbers, experiment: str, models: Sequence[str]) -> Quantity | None:
    """The score that stands beside the bits; None where none was measured."""
    measured = grid.measured(numbers, "quality", experiment, models, "score")
    name = preferred("score", [one.name for one in measured])
    if name is None:
        return None
    return quantity(name)


def _of(
    numbers: Numbers, experiment: str, model: str, condition: str, name: str
) -> ResultRow | None:
    """Bits of a condition: of the bounds by rescored paths those of the most, or the exact number."""
    here = {"experiment": experiment, "model": model, "condition": condition}
    if name.startswith("tokens_"):
        exact = numbers.one("ledger", quantity="tokens", **here)
        if exact is not None and exact.estimate is not None:
            return exact
    found = None
    for row in numbers.all("ledger", quantity=name, **here):
        if row.estimate is not None:
            found = row
    return found
