"""Which strategy a model follows, from how its diversity answers the three probes (paper, section 4.2).

"No change" is claimed only by equivalence within a margin declared beforehand. A strategy is named only if
each probe shows its answer, and "mixed" only if intervals rule out every strategy; else the word is "undecided".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from ibstats.design import Contrast, Design
from ibstats.statistics.effects import compare
from ibstats.statistics.uncertainty import Resampling, bootstrap, equivalence

ALPHA = 0.05
MIXED, UNDECIDED = "mixed", "undecided"


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


class Answer(NamedTuple):
    """What a probe showed of the diversity.

    `shown` is the word that `outcome` gives; `low` and `high` are the bounds of the change, simultaneous
    over the probes, and `is_zero` says that no diversity is left at all.
    """

    shown: str
    low: float
    high: float
    is_zero: bool


RULED_OUT: dict[str, Callable[[Answer, float], bool]] = {
    "drop": lambda answer, margin: answer.low > -margin,
    "equivalent": lambda answer, margin: answer.high < -margin or answer.low > margin,
    "rise": lambda answer, margin: answer.high < margin,
    "to zero": lambda answer, margin: not answer.is_zero,
}
"""Whether an answer cannot be that word: its whole interval lies elsewhere."""


def verdict(answers: Mapping[str, Answer], path_varies: bool, margin: float) -> str:
    """Name of the strategy whose rule the answers show, "mixed" if they rule out every one.

    "undecided" otherwise. `answers` are by probe; `margin` is +- in the unit of the diversity.

    >>> drop, rise = Answer("drop", -0.3, -0.1, False), Answer("rise", 0.1, 0.3, False)
    >>> shown = {"argmax": drop, "subset": drop, "paraphrase": rise}
    >>> verdict(shown, path_varies=True, margin=0.02), verdict(shown, False, 0.02)
    ('diversity-prioritized', 'mixed')
    >>> unclear = Answer("undecided", -0.1, 0.3, False)
    >>> verdict(shown | {"paraphrase": unclear}, path_varies=True, margin=0.02)
    'undecided'
    """
    possible = False
    for name, rule in RULES.items():
        if rule.path_varies != path_varies:
            continue
        wanted = {probe: getattr(rule, probe) for probe in PROBES}
        if all(answers[probe].shown == word for probe, word in wanted.items()):
            return name
        out = [RULED_OUT[word](answers[probe], margin) for probe, word in wanted.items()]
        possible = possible or not any(out)
    return UNDECIDED if possible else MIXED


def outcome(change: np.ndarray, left: np.ndarray, p_difference: float, p_equivalence: float) -> str:
    """Answer to one probe: to zero, equivalent, drop, rise or undecided.

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
    return UNDECIDED


def evidence(
    y: xr.DataArray, design: Design, margin: float, path_varies: bool, how: Resampling
) -> xr.Dataset:
    """Change at each probe over `effect`, its tests, its answer, and the strategy they make.

    Parameters: `y (condition, prompt)`, diversity; the `design`, which holds the three probes;
    `margin`, +- in the unit of `y`; whether the model's path varies between samples; `how`.
    Returns `estimate`, `low`, `high`, `degenerate`, `p_holm` (of the difference, over the probes),
    `p` (two one-sided tests at +-margin), `outcome`, `margin` over `effect`, and `strategy`. What
    rules a strategy out are intervals at a level for all three probes (Bonferroni).
    """
    probes = design.probes()
    result = compare(y, probes, how)[["estimate", "low", "high", "degenerate", "p_holm"]]
    answers: dict[str, Answer] = {}
    p_equivalence = []
    level = 1 - (1 - how.level) / len(PROBES)
    for number, probe in enumerate(probes):
        left, change = _left_and_change(y, probe)
        p = equivalence(change, margin, how, ALPHA).p
        p_equivalence.append(p)
        p_difference = float(result["p_holm"].values[number])
        shown = outcome(change, left, p_difference, p)
        low, high = bootstrap(change[:, None], how).interval(level)
        answers[probe.name] = Answer(shown, float(low[0]), float(high[0]), not left.any())
    found = verdict(answers, path_varies, margin)
    words = [answer.shown for answer in answers.values()]
    return result.assign(
        p=("effect", p_equivalence),
        outcome=("effect", np.array(words, dtype=object)),
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
