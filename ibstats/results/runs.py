"""Runs compared with each other, paired by prompt: other checkpoints, models, grids, codebooks, machines.

The first run is the one that the others are compared with. Conditions of equal names are compared,
and, where none is shared, the baselines (the only condition of a run counts as its baseline). Models
of equal names are, or the only ones of two runs whatever they are called; of a single run the models
are compared with its first. Prompts are those that every run has, by their ids, else by their texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ibstats.analysis.margins import declared
from ibstats.checks import check, of_run
from ibstats.errors import IbstatsError
from ibstats.measure import Machine
from ibstats.results.run_values import values_of
from ibstats.selection import Selection, select
from ibstats.statistics.comparing import compared
from ibstats.statistics.stacking import FEWEST_UNITS, over_quantities
from ibstats.store import Store, opened
from schemas.analysis import Config

if TYPE_CHECKING:
    import pandas as pd

NOISE = ("path_key", "execution_key")
"""Variables that name the noise of a sample."""

FEW = "a comparison takes two runs or more, or one of several models"
"""What is said where there is nothing to compare with."""


@dataclass(frozen=True)
class Difference:
    """One condition of a run less one of the run it is compared with, over their prompts.

    Numbers are in `units`; undefined ones are None.
    """

    run: str
    model: str
    condition: str
    against_run: str
    against_model: str
    against_condition: str
    quantity: str
    units: str
    estimate: float | None
    low: float | None
    high: float | None
    level: float
    method: str
    n_resamples: int
    seed: int
    degenerate: bool
    """No variation over prompts: no test."""
    p: float | None
    p_holm: float | None
    """Adjusted for all differences of the quantity."""
    n_tests: int
    d_z: float | None
    margin: float | None
    p_equivalence: float | None
    """Of two one-sided tests at +-margin, adjusted likewise."""
    verdict: str
    """equivalent, different, undecided, or not told apart (no margin)."""
    detectable: float | None
    """Difference found with power .8 at this n."""
    within: float | None
    """Margin that the 90 % interval lies in."""
    n_prompts: int
    n_images: int
    n_images_against: int

    @property
    def label(self) -> str:
        """What is compared with what, in a word; conditions and models only where they differ."""
        one, other = [self.run], [self.against_run]
        if self.model != self.against_model:
            one.append(self.model)
            other.append(self.against_model)
        if self.condition != self.against_condition:
            one.append(self.condition)
            other.append(self.against_condition)
        return f"{' '.join(one)} - {' '.join(other)}"


@dataclass(frozen=True)
class Compared:
    """All differences between runs, and what must be known to read them."""

    runs: list[str]
    """Names of the runs; the others are compared with the first."""
    differences: list[Difference]
    notes: list[str]
    resampling: dict[str, Any]
    """How intervals were made."""

    @property
    def quantities(self) -> list[str]:
        """Names of the quantities compared, each once, in order."""
        found = dict.fromkeys(one.quantity for one in self.differences)
        return list(found)

    def of(self, quantity: str) -> list[Difference]:
        """Give the differences of one quantity, by its name in results."""
        return [one for one in self.differences if one.quantity == quantity]

    def frame(self) -> pd.DataFrame:
        """Give the differences as a tidy frame, a row each; columns are the fields of `Difference`.

        Undefined numbers are NaN.
        """
        import pandas as pd

        made = pd.DataFrame(map(asdict, self.differences))
        for name in ("estimate", "low", "high", "p", "p_holm", "p_equivalence", "margin"):
            made[name] = made[name].astype("float64")
        return made


def compare(
    *runs: Store | str | Path,
    settings: Config | None = None,
    machine: Machine | None = None,
    **changes: Any,
) -> Compared:
    """Compare runs with the first of them, paired by prompt.

    Parameters: two runs or more, or their folders or URLs, or one run of several models, whose
    first is the one that the others are compared with; `settings`, by default `Config()`, with
    `changes` of its fields: `metrics`, `scores`, `models`, `margins`, `resampling` and the like;
    the machine that measures images. Compared are every distance and score that all runs have or
    can have here, the collision entropies of their tokens, and the bits of an image that all
    record: of path, execution, both, and H(Z|X) where the order is fixed. Every quantity is a
    family of tests of its own. Raises IbstatsError for one run of one model, runs without a model,
    condition, two prompts or a quantity in common, and names that a run does not know.

    >>> found = compare("runs/a", "runs/b", margins={"ssim": 0.02})    # doctest: +SKIP
    >>> found.frame()[["quantity", "estimate", "verdict"]]             # doctest: +SKIP
    """
    if not runs:
        raise IbstatsError(FEW)
    stores = list(map(opened, runs))
    asked = (settings or Config()).but(**changes)
    machine = machine or Machine()
    names = run_names(stores)
    own = [of_run(asked, store) for store in stores]
    for one, store in zip(own, stores, strict=True):
        check(one, store)
    notes: list[str] = []
    pairs: list[_Pair] = []
    for number, model, against in _matched(asked, stores, names):
        first = _selected(stores[0], against, own[0])
        other = _selected(stores[number], model, own[number])
        for condition, base in _conditions(other, first, names[number], names[0]):
            pairs.append(_Pair(number, other, condition, first, base))
    selections = _distinct(pairs)
    prompts, said = shared_prompts(selections, names)
    notes += said
    notes += filter(None, (selection.unequal for selection in selections.values()))
    values = {}
    lacking: dict[str, set[str]] = {}
    for key, selection in selections.items():
        values[key], said = values_of(selection, prompts[key], own[key[0]], machine)
        for line in said:
            lacking.setdefault(line, set()).add(names[key[0]])
    notes += _noise(pairs, prompts, names)
    notes += _told(lacking, names)
    found = _differences(pairs, values, own[0])
    if not found.sizes:
        raise IbstatsError(f"the runs have no quantity in common: {'; '.join(notes)}")
    rows = list(_rows(found, pairs, names, own[0]))
    how = own[0].resampling.model_dump()
    return Compared(names, rows, list(dict.fromkeys(notes)), how)


def _told(lacking: Mapping[str, set[str]], names: Sequence[str]) -> Iterator[str]:
    """What could not be measured, and in which runs where it is not all of them."""
    for line, of in lacking.items():
        if len(of) == len(names):
            yield line
        else:
            yield f"{', '.join(sorted(of))}: {line}"


@dataclass(frozen=True)
class _Pair:
    """A condition of a run and the one that it is compared with."""

    number: int
    """Of the run, from 1; 0 where models of one run are compared."""
    other: Selection
    condition: str
    first: Selection
    base: str

    @property
    def keys(self) -> tuple[tuple[int, str], tuple[int, str]]:
        """What the values of both sides are found by: number of the run, and model."""
        return (self.number, self.other.model), (0, self.first.model)


def run_names(stores: Sequence[Store]) -> list[str]:
    """Give runs the names of their folders, with a number where two have one name.

    They are in the order of the runs.
    """
    names: list[str] = []
    for store in stores:
        name = str(store.folder).rstrip("/").rpartition("/")[2]
        own, number = name, 2
        while own in names:
            own, number = f"{name} ({number})", number + 1
        names.append(own)
    return names


def _matched(
    asked: Config, stores: Sequence[Store], names: Sequence[str]
) -> Iterator[tuple[int, str, str]]:
    """Number of a run, its model, and the model of the first run that this is compared with."""
    if len(stores) == 1:
        first, *others = asked.models or stores[0].models()
        if not others:
            raise IbstatsError(f"{FEW}; '{names[0]}' has only {first}")
        for model in others:
            yield 0, model, first
    for number in range(1, len(stores)):
        for model, against in _models(asked, stores[0], stores[number], names[number]):
            yield number, model, against


def _models(asked: Config, first: Store, other: Store, name: str) -> list[tuple[str, str]]:
    """Models that are compared: each of the other run with one of the first."""
    ours = list(asked.models or first.models())
    theirs = list(asked.models or other.models())
    if len(ours) == 1 and len(theirs) == 1:
        return [(theirs[0], ours[0])]
    shared = _in_both(ours, theirs)
    if not shared:
        raise IbstatsError(
            f"'{name}' shares no model with the first run: it has {', '.join(theirs)}, the first "
            f"{', '.join(ours)}; compare runs of one model each"
        )
    return list(zip(shared, shared, strict=True))


def _in_both(names: Sequence[str], others: Sequence[str]) -> list[str]:
    return [name for name in names if name in others]


def _selected(store: Store, model: str, settings: Config) -> Selection:
    return select(store, model, settings.experiment, allow_partial=settings.allow_partial)


def _conditions(other: Selection, first: Selection, name: str, ours: str) -> list[tuple[str, str]]:
    """Conditions that are compared: equal names, else the baselines."""
    shared = _in_both(other.design.names, first.design.names)
    if shared:
        return list(zip(shared, shared, strict=True))
    bases = [_baseline(other), _baseline(first)]
    if None in bases:
        raise IbstatsError(
            f"'{name}' shares no condition with '{ours}': it has {', '.join(other.design.names)}, "
            f"the other {', '.join(first.design.names)}; name conditions alike, or baselines in both"
        )
    return [(str(bases[0]), str(bases[1]))]


def _baseline(selection: Selection) -> str | None:
    names = selection.design.names
    return names[0] if len(names) == 1 else selection.design.baseline


Key = tuple[int, str]
"""Number of a run, and model."""


def _distinct(pairs: Sequence[_Pair]) -> dict[Key, Selection]:
    found: dict[Key, Selection] = {}
    for pair in pairs:
        other, first = pair.keys
        found.setdefault(first, pair.first)
        found.setdefault(other, pair.other)
    return found


def shared_prompts(
    selections: Mapping[Key, Selection], names: Sequence[str]
) -> tuple[dict[Key, list[str]], list[str]]:
    """Give the ids of the prompts that all selections have, in one order, and what is left out.

    They are matched by id, but for equal ids of other texts; where that leaves fewer than two, by
    text. Raises IbstatsError for fewer than two.
    """
    ids: dict[Key, list[str]] = {}
    by_text: dict[Key, dict[str, str]] = {}
    told: dict[str, set[str]] = {}
    for key, selection in selections.items():
        ids[key] = list(map(str, selection.dataset["prompt"].values))
        texts = _texts(selection)
        by_text[key] = {texts[name]: name for name in ids[key]}
        if selection.has("text"):
            for name in ids[key]:
                told.setdefault(name, set()).add(texts[name])
    common = _in_all(ids)
    same = [name for name in common if len(told.get(name, ())) < 2]
    found = dict.fromkeys(ids, same)
    if len(same) < FEWEST_UNITS:
        common = same = _in_all(by_text)
        for key, of in by_text.items():
            found[key] = list(map(of.__getitem__, same))
    if len(same) < FEWEST_UNITS:
        raise IbstatsError(
            f"{' and '.join(names)} have {len(same)} complete prompts in common, by id or by text; "
            "two or more are needed"
        )
    notes = []
    if len(same) < len(common):
        notes.append(f"{len(common) - len(same)} prompts of equal ids and other texts are left out")
    for (number, _), names_there in ids.items():
        left = len(names_there) - len(common)
        if left:
            notes.append(
                f"{left} of {len(names_there)} prompts of '{names[number]}' are not in every run"
            )
    return found, notes


def _texts(selection: Selection) -> dict[str, str]:
    """Text of each prompt, its id where it is not known."""
    return {prompt.id: prompt.text for prompt in selection.store.prompts}


def _in_all(labels: Mapping[Key, Iterable[str]]) -> list[str]:
    """The labels that all have, in the order of the first."""
    first, *others = map(list, labels.values())
    for other in others:
        first = _in_both(first, other)
    return first


def _differences(
    pairs: Sequence[_Pair], values: Mapping[Key, xr.Dataset], settings: Config
) -> xr.Dataset:
    """Differences of every quantity that all have, tested, over quantity and pair."""
    names = _in_all({key: map(str, of.data_vars) for key, of in values.items()})
    differences = {}
    for name in names:
        rows = []
        for pair in pairs:
            other, first = pair.keys
            one = values[other][name].sel(condition=pair.condition).values
            rows.append(one - values[first][name].sel(condition=pair.base).values)
        coords = {"condition": np.arange(len(pairs))}
        attrs = values[pairs[0].keys[1]][name].attrs
        differences[name] = xr.DataArray(rows, coords, ("condition", "prompt"), attrs=attrs)
    statistic = partial(compared, how=settings.resampling, margins=declared(settings))
    return over_quantities(xr.Dataset(differences), statistic)


def _noise(
    pairs: Sequence[_Pair], prompts: Mapping[Key, list[str]], names: Sequence[str]
) -> Iterator[str]:
    """What is known of the noise of samples that are compared, a line a run."""
    for number in dict.fromkeys(pair.number for pair in pairs):
        equal, known = 0, 0
        of_run = [pair for pair in pairs if pair.number == number]
        for pair in of_run:
            other, first = pair.keys
            if _has_noise(pair.other) and _has_noise(pair.first):
                known += 1
                equal += _shares_noise(pair, prompts[other], prompts[first])
        said = "by prompt; samples do not share their noise"
        if known and equal == known:
            said = "by prompt and noise: samples have equal noise keys"
        elif equal:
            said = f"by prompt; in {equal} of {len(of_run)} comparisons samples share their noise"
        elif known < len(of_run):
            said = "by prompt; nobody knows whether samples share their noise"
        what = f"'{names[number]}' is paired with '{names[0]}'"
        if number == 0:
            what = f"models of '{names[0]}' are paired"
        yield f"{what} {said}"


def _has_noise(selection: Selection) -> bool:
    return all(map(selection.has, NOISE))


def _shares_noise(pair: _Pair, prompts: list[str], others: list[str]) -> bool:
    """Whether the samples of both sides, as many as both have, were drawn from the same noise."""
    n = min(pair.other.n_samples, pair.first.n_samples)
    for name in NOISE:
        one = pair.other.dataset[name].sel(condition=pair.condition, prompt=prompts)
        two = pair.first.dataset[name].sel(condition=pair.base, prompt=others)
        if not np.array_equal(one.values[:, :n], two.values[:, :n]):
            return False
    return True


def _rows(
    found: xr.Dataset, pairs: Sequence[_Pair], names: Sequence[str], settings: Config
) -> Iterator[Difference]:
    """A record of every difference, quantity by quantity."""
    for quantity in found["quantity"].values:
        of = found.sel(quantity=quantity)
        for number, pair in enumerate(pairs):
            one = of.isel(effect=number)
            yield Difference(
                run=names[pair.number],
                model=pair.other.model,
                condition=pair.condition,
                against_run=names[0],
                against_model=pair.first.model,
                against_condition=pair.base,
                quantity=str(quantity),
                units=str(one["units"].values),
                level=settings.resampling.level,
                method=str(one["method"].values),
                n_resamples=settings.resampling.n_resamples,
                seed=settings.resampling.seed,
                degenerate=bool(one["degenerate"]),
                n_tests=int(one["n_tests"]),
                verdict=str(one["verdict"].values),
                n_prompts=int(one["n_prompts"]),
                n_images=pair.other.n_samples,
                n_images_against=pair.first.n_samples,
                **{name: _number(one[name]) for name in NUMBERS},
            )


NUMBERS = (
    "estimate",
    "low",
    "high",
    "p",
    "p_holm",
    "d_z",
    "margin",
    "p_equivalence",
    "detectable",
    "within",
)
"""Fields of a difference that may be undefined."""


def _number(value: xr.DataArray) -> float | None:
    return float(value) if np.isfinite(float(value)) else None
