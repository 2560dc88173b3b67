"""The 2^k design within prompts: effects, interaction profiles and waterfalls, each with interval and tests.

Values are `(prompt, factor, ...)` with each factor's levels low then high, as `store.by_factor` gives them.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from ibstats.errors import IbstatsError
from ibstats.kernels import factorial
from ibstats.kernels.resampling import is_constant
from ibstats.statistics import significance
from ibstats.statistics.uncertainty import Resampling, mean_interval
from ibstats.variables import PROBES, REFERENCE

TWO_FACTOR_NOTE = (
    "With two factors the gap of marginal effects is zero by algebra, whatever the data: it is no evidence of "
    "additivity. Read the gap of simple effects instead."
)
"""Printed with every two-factor waterfall."""


def factors_of(y: xr.DataArray) -> tuple[str, ...]:
    """The factors of a design: every dim but `prompt`, in order."""
    return tuple(str(dim) for dim in y.dims if dim != "prompt")


def restrict(y: xr.DataArray, **levels: str) -> xr.DataArray:
    """The design at one level of some factors, for instance `sampling="stochastic"` for the paper's Fig. 10 and 13."""
    return y.sel(levels, drop=True)


def effects(y: xr.DataArray, how: Resampling) -> xr.Dataset:
    """All contrasts of the design over `effect`, with interval, tests and effect sizes."""
    factors = factors_of(y)
    values = factorial.contrasts(y.transpose("prompt", *factors).values)
    names = factorial.names(len(factors), factors)
    contrast = xr.DataArray(
        values, dims=("prompt", "effect"), coords={"effect": names}, attrs=y.attrs
    )
    return tested(contrast, how)


def probes(y: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Change that each intervention makes to the reference cell, over `effect` (paper, Fig. 2)."""
    cells = np.stack(
        [y.sel(REFERENCE | levels, drop=True).values for levels in ({}, *PROBES.values())], axis=1
    )
    values = factorial.linear(cells, np.vstack([-np.ones(len(PROBES)), np.eye(len(PROBES))]))
    change = xr.DataArray(
        values, dims=("prompt", "effect"), coords={"effect": list(PROBES)}, attrs=y.attrs
    )
    return tested(change, how)


def tested(values: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Interval, tests, adjusted p values, effect sizes and Bayes factor of `(prompt, effect)`.

    The family of the adjustments is the set of effects; degenerate ones are outside it. `n_tests` says how many count.
    """
    x = values.transpose("prompt", "effect").values
    n = len(x)
    result = mean_interval(values, how)
    t, df, p = significance.t_test(x)
    p_flip, p_max_t = significance.sign_flip_p(x, n_permutations=how.n_resamples, seed=how.seed)
    size = significance.effect_size(x, how.level)
    with np.errstate(invalid="ignore"):
        F = t**2
    columns = {
        "t": t,
        "F": F,
        "p": p,
        "p_wilcoxon": significance.wilcoxon(x),
        "p_sign_flip": p_flip,
        "p_max_t": p_max_t,
        "p_holm": significance.adjust(p, "holm"),
        "p_bh": significance.adjust(p, "bh"),
        "partial_eta_squared": F / (F + n - 1),
        "d_z": size.d_z,
        "d_z_low": size.low,
        "d_z_high": size.high,
        "hedges_g": size.hedges_g,
        "hedges_g_low": size.g_low,
        "hedges_g_high": size.g_high,
        "bayes_factor": significance.bayes_factor(t, n),
    }
    result = result.assign({name: ("effect", column) for name, column in columns.items()})
    return result.assign_attrs(df=df, n_tests=significance.family_size(p))


def waterfall(y: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Steps from the all-low to the all-high cell, and the synergy gap, under each attribution (paper, A.1).

    `estimate(attribution, step)` with steps baseline, one per factor, predicted, gap, actual. The gap carries a
    test; the Shapley gap is zero by definition. `note` in the attributes for two factors.
    """
    factors = factors_of(y)
    k = len(factors)
    if k < 2:
        raise IbstatsError("a waterfall needs at least two factors")
    cells = y.transpose("prompt", *factors).values.reshape(y.sizes["prompt"], 2**k)
    low, high = np.eye(2**k)[0], np.eye(2**k)[-1]
    attributions = ("marginal", "simple", "shapley")
    weights = []
    for name in attributions:
        shares = factorial.attribution_matrix(k, name)
        gap = factorial.gap_weights(k, name)
        weights.append(np.column_stack([low, shares, low + shares.sum(axis=1), gap, high]))
    steps = ["baseline", *factors, "predicted", "gap", "actual"]
    matrix = np.stack(weights, axis=1).round(15)
    values = xr.DataArray(
        factorial.linear(cells, matrix.reshape(2**k, -1)).reshape(len(cells), *matrix.shape[1:]),
        dims=("prompt", "attribution", "step"),
        coords={"attribution": list(attributions), "step": steps},
        attrs=y.attrs,
    )
    result = mean_interval(values, how)
    gap_values = values.sel(step="gap").values
    t, df, p = significance.t_test(gap_values)
    p = np.where(is_constant(gap_values), np.nan, p)
    result = result.assign(t=("attribution", t), p=("attribution", p))
    return result.assign_attrs(df=df, note=TWO_FACTOR_NOTE if k == 2 else "")


def dividends(y: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Moebius dividends over `effect`: what the high levels of a set of factors add beyond all its proper subsets."""
    factors = factors_of(y)
    k = len(factors)
    cells = y.transpose("prompt", *factors).values.reshape(y.sizes["prompt"], 2**k)
    columns = [sum(1 << (k - 1 - i) for i in subset) for subset in factorial.subsets(k)]
    weights = factorial.dividend_matrix(k)[:, columns]
    values = xr.DataArray(
        factorial.linear(cells, weights),
        dims=("prompt", "effect"),
        coords={"effect": factorial.names(k, factors)},
        attrs=y.attrs,
    )
    return tested(values, how)
