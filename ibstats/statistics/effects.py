"""Effects, comparisons of conditions, and waterfalls within prompts, each with interval and tests.

Effects and waterfalls take the cells of a complete 2^k factorial, `(prompt, factor, ...)` with
each factor's levels low then high, as `Design.by_factor` gives them. Comparisons take any
conditions, `(condition, prompt)`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np
import xarray as xr

from ibstats.design import Contrast
from ibstats.errors import IbstatsError
from ibstats.kernels import factorial
from ibstats.kernels.resampling import is_constant
from ibstats.statistics import significance
from ibstats.statistics.uncertainty import Resampling, mean_interval, mean_p

TWO_FACTOR_NOTE = (
    "With two factors the gap of marginal effects is zero by algebra, whatever the data: it is no "
    "evidence of additivity. Read the gap of simple effects instead."
)
"""Printed with every two-factor waterfall."""

MOST_HELD_TOGETHER = 3
"""Factors of a design up to which simple effects hold any number of the others, not one alone."""

ATTRIBUTIONS = ("marginal", "simple", "shapley")
"""How a waterfall shares the way from the all-low to the all-high cell out among the factors."""


def factors_of(y: xr.DataArray) -> tuple[str, ...]:
    """The factors of a design: every dim but `prompt`, in order.

    Of `(prompt, factor, ...)`, as `Design.by_factor` gives it.
    """
    return tuple(str(dim) for dim in y.dims if dim != "prompt")


def effects(y: xr.DataArray, how: Resampling) -> xr.Dataset:
    """All 2^k - 1 contrasts of a factorial with interval, tests and effect sizes.

    Parameters: `y (prompt, factor, ...)`; `how`, the resampling behind intervals and permutations.
    Returns the columns of `tested` over `effect`, in the unit of `y`. A main effect is the mean at
    the high level less that at the low one, an interaction the product of the +-1 codes over
    2^(k-1) (paper, section 4.3).

    >>> from ibstats.statistics.uncertainty import Resampling
    >>> rng = np.random.default_rng(0)
    >>> cells = xr.DataArray(rng.random((9, 2, 2)), dims=("prompt", "sampling", "codebook"))
    >>> found = effects(cells, Resampling(n_resamples=100))
    >>> found["effect"].values.tolist(), found.attrs["n_tests"]
    (['sampling', 'codebook', 'sampling:codebook'], 3)
    """
    factors = factors_of(y)
    values = factorial.contrasts(y.transpose("prompt", *factors).values)
    names = factorial.names(len(factors), factors)
    contrast = xr.DataArray(
        values, dims=("prompt", "effect"), coords={"effect": names}, attrs=y.attrs
    )
    found = tested(contrast, how)
    if is_constant(y.transpose("prompt", *factors).values).any():
        # max-T needs symmetry, which differences from a cell that never varies do not have
        found["p_max_t"] = xr.full_like(found["p_max_t"], np.nan)
    return found


def simple_effects(y: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Effect of each factor with one or more others held at a level: what a crossover is made of.

    Parameters: `y (prompt, factor, ...)` of two or more factors; `how`. Returns the columns of
    `tested` over `effect`, one family, with the coordinate `at (effect)`: the levels held, as JSON.
    Over the factors that are not held the mean is taken; of more than three factors one is held.

    >>> from ibstats.statistics.uncertainty import Resampling
    >>> cells = xr.DataArray(
    ...     np.random.default_rng(0).random((9, 2, 2)),
    ...     dims=("prompt", "sampling", "codebook"),
    ...     coords={"sampling": ["argmax", "stochastic"], "codebook": ["subset", "full"]},
    ... )
    >>> found = simple_effects(cells, Resampling(n_resamples=100))
    >>> str(found["effect"].values[0]), str(found["at"].values[0])
    ('sampling', '{"codebook": "subset"}')
    """
    factors = factors_of(y)
    names, places, weights = [], [], []
    for number, held in _held(len(factors)):
        names.append(factors[number])
        at = {factors[i]: str(y[factors[i]].values[level]) for i, level in held.items()}
        places.append(json.dumps(at))
        weights.append(factorial.simple_weights(len(factors), number, held))
    cells = y.transpose("prompt", *factors).values.reshape(y.sizes["prompt"], -1)
    values = factorial.linear(cells, np.column_stack(weights))
    contrast = xr.DataArray(values, dims=("prompt", "effect"), attrs=y.attrs)
    found = tested(contrast, how)
    texts = {"effect": names, "at": ("effect", np.array(places, dtype=object))}
    return found.assign_coords(texts)


