"""What conditions mean: their order, the levels of their factors, and the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ibstats.errors import IbstatsError, unknown
from ibstats.importing.layout import natural
from ibstats.importing.spec import Spec
from schemas.design import FACTORS, Factor

Levels = dict[str, dict[str, str]]
"""Level of each factor, by condition."""


@dataclass(frozen=True)
class Meaning:
    """The conditions of a run and how they hang together."""

    conditions: list[str]
    levels: Levels
    factors: list[Factor]
    baseline: str | None


def meaning(spec: Spec, found: Levels) -> Meaning:
    """Give the design of the conditions that files name.

    `found` holds every condition, with its levels where factors name it. What the spec says of
    conditions wins, and gives their order. Of a factor whose levels the spec does not order, those
    of the paper have the paper's order; of others the baseline's level is the low one, so that an
    effect is that of the intervention. Raises IbstatsError for names that do not agree.
    """
    conditions = natural(found)
    levels = found
    if spec.conditions:
        for name in spec.conditions:
            if name not in found:
                raise unknown("condition", name, conditions)
        left = [name for name in conditions if name not in spec.conditions]
        if left:
            raise IbstatsError(
                f"the files have a condition '{left[0]}' that the spec does not name; name it "
                "under `conditions`, or let the patterns leave it out"
            )
        conditions = list(spec.conditions)
        levels = {name: spec.conditions[name] or found[name] for name in conditions}
    if spec.baseline is not None and spec.baseline not in conditions:
        raise unknown("baseline", spec.baseline, conditions)
    base = levels.get(spec.baseline or "", {})
    factors = []
    for name in _factor_names(levels):
        factors.append(_factor(name, spec, levels, base.get(name)))
    return Meaning(conditions, {name: levels[name] for name in conditions}, factors, spec.baseline)


def _factor_names(levels: Levels) -> list[str]:
    """Factors in the order in which conditions name them."""
    names: dict[str, None] = {}
    for of in levels.values():
        names.update(dict.fromkeys(of))
    return list(names)


def _factor(name: str, spec: Spec, levels: Levels, base: str | None) -> Factor:
    """One factor with its two levels in order."""
    seen = natural({of[name] for of in levels.values() if name in of})
    if len(seen) != 2:
        raise IbstatsError(
            f"factor '{name}' has the levels {', '.join(seen)}, but a factor has two; name the "
            "conditions with {condition} instead"
        )
    ordered = _order(name, spec.factors, base, seen)
    if set(ordered) != set(seen):
        raise IbstatsError(
            f"factor '{name}' has the levels {', '.join(seen)}, but the spec says "
            f"{', '.join(ordered)}"
        )
    return Factor(name=name, low=ordered[0], high=ordered[1])


def _order(
    name: str, given: Mapping[str, tuple[str, str]], base: str | None, seen: list[str]
) -> list[str]:
    """The levels of a factor, low then high."""
    if name in given:
        return list(given[name])
    for factor in FACTORS:
        if factor.name == name and {factor.low, factor.high} == set(seen):
            return [factor.low, factor.high]
    return sorted(seen, key=lambda level: level != base)
