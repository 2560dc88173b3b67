"""Which strategy a model follows, from how its diversity answers the three probes (paper, section 4.2).

"No change" is claimed only by equivalence within a margin declared beforehand; a difference that is neither
significant nor shown to be small stays inconclusive, and the verdict says "mixed".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from ibstats.design import Contrast, Design
from ibstats.statistics.effects import compare
from ibstats.statistics.uncertainty import Resampling, equivalence

ALPHA = 0.05


class Rule(NamedTuple):
    """Answers to the probes that make a strategy.

    Those to `argmax`, `subset` and `paraphrase` are words that `outcome` gives.
    """

    argmax: str
    subset: str
    paraphrase: str
    path_varies: bool


RULES: dict[str, Rule] = {
    "diversity-prioritized": Rule("drop", "drop", "rise", True),
    "compression-prioritized": Rule("to zero", "equivalent", "rise", False),
    "decoupled": Rule("equivalent", "drop", "equivalent", True),
}
"""Strategies of the paper; a drop inside the margin counts as equivalent."""

PROBES = ("argmax", "subset", "paraphrase")
"""The probes that the paper's strategies are defined by."""


def has_rules(design: Design) -> bool:
    """Whether the design holds the three probes that strategies are defined by.

    Those are argmax, subset and paraphrase (paper, section 4.2).
    """
    there = {contrast.name for contrast in design.probes()}
    return there >= set(PROBES)


def verdict(outcomes: Mapping[str, str], path_varies: bool) -> str:
    """Name of the strategy whose rule these answers fit, else "mixed".

    >>> verdict({"argmax": "drop", "subset": "drop", "paraphrase": "rise"}, path_varies=True)
    'diversity-prioritized'
    """
    answers = Rule(outcomes["argmax"], outcomes["subset"], outcomes["paraphrase"], path_varies)
    for name, rule in RULES.items():
        if rule == answers:
            return name
    return "mixed"


def outcome(change: np.ndarray, left: np.ndarray, p_difference: float, p_equivalence: float) -> str:
    """Answer to one probe: to zero, equivalent, drop, rise or inconclusive.

    Parameters: `change (prompt)` that the probe makes and the diversity `left (prompt)` under it;
    the p value of the difference (adjusted) and that of the two one-sided tests. Both are held
    against 0.05.
    """
    if not left.any() and change.any():
        return "to zero"
    if p_equivalence < ALPHA or not change.any():
        return "equivalent"
    if p_difference < ALPHA:
        return "drop" if change.mean() < 0 else "rise"
    return "inconclusive"


def evidence(
    y: xr.DataArray, design: Design, margin: float, path_varies: bool, how: Resampling
) -> xr.Dataset:
    """Change at each probe over `effect`, its tests, its answer, and the strategy they make.

    Parameters: `y (condition, prompt)`, diversity; the `design`, which holds the three probes;
    `margin`, +- in the unit of `y`; whether the model's path varies between samples; `how`.
    Returns `estimate`, `low`, `high`, `degenerate`, `p_holm` (of the difference, over the probes),
    `p` (two one-sided tests at +-margin), `outcome`, `margin` over `effect`, and `strategy`.
    """
    probes = design.probes()
    result = compare(y, probes, how)[["estimate", "low", "high", "degenerate", "p_holm"]]
    answers: dict[str, str] = {}
    p_equivalence = []
    for number, probe in enumerate(probes):
        left, change = _left_and_change(y, probe)
        p = equivalence(change, margin, how, ALPHA).p
        p_equivalence.append(p)
        p_difference = float(result["p_holm"].values[number])
        answers[probe.name] = outcome(change, left, p_difference, p)
    found = verdict(answers, path_varies)
    return result.assign(
        p=("effect", p_equivalence),
        outcome=("effect", np.array(list(answers.values()), dtype=object)),
        margin=("effect", np.full(len(probes), margin)),
        strategy=((), np.array(found, dtype=object)),
    )


def _left_and_change(y: xr.DataArray, probe: Contrast) -> tuple[np.ndarray, np.ndarray]:
    """Diversity of each prompt under a probe, and what the probe changes of it."""
    left = y.sel(condition=probe.condition).values
    return left, left - y.sel(condition=probe.against).values


def path_varies(dataset: xr.Dataset, baseline: str) -> bool:
    """Whether the order in which positions change differs between samples of a prompt.

    A fixed order has H_path = 0, also where the run records no steps (autoregressive models).
    `baseline` is the condition that is looked at.
    """
    if "token_step" not in dataset:
        return False
    steps = dataset["token_step"].sel(condition=baseline)
    values = steps.transpose("prompt", "sample", ...).values
    return bool((values != values[:, :1]).any())
