"""Differences between runs within prompts: with interval, tests, equivalence, and what n can see."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ibstats.kernels.resampling import is_constant
from ibstats.statistics.effects import tested
from ibstats.statistics.power import detectable
from ibstats.statistics.significance import adjust, family_size
from ibstats.statistics.uncertainty import Resampling, bootstrap, equivalence

ALPHA = 0.05
"""Level of both kinds of verdict."""

EQUIVALENT = "equivalent"
DIFFERENT = "different"
UNDECIDED = "undecided"
NOT_TOLD_APART = "not told apart"
"""Without a margin nothing is shown to be equal."""


def compared(y: xr.DataArray, how: Resampling, margins: Mapping[str, float]) -> xr.Dataset:
    """Mean difference of each pair of conditions of two runs over prompts, as one family of tests.

    Parameters: `y (condition, prompt)`, differences, `condition` their names; `how`; `margins`, +-
    by the name of a quantity, in its unit. Returns over `effect` the columns of
    `ibstats.statistics.effects.tested` and: `p_equivalence`, of two one-sided tests at +-margin,
    Holm-adjusted as `p_holm` is (NaN without a margin); `margin`; `verdict`; `detectable`, the
    difference that a test at the adjusted level finds with power .8 at this n and spread; `within`,
    the margin that the 90 % interval lies in.

    A verdict is `equivalent` where the difference is shown to lie within the margin, else
    `different` where it is shown to be none, else `undecided`; without a margin `not told apart`
    stands in the place of the latter. Where no prompt differs at all it is `equivalent` by any
    margin, and `degenerate`: there is no variation, so no test.

    >>> rng = np.random.default_rng(0)
    >>> y = xr.DataArray(rng.normal(1, 0.1, (1, 20)), dims=("condition", "prompt"), name="ssim")
    >>> found = compared(y.assign_coords(condition=["b - a"]), Resampling(n_resamples=199), {})
    >>> found["verdict"].values.tolist()
    ['different']
    """
    values = y.rename(condition="effect")
    found = tested(values, how)
    x = values.transpose("prompt", "effect").values
    margin = margins.get(str(y.name), np.nan)
    p_equivalence = np.full(x.shape[1], np.nan)
    if np.isfinite(margin):
        for number, column in enumerate(x.T):
            p_equivalence[number] = equivalence(column, margin, how, ALPHA).p
    adjusted = adjust(p_equivalence, "holm")
    verdicts = []
    for number, column in enumerate(x.T):
        p = float(found["p_holm"].values[number])
        verdicts.append(_verdict(column, margin, p, float(adjusted[number])))
    n_tests = max(1, family_size(found["p"].values))
    low, high = bootstrap(x, how).interval(1 - 2 * ALPHA)
    spread = np.where(is_constant(x), 0.0, x.var(axis=0, ddof=1))
    seen = [detectable(float(variance), len(x), alpha=ALPHA / n_tests) for variance in spread]
    return found.assign(
        p_equivalence=("effect", adjusted),
        margin=("effect", np.full(x.shape[1], margin)),
        verdict=("effect", np.array(verdicts, dtype=object)),
        detectable=("effect", seen),
        within=("effect", np.maximum(np.abs(low), np.abs(high))),
    )


def _verdict(values: np.ndarray, margin: float, p: float, p_equivalence: float) -> str:
    """What two tests at the same level show of a difference; NaN is no test."""
    if not values.any():
        return EQUIVALENT
    if is_constant(values):
        return EQUIVALENT if abs(values[0]) < margin else DIFFERENT
    if p_equivalence < ALPHA:
        return EQUIVALENT
    if p < ALPHA:
        return DIFFERENT
    return UNDECIDED if np.isfinite(margin) else NOT_TOLD_APART
