"""Which tokens were taken as modes: those whose last change falls into the argmax window of their condition."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from schemas.provenance import ModelIdentity


def under_argmax(dataset: xr.Dataset, identity: ModelIdentity) -> xr.DataArray:
    """Whether a token is a mode: its last change falls into the argmax window of its condition.

    `(condition, prompt, sample, row, col)`, or `(condition, row, col)` where the order is fixed and
    the run records no steps. Windows are shares of the steps, from the start, end excluded.
    """
    step = dataset.get("token_step")
    if step is None:
        rows, cols = identity.grid
        step = xr.DataArray(np.arange(rows * cols).reshape(rows, cols), dims=("row", "col"))
    bounds = []
    for window in dataset["argmax_window"].values:
        start, stop = (Fraction(part) for part in (str(window) or "0:0").split(":"))
        bounds.append((float(start * identity.steps), float(stop * identity.steps)))
    limits = xr.DataArray(bounds, dims=("condition", "limit"))
    return (step >= limits.isel(limit=0)) & (step < limits.isel(limit=1))


def window_tokens(dataset: xr.Dataset, identity: ModelIdentity) -> xr.DataArray:
    """Tokens of an image whose last change falls under argmax, mean over images, `(condition)`.

    Thirds of the steps commit very different numbers of tokens (14 % in the first third of a cosine
    schedule), which an effect of "early" or "late" argmax must be read with. The attribute
    `n_tokens` is the number in an image.
    """
    n_tokens = identity.grid[0] * identity.grid[1]
    fixed = under_argmax(dataset, identity)
    others = [dim for dim in fixed.dims if dim != "condition"]
    return xr.DataArray(
        fixed.mean(others).values * n_tokens,
        dims="condition",
        coords={"condition": dataset["condition"].values.astype(object)},
        attrs={"n_tokens": n_tokens},
    )
