"""How information accrues along a traversal: by step, by order of commitment, against diversity."""

from __future__ import annotations

import numpy as np
import scipy
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError
from ibstats.statistics.uncertainty import Resampling


def step_profile(dataset: xr.Dataset, condition: str) -> xr.Dataset:
    """Means over prompts and images by `step`, of one condition, in bits.

    `token_entropy` and `token_surprisal` are per token committed at the step (NaN where none was),
    `path_surprisal`, where it is recorded, per image and step. Autoregressive steps are raster
    positions. `dataset` is that of an experiment, with the variables of the store.
    """
    cell = dataset.sel(condition=condition)
    n_positions = cell.sizes["row"] * cell.sizes["col"]
    if "token_step" in cell:
        step = cell["token_step"].values.astype(np.int64).ravel()
        n_steps = cell.sizes.get("step", int(step.max()) + 1)
    else:
        n_images = cell.sizes["prompt"] * cell.sizes["sample"]
        step, n_steps = np.tile(np.arange(n_positions), n_images), n_positions
    count = np.bincount(step, minlength=n_steps).astype(np.float64)
    found = {}
    for name in ("token_entropy", "token_surprisal"):
        ordered = cell[name].transpose("prompt", "sample", "row", "col").values
        weights = ordered.astype(np.float64).ravel()
        total = np.bincount(step, weights=weights, minlength=n_steps)
        found[name] = ("step", np.where(count > 0, total / np.maximum(count, 1), np.nan))
    if "path_surprisal" in cell:
        path = cell["path_surprisal"].astype(np.float64).mean(("prompt", "sample"))
        found["path_surprisal"] = ("step", path.values)
    return xr.Dataset(found, attrs={"units": "bit", "condition": condition})


def commit_map(dataset: xr.Dataset, condition: str) -> xr.DataArray:
    """Mean step of the last change of each position, `(row, col)`, of one condition.

    Raises IbstatsError for a model of fixed order, which records no `token_step`.
    """
    if "token_step" not in dataset:
        raise IbstatsError("the order of this model is fixed, so it has no map of commitment")
    steps = dataset["token_step"].sel(condition=condition).astype(np.float64)
    return steps.mean(("prompt", "sample"))


def rank_correlation(x: xr.DataArray, y: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Spearman's rank correlation of two quantities over `prompt`, from -1 to 1.

    `estimate`, `low`, `high`: a percentile bootstrap interval over prompts. NaN where one of them
    is constant; resamples in which one is are left out.

    >>> x = xr.DataArray([1.0, 2.0, 3.0, 5.0], dims="prompt")
    >>> float(rank_correlation(x, x**2, Resampling(n_resamples=50))["estimate"])
    1.0
    """
    pairs = np.stack([x.transpose("prompt").values, y.transpose("prompt").values], axis=1)
    rng = np.random.default_rng(how.seed)
    drawn = pairs[rng.integers(0, len(pairs), (how.n_resamples, len(pairs)))]
    resampled = _spearman(drawn)
    finite = resampled[np.isfinite(resampled)]
    low, high = np.nan, np.nan
    if len(finite):
        low, high = np.quantile(finite, [(1 - how.level) / 2, (1 + how.level) / 2])
    estimate = float(_spearman(pairs[None])[0])
    attrs = {
        "method": "percentile",
        "level": how.level,
        "n_resamples": how.n_resamples,
        "seed": how.seed,
        "n_prompts": len(pairs),
    }
    return xr.Dataset({"estimate": estimate, "low": float(low), "high": float(high)}, attrs=attrs)


def _spearman(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of ranks, `(..., n, 2) -> (...)`."""
    ranks = scipy.stats.rankdata(pairs, axis=-2)
    centred = ranks - ranks.mean(axis=-2, keepdims=True)
    norm = np.sqrt((centred**2).sum(axis=-2).prod(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(centred.prod(axis=-1).sum(axis=-1) / norm)