def _held(k: int) -> Iterator[tuple[int, dict[int, int]]]:
    """Each of k factors, with the levels at which others are held."""
    most = k - 1 if k <= MOST_HELD_TOGETHER else 1
    for factor in range(k):
        others = [i for i in range(k) if i != factor]
        for size in range(1, most + 1):
            for held in combinations(others, size):
                for levels in product((0, 1), repeat=size):
                    yield factor, dict(zip(held, levels, strict=True))


def compare(y: xr.DataArray, contrasts: Sequence[Contrast], how: Resampling) -> xr.Dataset:
    """Mean of each comparison of conditions over prompts, as one family of tests.

    Parameters: `y (condition, prompt)`; `contrasts`, weights over the conditions in that order;
    `how`, the resampling.
    Returns the columns of `tested` over `effect`, with `condition` and `against (effect)`, the two
    conditions compared (empty where the comparison is of a mixture).
    """
    weights = np.column_stack([contrast.weights for contrast in contrasts])
    names = [contrast.name for contrast in contrasts]
    values = xr.DataArray(
        factorial.linear(y.transpose("prompt", "condition").values, weights),
        dims=("prompt", "effect"),
        coords={"effect": names},
        attrs=y.attrs,
    )
    pairs = {
        "condition": [contrast.condition for contrast in contrasts],
        "against": [contrast.against for contrast in contrasts],
    }
    found = tested(values, how)
    return found.assign_coords({name: ("effect", column) for name, column in pairs.items()})


def tested(values: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Interval, tests, adjusted p values, effect sizes and Bayes factor of `(prompt, effect)`.

    The family of the adjustments is the set of effects; degenerate ones, which do not vary over
    prompts, are outside it (their p values are NaN). `p` is of the bootstrap that makes the interval,
    so the two agree; `t` with `df` are those of the t test. The attributes say how many count
    (`n_tests`) and the degrees of freedom (`df`).
    """
    x = values.transpose("prompt", "effect").values
    n = len(x)
    result = mean_interval(values, how)
    t, df, _ = significance.t_test(x)
    p = mean_p(values.transpose("prompt", "effect"), how).values
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


def waterfall(y: xr.DataArray, how: Resampling, at: dict[str, str] | None = None) -> xr.Dataset:
    """Steps from the all-low to the all-high cell, and the synergy gap (paper, A.1).

    Parameters: `y (prompt, factor, ...)` of two or more factors; `how`; `at`, factors to hold at
    one level, for instance `{"sampling": "stochastic"}` for the paper's Fig. 10 and 13.
    Returns `(attribution, step)` with the steps baseline, one per factor, predicted, gap, actual.
    The gap carries a test, `t`, `df` and `p (attribution, step)`, unadjusted, NaN elsewhere; the
    Shapley gap is zero by definition. With two factors a `note` says that the gap of marginal effects is zero by
    algebra. Raises IbstatsError for fewer than two factors.
    """
    cells = y.sel(at or {}, drop=True)
    factors = factors_of(cells)
    k = len(factors)
    if k < 2:
        raise IbstatsError("a waterfall needs at least two factors")
    steps = ["baseline", *factors, "predicted", "gap", "actual"]
    flat = cells.transpose("prompt", *factors).values.reshape(cells.sizes["prompt"], 2**k)
    matrix = np.stack([_step_weights(k, name) for name in ATTRIBUTIONS], axis=1).round(15)
    total = factorial.linear(flat, matrix.reshape(2**k, -1))
    values = xr.DataArray(
        total.reshape(len(flat), *matrix.shape[1:]),
        dims=("prompt", "attribution", "step"),
        coords={"attribution": list(ATTRIBUTIONS), "step": steps},
        attrs=y.attrs,
    )
    result = mean_interval(values, how)
    gap = steps.index("gap")
    gap_values = values.values[:, :, gap]
    t, df, _ = significance.t_test(gap_values)
    p = mean_p(values.isel(step=gap), how).values
    at_gap = {"t": t, "p": p, "df": np.full(len(ATTRIBUTIONS), df)}
    for name, column in at_gap.items():
        placed = np.full(matrix.shape[1:], np.nan)
        placed[:, gap] = column
        result[name] = (("attribution", "step"), placed)
    note = np.full(matrix.shape[1:], "", dtype=object)
    if k == 2:
        note[ATTRIBUTIONS.index("marginal"), gap] = TWO_FACTOR_NOTE
    result["note"] = (("attribution", "step"), note)
    return result.assign_attrs(at=json.dumps(at or {}))


def _step_weights(k: int, attribution: str) -> np.ndarray:
    """Weights of the cells in each step of a waterfall, `(2^k, step)`."""
    low, high = np.eye(2**k)[0], np.eye(2**k)[-1]
    shares = factorial.attribution_matrix(k, attribution)
    gap = factorial.gap_weights(k, attribution)
    return np.column_stack([low, shares, low + shares.sum(axis=1), gap, high])
