"""What is left of the diversity where images share one noise: shares of the distance of pairs that share neither.

With a paths and b executions a prompt: D_0 over pairs that share neither noise, D_P over those that
share the path noise alone, D_E the execution noise alone, and D_A over argmax images of other
paths. Redundancy R = (D_P + D_A) / D_0 - 1 is 0 where each noise adds its own part, and 1 where
either alone gives all. For squared distances of an embedding D_P / D_0 and D_E / D_0 are the total
indices of execution and path of Sobol' (2001), doi:10.1016/S0378-4754(00)00270-6. Where a decoder
draws noise too, none of these pairs shares it, and D_R is over pairs of one token grid.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from ibstats.kernels import crossed
from ibstats.statistics.ratios import ratio_interval, sum_interval
from ibstats.statistics.uncertainty import Resampling, mean_interval

NEITHER, PATH, EXECUTION = crossed.Pairs._fields
ARGMAX, REDUNDANCY, TOKENS = "argmax", "redundancy", "tokens_shared"

PARTS = (NEITHER, PATH, EXECUTION, ARGMAX, REDUNDANCY, TOKENS)
"""D_0 in the unit of the distance, then D_P, D_E and D_A as shares of it, R, and the share D_R."""

BOUNDS = ("estimate", "low", "high")


def pair_means(
    distance: xr.DataArray, n_paths: int, n_executions: int, n_renderings: int = 1
) -> xr.Dataset:
    """Mean distances by what pairs share: `neither`, `path_shared`, `execution_shared`.

    And `tokens_shared`, where grids have several images each. Over `(condition, prompt)`, in the
    unit of the distance `(condition, prompt, sample, sample_other)`; grid g has path g //
    n_executions and execution g % n_executions, sample s is of grid s // n_renderings.
    """
    values = distance.transpose("condition", "prompt", "sample", "sample_other").values
    grids = crossed.rendered(values, n_renderings)
    found = crossed.pairs(grids.others, n_paths, n_executions)._asdict()
    if n_renderings > 1:
        found[TOKENS] = grids.within.mean(axis=-1)
    dims = ("condition", "prompt")
    coords = {dim: distance[dim].values for dim in dims}
    return xr.Dataset({name: (dims, mean) for name, mean in found.items()}, coords=coords)


def pair_shares(pairs: xr.Dataset, argmax: xr.Dataset | None, how: Resampling) -> xr.Dataset:
    """D_0, and what is left of it, over `part` (`PARTS`) with intervals over prompts.

    Parameters: `pairs (prompt)`, of one condition, as `pair_means` has them (`execution_shared` may
    lack); `argmax (prompt)` with
    `left`, the mean distance of argmax images of other paths, and `whole`, that of the pairs that
    share neither noise in the same experiment, whose prompts may be others; None where there are
    none. Shares are ratios of means (`ratio_interval`); they are at least 0 and may exceed
    1 by the error of sampling, D_A also in truth. NaN where nothing varies. `n_prompts (part)`.

    >>> pairs = xr.Dataset(
    ...     {"neither": ("prompt", [2.0, 4.0]), "path_shared": ("prompt", [2.0, 4.0])},
    ...     coords={"prompt": ["a", "b"]},
    ... ).assign(execution_shared=("prompt", [0.0, 0.0]))
    >>> pair_shares(pairs, None, Resampling())["estimate"].values
    array([3., 1., 0.])
    """
    found = {NEITHER: mean_interval(pairs[NEITHER], how)}
    for name in (PATH, EXECUTION, TOKENS):
        if name not in pairs:
            continue
        found[name] = ratio_interval(pairs[name], pairs[NEITHER], how)
    if argmax is not None:
        found[ARGMAX] = ratio_interval(argmax["left"], argmax["whole"], how)
        redundant = _redundancy(pairs, argmax, how)
        if redundant is not None:
            found[REDUNDANCY] = redundant
    made = []
    for name, one in found.items():
        if name != REDUNDANCY:
            for bound in BOUNDS:
                one[bound] = one[bound].clip(min=0)
        one = one.assign(n_prompts=one.attrs["n_prompts"])
        made.append(one.expand_dims(part=[name]))
    stacked: xr.Dataset = xr.concat(made, "part", combine_attrs="override")
    del stacked.attrs["n_prompts"]
    return stacked


def _redundancy(pairs: xr.Dataset, argmax: xr.Dataset, how: Resampling) -> xr.Dataset | None:
    """R of the prompts that both experiments have, with its interval; None below two."""
    both = np.intersect1d(pairs["prompt"].values, argmax["prompt"].values)
    if len(both) < 2:
        return None
    one, other = pairs.sel(prompt=both), argmax.sel(prompt=both)
    kept = (one[PATH].values, one[NEITHER].values)
    left = (other["left"].values, other["whole"].values)
    return sum_interval([kept, left], how, less=1.0)
