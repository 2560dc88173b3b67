"""What the figures of an experiment are drawn from: its rows, its design, and a few arrays."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import xarray as xr

from ibstats.quantities import Family, preferred, quantity
from ibstats.report.figures.canvas import Point, lines, point
from ibstats.results import words
from ibstats.results.lookup import Numbers, distinct
from schemas.design import ConditionRecord, DesignRecord

if TYPE_CHECKING:
    from schemas.results import ResultRow

Series = dict[str, list[Point | None]]
"""By model, points in the order of some labels."""


@dataclass(frozen=True)
class Source:
    """Rows of one experiment, and the labelled tree behind them where it is at hand.

    Whatever a model lacks is None, empty or not named, never an error.
    """

    numbers: Numbers
    experiment: str
    tree: xr.DataTree | None = None

    @cached_property
    def design(self) -> DesignRecord:
        """Conditions, factors and baseline as the document states them."""
        return self.numbers.designs[self.experiment]

    @cached_property
    def models(self) -> list[str]:
        """Models with rows, in their order; a model has the same colour in every figure."""
        return self.numbers.models(experiment=self.experiment)

    def measured(self, section: str) -> list[str]:
        """Names of the distances (`diversity`) or scores (`quality`) that any model has rows of.

        Parts of a score are left out.
        """
        known = self.numbers.quantities(section, experiment=self.experiment)
        return [one.name for one in known if not one.part_of]

    def conditions(self, *sections: str, **fields: object) -> list[ConditionRecord]:
        """Conditions that have rows in these sections, in the order of the design.

        `fields` are those of `Numbers.all`.
        """
        rows = self.numbers.all(*sections, experiment=self.experiment, **fields)
        there = {row.condition for row in rows}
        return [condition for condition in self.design.conditions if condition.name in there]

    def point(self, section: str, **fields: object) -> Point | None:
        """An estimate with its interval; None if there is no row of it or the row is undefined.

        `fields` are those of `Numbers.one`.
        """
        return point(self.numbers.one(section, experiment=self.experiment, **fields))

    def points(
        self,
        section: str,
        quantity: str,
        conditions: Iterable[str | None],
        models: Sequence[str] | None = None,
    ) -> Series:
        """By model, the estimates of a quantity in some conditions, in their order.

        Of all models unless some are named; one without any points is there too: see `with_points`.
        """
        wanted = list(conditions)
        found: Series = {}
        for model in self.models if models is None else models:
            found[model] = []
            for name in wanted:
                one = self.point(section, model=model, quantity=quantity, condition=name)
                found[model].append(one)
        return found

    def chosen(self, section: str, family: Family) -> str | None:
        """The quantity of a section that stands for its family where there is room for one.

        It is the preferred one of those measured, else the first (of a user's own); None if nothing
        was measured.
        """
        names = self.measured(section)
        if not names:
            return None
        return preferred(family, names) or names[0]

    def group(self, model: str, name: str) -> xr.Dataset | None:
        """A group of the labelled tree, by model and name.

        None if it is not there.
        """
        if self.tree is None or model not in self.tree.children:
            return None
        groups = self.tree.children[model].children
        return groups[name].to_dataset() if name in groups else None

    def setting(self, name: str) -> dict[str, float]:
        """A number that the probe of each condition was given, by condition.

        It is a coordinate of the tree's arrays, for instance `keep_ratio`; empty without them.
        """
        found: dict[str, float] = {}
        for group in self._groups():
            if name in group.coords and group[name].dims == ("condition",):
                conditions = map(str, group["condition"].values)
                found.update(zip(conditions, map(float, group[name].values), strict=True))
        return found

    def size(self, *sections: str, quantities: Container[str] = (), intervals: bool = True) -> str:
        """What the numbers of some sections are of: prompts, images, intervals, the baseline.

        For the note of a figure of these `quantities`, of all if none is named, which may show no
        `intervals`.
        """
        rows = []
        for row in self.numbers.all(*sections, experiment=self.experiment):
            if not quantities or row.quantity in quantities:
                rows.append(row)
        return self.extent(rows, intervals=intervals)

    def extent(self, rows: Sequence[ResultRow], *, intervals: bool = True) -> str:
        """What some rows are of, in the words of `size`."""
        n_prompts, n_images = words.extent(rows, "n_prompts"), words.images(rows)
        said = [f"{n_prompts} prompts × {n_images} images"]
        levels = distinct([row for row in rows if row.low is not None], "level")
        if levels and intervals:
            said.append(f"{levels[0]:.0%} intervals over prompts")
        baseline = self.numbers.baseline(self.experiment)
        if baseline is not None:
            said.append(f"baseline: {self.numbers.short(self.experiment, baseline)}")
        return "; ".join(said)

    def _groups(self) -> Iterator[xr.Dataset]:
        if self.tree is None:
            return
        for node in self.tree.subtree:
            yield node.to_dataset()

    def named(self, conditions: Iterable[ConditionRecord]) -> list[str]:
        """How an axis names conditions: by their short names, in lines."""
        return [lines(self.numbers.short(self.experiment, one.name)) for one in conditions]


def with_points(series: Series) -> Series:
    """The models that have at least one point.

    >>> with_points({"a": [None, None], "b": [None, Point(1.0, 0.0, 2.0)]}).keys()
    dict_keys(['b'])
    """
    return {model: found for model, found in series.items() if found.count(None) < len(found)}


def across(series: Series, labels: Iterable[str]) -> dict[str, tuple[Point | None, ...]]:
    """By label, the points of all models: `series` by its other side; empty if there are no models.

    >>> across({"a": [None, Point(1.0, 0.0, 2.0)], "b": [None, None]}, ["x", "y"])["y"]
    (Point(estimate=1.0, low=0.0, high=2.0), None)
    """
    return dict(zip(labels, zip(*series.values(), strict=True), strict=False))


def drawn_experiment(numbers: Numbers) -> str:
    """Name of the experiment that a document is about; empty if it has no rows.

    Rows of crossed noise may be of another experiment, so the settings say which.
    """
    asked = numbers.document.settings.get("experiment")
    if asked:
        return str(asked)
    rows = numbers.document.rows
    if not rows:
        return ""
    return rows[0].experiment


def axis(name: str, prefix: str = "") -> str:
    """What an axis shows: a distance as the diversity that it measures, a score by its long name.

    >>> axis("pixel_cosine_distance", "effect on ")
    'effect on diversity (pixel cosine distance, 1 - cos)'
    """
    record = quantity(name)
    if record.family == "distance":
        return f"{prefix}diversity ({record.long})"
    return f"{prefix}{record.long}"
