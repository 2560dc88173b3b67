"""Diversity of a prompt's images in each condition (paper, section 4.1)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ibstats.errors import IbstatsError
from ibstats.kernels import pairs


def mean_pairwise(distance: xr.DataArray) -> xr.DataArray:
    """Mean distance over unordered pairs of images, in the unit of the distance.

    `(..., sample, sample_other) -> (...)`; NaN for one image. Attributes of the distance stay.

    >>> distance = xr.DataArray([[0.0, 2.0], [2.0, 0.0]], dims=("sample", "sample_other"))
    >>> float(mean_pairwise(distance))
    2.0
    """
    mean: xr.DataArray = xr.apply_ufunc(
        pairs.mean_upper_triangle,
        distance,
        input_core_dims=[["sample", "sample_other"]],
        keep_attrs=True,
    )
    return mean


def effective_number(measured: xr.Dataset, q: float = 1) -> xr.DataArray:
    """Vendi score of order q under the cosine kernel of the metric's embedding; q = 2 is RKE.

    From `distance (..., sample, sample_other)` and `squared_norm (..., sample)`, as a measure of
    distances returns them. Raises IbstatsError without squared norms: SSIM is no kernel.

    >>> distance = (("sample", "sample_other"), [[0.0, 2.0], [2.0, 0.0]])
    >>> measured = xr.Dataset({"distance": distance, "squared_norm": ("sample", [1.0, 1.0])})
    >>> float(effective_number(measured).round(6))
    2.0
    """
    if bool(np.isnan(measured["squared_norm"]).all()):
        raise IbstatsError(
            "this metric is not the distance of an embedding, so it has no Vendi score"
        )
    number: xr.DataArray = xr.apply_ufunc(
        lambda distance, norm: pairs.vendi(pairs.cosine_similarity(distance, norm), q=q),
        measured["distance"],
        measured["squared_norm"],
        input_core_dims=[["sample", "sample_other"], ["sample"]],
    )
    return number.assign_attrs(
        units="1", long_name=f"effective number of distinct images, order {q:g}"
    )
