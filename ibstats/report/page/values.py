"""Values by prompt behind an analysis: what a page sorts by, and the dots of its charts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.design import Condition, Design
from ibstats.kernels import factorial
from schemas.design import DesignRecord
from schemas.results import ResultRow

GROUPS = ("per_prompt", "quality_per_prompt")
"""Groups of an analysis that hold values by condition and prompt."""

Dots = list[tuple[str, float]]
"""Id of each prompt and its value, in the order of the run."""


def by_prompt(tree: xr.DataTree | None, model: str) -> dict[str, xr.DataArray]:
    """Values by `(condition, prompt)` that an analysis holds of a model, by quantity.

    In one order: distances, then scores, each by name. Nothing without a tree, and of a model that
    it does not hold.
    """
    found: dict[str, xr.DataArray] = {}
    if tree is None or model not in tree.children:
        return found
    groups = tree.children[model].children
    for name in GROUPS:
        if name in groups:
            values = groups[name].to_dataset()
            for quantity in sorted(map(str, values.data_vars)):
                if set(values[quantity].dims) == {"condition", "prompt"}:
                    found[quantity] = values[quantity].transpose("condition", "prompt")
    return found


@dataclass(frozen=True)
class Values:
    """One quantity of one model by `(condition, prompt)`, and the design that it is of."""

    values: xr.DataArray
    record: DesignRecord

    @cached_property
    def _conditions(self) -> dict[str, NDArray[np.float64]]:
        names = map(str, self.values["condition"].values)
        return dict(zip(names, self.values.values, strict=True))

    @cached_property
    def _effects(self) -> dict[str, NDArray[np.float64]]:
        """Effects of a complete factorial by prompt, as `ibstats.statistics.effects` has them."""
        named = [Condition(one.name, one.levels) for one in self.record.conditions]
        design = Design(self.record.kind, tuple(named), tuple(self.record.factors))
        if not design.is_factorial:
            return {}
        factors = [factor.name for factor in design.factors]
        cells = design.by_factor(self.values)
        found = factorial.contrasts(cells.transpose("prompt", *factors).values)
        return dict(zip(factorial.names(len(factors), factors), found.T, strict=True))

    def dots(self, row: ResultRow) -> Dots:
        """The values whose mean over prompts a row is: a change between conditions, or an effect.

        Nothing for other rows.
        """
        there = self._conditions
        if row.condition in there and row.against in there:
            return self._named(there[row.condition] - there[row.against])
        if row.effect and not row.at and not row.condition and row.effect in self._effects:
            return self._named(self._effects[row.effect])
        return []

    def _named(self, numbers: Iterable[float]) -> Dots:
        ids = map(str, self.values["prompt"].values)
        return list(zip(ids, map(float, numbers), strict=True))
