"""The comparisons of arms with each other that the paper's claims need, by the kind of the ablation (section 4.4, 4.5).

Each kind has one function here; a kind without one has no planned comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, pairwise

import numpy as np

from ibstats.design import Contrast, Design


def planned(design: Design) -> list[Contrast]:
    """The planned comparisons of a design, in the order of the paper (section 4.4, 4.5).

    None for kinds of experiment that the paper plans none for. They are one family of tests.
    """
    if design.kind not in PLANNED:
        return []
    return list(PLANNED[design.kind](design))


def _next_smaller(design: Design) -> Iterator[Contrast]:
    """Each ratio with the next smaller one."""
    ratios = np.array(design.values("keep_ratio"), dtype=float)
    ordered = [design.names[number] for number in np.argsort(ratios)]
    for small, large in pairwise(ordered):
        yield design.difference(large, small)


def _later_minus_earlier(design: Design) -> Iterator[Contrast]:
    """Every two arms but the baseline, the later less the earlier one."""
    arms = [name for name in design.names if name != design.baseline]
    for earlier, later in combinations(arms, 2):
        yield design.difference(later, earlier)


def _methods(design: Design) -> Iterator[Contrast]:
    """Methods with each other, and random subsets with the full codebook; equal weights within a method's draws."""
    methods = np.array(design.values("subset_method"), dtype=object)
    mean = {}
    for method in dict.fromkeys(methods):
        if method:
            chosen = methods == method
            mean[str(method).replace("_", "-")] = chosen / chosen.sum()
    names = list(mean)
    for number, one in enumerate(names):
        for other in names[:number]:
            yield Contrast(f"{one} - {other}", mean[one] - mean[other])
    if "drop-random" in mean and design.baseline is not None:
        full = np.eye(len(methods))[design.position(design.baseline)]
        yield Contrast("drop-random - full", mean["drop-random"] - full)


def _halves(design: Design) -> Iterator[Contrast]:
    """The proposed arm of each ratio, with its subset, with the paraphrases, and what it adds to their sum."""
    if design.baseline is None:
        return
    by_arm = {condition.short: condition.name for condition in design.conditions}
    paraphrase = by_arm["paraphrase"]
    for arm, name in by_arm.items():
        if not arm.startswith("proposed"):
            continue
        subset = by_arm[arm.replace("proposed", "subset")]
        yield design.difference(name, subset)
        yield design.difference(name, paraphrase)
        weights = np.zeros(len(design.names))
        for positive in (name, design.baseline):
            weights[design.position(positive)] += 1
        for negative in (subset, paraphrase):
            weights[design.position(negative)] -= 1
        yield Contrast(f"{arm}: synergy", weights, name)


def _orders(design: Design) -> Iterator[Contrast]:
    """Orders with each other but the baseline, own with shared path noise, and their synergy with draws.

    The synergy of an order is D_0 - D_P - D_A, for nothing is left to chance where the path noise is
    shared and tokens are modes: 0 where each noise adds its own part.
    """
    found = design.orders()
    wholes = [one.whole for one in found if one.whole not in (None, design.baseline)]
    for earlier, later in combinations(wholes, 2):
        yield design.difference(later, earlier)
    for one in found:
        if one.own and one.shared and one.own != design.baseline:
            yield design.difference(one.shared, one.own)
    for one in found:
        if one.own and one.shared and one.argmax and one.nothing:
            weights = np.zeros(len(design.names))
            for name, sign in ((one.own, 1), (one.shared, -1), (one.argmax, -1), (one.nothing, 1)):
                weights[design.position(name)] += sign
            yield Contrast(f"{one.name}: synergy", weights, one.own)


PLANNED: dict[str, Callable[[Design], Iterator[Contrast]]] = {
    "subset_ratio": _next_smaller,
    "argmax_window": _later_minus_earlier,
    "paraphrase_length": _later_minus_earlier,
    "subset_method": _methods,
    "enhancement": _halves,
    "order": _orders,
}
"""By the kind of an ablation."""
