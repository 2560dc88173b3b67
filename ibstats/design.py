"""The design of an experiment as one object: conditions, factors, baseline, and comparisons.

Conditions have free names. Where all combinations of some two-level factors are there, effects and
interactions are defined; where a baseline is, each other condition is compared with it; else there
are values alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import StoreContractError
from schemas.design import ARGMAX, SAMPLING, ConditionRecord, DesignRecord, Factor
from schemas.study import ABLATIONS, NOISELESS_ORDERS

Levels = Mapping[str, str]


@dataclass(frozen=True)
class Condition:
    """One named condition.

    Its name is free text, unique in the experiment; what it does is in `levels` and `settings`.
    """

    name: str
    levels: Levels = field(default_factory=dict)
    """Level of each factor that describes it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What else a probe was given, by the names of the store's coordinates: keep_ratio, argmax_window and the like."""
    arm: str = ""
    """Short name in sentences and tables; empty for the label."""

    @property
    def label(self) -> str:
        """How results name it: a cell by its levels, any other condition by its own name.

        A cell is a condition whose name is its levels, joined by dashes.

        >>> Condition("few-subset", {"steps": "few", "codebook": "subset"}).label
        'few/subset'
        """
        if self.levels and self.name == "-".join(self.levels.values()):
            return "/".join(self.levels.values())
        return self.name

    @property
    def short(self) -> str:
        """How a table or a sentence names it."""
        return self.arm or self.label


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of conditions, by name; of two conditions it is their difference.

    In the unit of the quantity that it is taken of, if its weights add up to 0.
    """

    name: str
    weights: NDArray[np.float64]
    """Weight of each condition, in the order of the design."""
    condition: str = ""
    against: str = ""
    """The two conditions compared, where it is a difference of two."""


@dataclass(frozen=True)
class Subfactorial:
    """All combinations of some factors, the others held at one level.

    There are `2 ** len(factors)` cells, each a condition of the design.
    """

    factors: tuple[Factor, ...]
    at: Levels
    """Levels held fixed; empty for the whole design."""
    names: tuple[str, ...]
    """The condition of each cell, in C order: all factors low first, all high last."""


@dataclass(frozen=True)
class OneOrder:
    """Names of the conditions of one order of a masked model; None where there is none.

    They are two by two: path noise of every sample's own or shared by those of a prompt, and draws
    or argmax. An order without path noise has the conditions `shared` and `nothing` alone.
    """

    name: str
    own: str | None = None
    """Own path noise, draws: D_0."""
    shared: str | None = None
    """Shared path noise, draws: D_P."""
    argmax: str | None = None
    """Own path noise, argmax: D_A."""
    nothing: str | None = None
    """Shared path noise, argmax: nothing is left to chance."""

    @property
    def is_fixed(self) -> bool:
        """Whether the order has no noise."""
        return self.name in NOISELESS_ORDERS

    @property
    def whole(self) -> str | None:
        """The condition in which all noise there is varies."""
        if self.is_fixed:
            return self.shared
        return self.own


PLACES = {
    ("own", "stochastic"): "own",
    ("shared", "stochastic"): "shared",
    ("own", ARGMAX): "argmax",
    ("shared", ARGMAX): "nothing",
}
"""Field of `OneOrder` by path noise and sampling."""


@dataclass(frozen=True)
class Design:
    """Named conditions, the two-level factors that describe them (any number), and the baseline.

    Both factors and baseline may lack: then there are no effects, or no comparisons.

    >>> factors = (Factor(name="steps", low="few", high="many"),)
    >>> few, many = Condition("a", {"steps": "few"}), Condition("b", {"steps": "many"})
    >>> design = Design("factorial", (few, many), factors, baseline="b")
    >>> design.is_factorial, design.cell({"steps": "few"})
    (True, 'a')
    >>> [contrast.name for contrast in design.against_baseline()]
    ['a - b']
    """

    kind: str
    conditions: tuple[Condition, ...]
    factors: tuple[Factor, ...] = ()
    baseline: str | None = None

    @property
    def names(self) -> list[str]:
        """Names of the conditions, in the order of the data."""
        return [condition.name for condition in self.conditions]

    def condition(self, name: str) -> Condition:
        """The condition of that name.

        Raises StoreContractError, with the names there are, if there is none.
        """
        return self.conditions[self.position(name)]

    def position(self, name: str) -> int:
        """Where a condition stands in the order of the data, from 0.

        Raises StoreContractError, with the names there are, if there is none of that name.
        """
        if name not in self.names:
            known = ", ".join(self.names)
            raise StoreContractError(
                f"no condition '{name}' in this experiment; there are: {known}"
            )
        return self.names.index(name)

    def cell(self, levels: Levels) -> str | None:
        """Name of the one condition with these levels; None if there is none or several.

        `levels` may name some of the factors only.
        """
        found = []
        for condition in self.conditions:
            if all(condition.levels.get(factor) == level for factor, level in levels.items()):
                found.append(condition.name)
        return found[0] if len(found) == 1 else None

    @property
    def is_ablation(self) -> bool:
        """Whether its conditions are arms, each compared with the one without intervention."""
        return self.kind in ABLATIONS

    @property
    def is_factorial(self) -> bool:
        """Whether each combination of the factors is a condition, once, and nothing else is.

        False without factors.
        """
        return (
            bool(self.factors)
            and len(self.conditions) == 2 ** len(self.factors)
            and (self._cells(self.factors, {}) is not None)
        )

    def subfactorials(self) -> list[Subfactorial]:
        """The largest complete factorials among the conditions, as few factors held as possible.

        That is the whole design where it is complete; else its parts with one factor held at a
        level, else with two, and so on. Empty if no factor has both of its levels anywhere.
        """
        for n_held in range(len(self.factors)):
            found = []
            for held in combinations(self.factors, n_held):
                free = tuple(factor for factor in self.factors if factor not in held)
                for levels in product(*((factor.low, factor.high) for factor in held)):
                    at = {factor.name: level for factor, level in zip(held, levels, strict=True)}
                    names = self._cells(free, at)
                    if names is not None:
                        found.append(Subfactorial(free, at, names))
            if found:
                return found
        return []

    def _cells(self, free: tuple[Factor, ...], at: Levels) -> tuple[str, ...] | None:
        """Conditions of all combinations of the free factors, in C order; None if one is missing."""
        names = []
        for levels in product(*((factor.low, factor.high) for factor in free)):
            cell = dict(at)
            cell.update(zip((factor.name for factor in free), levels, strict=True))
            name = self.cell(cell)
            if name is None:
                return None
            names.append(name)
        return tuple(names)

    def by_factor(self, values: xr.DataArray, part: Subfactorial | None = None) -> xr.DataArray:
        """`(condition, prompt, ...)` as `(prompt, factor, ..., rest)`, levels low then high.

        `part` is one of `subfactorials`; by default the whole design. Raises StoreContractError if
        that is not a complete factorial.

        >>> factors = (Factor(name="steps", low="few", high="many"),)
        >>> many, few = Condition("m", {"steps": "many"}), Condition("f", {"steps": "few"})
        >>> y = xr.DataArray([[3.0], [1.0]], dims=("condition", "prompt"))
        >>> Design("factorial", (many, few), factors).by_factor(y).values
        array([[1., 3.]])
        """
        part = part or self._whole()
        positions = [self.position(name) for name in part.names]
        rest = [dim for dim in values.dims if dim not in ("condition", "prompt")]
        ordered = values.isel(condition=positions).transpose("condition", "prompt", *rest)
        k = len(part.factors)
        cells = ordered.values.reshape((2,) * k + ordered.shape[1:])
        dims = ("prompt", *(factor.name for factor in part.factors), *rest)
        coords: dict[str, Any] = {f.name: [f.low, f.high] for f in part.factors}
        for dim in ("prompt", *rest):
            if dim in values.coords:
                coords[str(dim)] = values[dim].values
        moved = np.moveaxis(cells, k, 0)
        return xr.DataArray(moved, dims=dims, coords=coords, name=values.name, attrs=values.attrs)

    def _whole(self) -> Subfactorial:
        if not self.is_factorial:
            raise StoreContractError(
                f"this experiment ({self.kind}: {', '.join(self.names)}) is not a complete factorial of "
                f"{', '.join(factor.name for factor in self.factors) or 'any factors'}"
            )
        return self.subfactorials()[0]

    def probes(self) -> list[Contrast]:
        """Each factor alone moved away from the baseline (paper, Fig. 2), named by its new level.

        Probes that leave a high level (less is allowed) come first, those that leave a low one
        (more is) after them. None where there is no baseline, or no complete factorial.
        """
        if self.baseline is None or not self.is_factorial:
            return []
        base = self.condition(self.baseline).levels
        ordered = sorted(self.factors, key=lambda factor: base[factor.name] == factor.low)
        found = []
        for factor in ordered:
            level = factor.low if base[factor.name] == factor.high else factor.high
            name = self.cell({**base, factor.name: level})
            if name is not None:
                found.append(self.difference(name, self.baseline, level))
        return found

    def moved(self, factor: str, level: str) -> str | None:
        """The condition that differs from the baseline in that factor alone; None if there is none.

        None too where there is no baseline, or it has that level itself.
        """
        if self.baseline is None:
            return None
        name = self.cell({**self.condition(self.baseline).levels, factor: level})
        return None if name == self.baseline else name

    def against_baseline(self) -> list[Contrast]:
        """Each other condition minus the baseline, in the order of the data.

        None where there is no baseline.
        """
        if self.baseline is None:
            return []
        others = [name for name in self.names if name != self.baseline]
        return [self.difference(name, self.baseline) for name in others]

    def orders(self) -> list[OneOrder]:
        """The orders of a masked model, as they come; none where the order is not varied.

        >>> free = Condition("a", {SAMPLING: "stochastic"}, {"order": "random", "path_noise": "own"})
        >>> [one.own for one in Design("order", (free,)).orders()]
        ['a']
        """
        if self.kind != "order":
            return []
        found: dict[str, dict[str, str]] = {}
        for condition in self.conditions:
            noises = str(condition.settings["path_noise"]), condition.levels[SAMPLING]
            places = found.setdefault(str(condition.settings["order"]), {})
            places[PLACES[noises]] = condition.name
        return [OneOrder(name, **places) for name, places in found.items()]

    def difference(self, plus: str, minus: str, name: str = "") -> Contrast:
        """One condition minus another one; `name` by default says so, with their short names.

        Raises StoreContractError for a name that is none of the conditions.
        """
        weights = np.zeros(len(self.conditions))
        weights[self.position(plus)] += 1
        weights[self.position(minus)] -= 1
        said = name or f"{self.condition(plus).short} - {self.condition(minus).short}"
        return Contrast(said, weights, plus, minus)

    def values(self, setting: str) -> list[Any]:
        """A setting of every condition, in the order of the data; None where a condition has none.

        `setting` is a coordinate of the store, one of `SETTINGS`.
        """
        return [condition.settings.get(setting) for condition in self.conditions]

    def record(self) -> DesignRecord:
        """The design as results state it.

        Settings are left out: they stand in the store.
        """
        conditions = []
        for condition in self.conditions:
            shown = ConditionRecord(
                name=condition.name,
                levels=dict(condition.levels),
                label=condition.label,
                short=condition.short,
            )
            conditions.append(shown)
        return DesignRecord(
            kind=self.kind,
            conditions=conditions,
            factors=list(self.factors),
            baseline=self.baseline,
        )


SETTINGS = (
    "keep_ratio",
    "subset_method",
    "argmax_window",
    "paraphrase_length",
    "n_paraphrases",
    "subset_draw",
    "order",
    "path_noise",
    "entropy_bound",
)
"""Coordinates of the store that say what a condition's probe was given."""


def design_of(dataset: xr.Dataset, record: DesignRecord) -> Design:
    """The design of an experiment: what the run records of it, with the settings in its Dataset.

    Parameters: `dataset`, of that experiment, with the coordinates of `SETTINGS` that it has over
    `condition`; `record`, from the run. Arms of an ablation lose the number that orders them.
    """
    conditions = []
    for number, one in enumerate(record.conditions):
        settings = {}
        for setting in SETTINGS:
            if setting in dataset.coords:
                settings[setting] = dataset[setting].values[number]
        arm = _without_number(one.name) if record.kind in ABLATIONS else ""
        conditions.append(Condition(one.name, one.levels, settings, arm))
    return Design(record.kind, tuple(conditions), tuple(record.factors), record.baseline)


def _without_number(name: str) -> str:
    """Name of an arm without the number that keeps the arms of an ablation in order."""
    number, dash, rest = name.partition("-")
    return rest if dash and number.isdigit() else name
