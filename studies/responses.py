"""Do quantizers respond alike to a probe, within a traversal? (docs/quantizers.md)

    make quantizers
    python studies/responses.py runs/quantizers

A response is the change of a prompt's mean pairwise distance from the draws of the whole codebook. Four
are compared: to argmax, to a subset of half of the codes, and to subsets that remove the same mass, or the
same bits of H(Z), from the tokens of calibration, between whose ratios straight lines are drawn. Of each
pair of quantizers under one traversal two tests are made, of a difference and of equivalence within 5 % of
the mean distance without intervention; the pairs of one response are one family (Holm). Printed, as
Markdown: how many pairs are decided, the largest difference, and what so many prompts can see.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import scipy
import xarray as xr

from ibstats.measure import distances, metric
from ibstats.selection import Selection, select
from ibstats.statistics.comparing import DIFFERENT, EQUIVALENT, UNDECIDED, compared
from ibstats.statistics.diversity import mean_pairwise
from ibstats.statistics.significance import MARGIN_SHARE
from ibstats.statistics.uncertainty import Resampling
from ibstats.store import Store, open_store

RATIO = "ratio"
"""The experiment whose conditions keep more and more codes."""
HALF = 0.5
HOW = Resampling()
VERDICTS = (EQUIVALENT, DIFFERENT, UNDECIDED)


def mean_distances(selection: Selection, name: str) -> xr.DataArray:
    """Mean pairwise distance (condition, prompt) of a selection by a metric's name."""
    found = mean_pairwise(distances(selection, metric(name))["distance"])
    return found.reset_coords(drop=True)


def change(distance: xr.DataArray, condition: str, baseline: str) -> xr.DataArray:
    """Distance of a condition less that of the baseline, (prompt)."""
    here = distance.sel(condition=condition, drop=True)
    return here - distance.sel(condition=baseline, drop=True)


def argmax_condition(selection: Selection) -> str:
    """The condition that differs from the baseline of a factorial in its sampling alone.

    Raises SystemExit where there is none.
    """
    design = selection.design
    levels = {each.name: dict(each.levels) for each in design.conditions}
    wanted = levels[str(design.baseline)] | {"sampling": "argmax"}
    for name, its in levels.items():
        if its == wanted:
            return name
    raise SystemExit(f"{selection.model}: no condition is the baseline with argmax")


def removed(counts: np.ndarray, keep: np.ndarray) -> dict[str, np.ndarray]:
    """What subsets of the codes remove from the law of `counts` (code,): mass, and bits of its entropy.

    `keep` is (condition, code); the law that is left is normalised again.
    """
    whole = counts / counts.sum()
    mass, bits = [], []
    for kept in keep:
        left = whole * kept
        mass.append(1 - left.sum())
        bits.append(scipy.stats.entropy(whole, base=2) - scipy.stats.entropy(left, base=2))
    return {"mass": np.array(mass), "bits": np.array(bits)}


def between(changes: np.ndarray, at: np.ndarray, wanted: float) -> np.ndarray:
    """Changes (prompt,) where `wanted` is removed, by straight lines over what conditions remove.

    `changes` are (condition, prompt), `at` (condition,). NaN beyond the most that is removed.
    """
    order = np.argsort(at)
    found = [np.interp(wanted, at[order], each[order], right=np.nan) for each in changes.T]
    return np.array(found)


class Member:
    """What one model of the run does: its responses by prompt, and its distance without intervention."""

    def __init__(self, store: Store, model: str, name: str) -> None:
        factorial = select(store, model, "factorial")
        whole = mean_distances(factorial, name)
        baseline = str(factorial.design.baseline)
        self.unmoved = float(whole.sel(condition=baseline).mean())
        self.argmax = change(whole, argmax_condition(factorial), baseline)
        swept = select(store, model, RATIO)
        distance = mean_distances(swept, name)
        conditions = [each.name for each in swept.design.conditions]
        each = [change(distance, one, str(swept.design.baseline)).values for one in conditions]
        self.changes = np.array(each)
        ratios = np.array([each.settings["keep_ratio"] for each in swept.design.conditions])
        self.half = self.argmax.copy(data=self.changes[np.abs(ratios - HALF).argmin()])
        dataset = swept.dataset
        keep = dataset["codebook_keep"].sel(condition=conditions).values
        self.removed = removed(dataset["calibration_count"].values, keep)

    def at(self, of_what: str, wanted: float) -> xr.DataArray:
        """The response (prompt) where a subset removes so much `mass`, or so many `bits`."""
        return self.argmax.copy(data=between(self.changes, self.removed[of_what], wanted))


def responses(members: Mapping[str, Member]) -> Iterator[tuple[str, dict[str, xr.DataArray]]]:
    """Each response by what it is called, (prompt) by member."""
    yield "argmax", {name: each.argmax for name, each in members.items()}
    yield "half of the codes", {name: each.half for name, each in members.items()}
    for of_what, unit in (("mass", ""), ("bits", " bit")):
        most = min(float(each.removed[of_what].max()) for each in members.values())
        there = {name: each.at(of_what, most) for name, each in members.items()}
        label = f"{most:.2f}{unit or ' of the mass'} removed"
        yield label, there


def verdicts(values: Mapping[str, xr.DataArray], margin: float) -> xr.Dataset:
    """Differences of all pairs of responses (prompt), tested as one family; as `compared` gives them."""
    pairs = list(combinations(values, 2))
    each = [values[one] - values[other] for one, other in pairs]
    names = [f"{one} - {other}" for one, other in pairs]
    differences = xr.concat(each, "condition").assign_coords(condition=names).rename("response")
    return compared(differences, HOW, {"response": margin})


def line(traversal: str, response: str, found: xr.Dataset, margin: float) -> str:
    """A row of the table."""
    counts = [int((found["verdict"] == verdict).sum()) for verdict in VERDICTS]
    largest = found.isel(effect=int(np.abs(found["estimate"].values).argmax()))
    numbers = [float(largest[name]) for name in ("estimate", "low", "high")]
    difference = "{:.2f} [{:.2f}, {:.2f}]".format(*numbers)
    cells = [
        traversal,
        response,
        ", ".join(map(str, counts)),
        f"{difference}, {largest['effect'].item()}",
        f"{margin:.3f}",
        f"{float(found['within'].max()):.2f}",
        f"{float(found['detectable'].median()):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def lines(store: Store, models: Sequence[str], name: str) -> Iterator[str]:
    """The table, a row for each traversal and response, of some models and a metric's name."""
    by_traversal: dict[str, list[str]] = {}
    for label in models:
        by_traversal.setdefault(store.identity(label).model, []).append(label)
    yield (
        "| traversal | response | equivalent, different, undecided | largest difference | margin "
        "| margin that would hold for all | seen with power .8 |"
    )
    yield "|---" * 7 + "|"
    for traversal, labels in by_traversal.items():
        if len(labels) < 2:
            continue
        members = {label: Member(store, label, name) for label in labels}
        margin = MARGIN_SHARE * float(np.mean([each.unmoved for each in members.values()]))
        for response, values in responses(members):
            yield line(traversal, response, verdicts(values, margin), margin)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of a run of `studies/quantizers.yaml`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", help="a run with the experiments factorial and ratio")
    parser.add_argument("--metric", default="reference", help="the distance (default: reference)")
    parser.add_argument("--model", action="append", help="a model of the run; all if none is")
    chosen = parser.parse_args(arguments)
    store = open_store(chosen.run)
    print(*lines(store, chosen.model or store.models(), chosen.metric), sep="\n")


if __name__ == "__main__":
    main()
