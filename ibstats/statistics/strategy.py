"""Which strategy a model follows, from how its diversity answers the three probes (paper, section 4.2).

"No change" is claimed only by equivalence within a margin declared beforehand; a difference that is neither
significant nor shown to be small stays inconclusive, and the verdict says "mixed".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from ibstats.statistics import significance
from ibstats.statistics.effects import probes
from ibstats.statistics.uncertainty import Resampling
from ibstats.variables import PROBES, REFERENCE

ALPHA = 0.05

OUTCOMES = ("to zero", "drop", "rise", "equivalent", "inconclusive")


class Rule(NamedTuple):
    """Answers that make a strategy."""

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


def verdict(outcomes: Mapping[str, str], path_varies: bool) -> str:
    """Name of the strategy whose rule these answers fit, else "mixed"."""
    answers = Rule(outcomes["argmax"], outcomes["subset"], outcomes["paraphrase"], path_varies)
    return next((name for name, rule in RULES.items() if rule == answers), "mixed")


def outcome(change: np.ndarray, left: np.ndarray, p_difference: float, p_equivalence: float) -> str:
    """Answer to one probe, from per-prompt changes, the per-prompt diversity it leaves, and the two p values."""
    if not left.any() and change.any():
        return "to zero"
    if p_equivalence < ALPHA or not change.any():
        return "equivalent"
    if p_difference < ALPHA:
        return "drop" if change.mean() < 0 else "rise"
    return "inconclusive"


def evidence(y: xr.DataArray, margin: float, path_varies: bool, how: Resampling) -> xr.Dataset:
    """Change at each probe over `effect`, its tests, its answer, and the strategy they make.

    `y` is diversity over (prompt, sampling, prompt_type, codebook); p values of the difference are Holm-adjusted over
    the three probes, equivalence is two one-sided tests at +-margin.
    """
    result = probes(y, how)[["estimate", "low", "high", "degenerate", "p_holm"]]
    reference = y.sel(REFERENCE, drop=True).values
    answers, p_equivalence = [], []
    for i, levels in enumerate(PROBES.values()):
        left = y.sel(REFERENCE | levels, drop=True).values
        p = significance.equivalence(left - reference, -margin, margin, ALPHA).p
        p_equivalence.append(p)
        answers.append(outcome(left - reference, left, float(result["p_holm"].values[i]), p))
    found = verdict(dict(zip(PROBES, answers, strict=True)), path_varies)
    return result.assign(
        p_equivalence=("effect", p_equivalence),
        outcome=("effect", np.array(answers, dtype=object)),
        margin=((), margin),
        path_varies=((), path_varies),
        strategy=((), np.array(found, dtype=object)),
    )


def path_varies(dataset: xr.Dataset) -> bool:
    """Whether the order in which positions change differs between samples of a prompt; a fixed order has H_path = 0."""
    if "token_step" not in dataset:
        return False
    steps = dataset["token_step"].transpose("condition", "prompt", "sample", ...)
    cell = np.flatnonzero(
        (dataset["sampling"].values == REFERENCE["sampling"])
        & (dataset["prompt_type"].values == REFERENCE["prompt_type"])
        & (dataset["codebook"].values == REFERENCE["codebook"])
    )
    values = steps.isel(condition=cell).values
    return bool((values != values[:, :, :1]).any())
