"""Diversity of a prompt's images in each condition (paper, section 4.1)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ibstats.errors import IbstatsError
from ibstats.kernels import pairs
from ibstats.kernels.crossed import grouped
from ibstats.statistics.by_prompt import counted


def mean_pairwise(distance: xr.DataArray) -> xr.DataArray:
    """Mean distance over unordered pairs of images, in the unit of the distance.

    `(..., sample, sample_other) -> (...)`; NaN for one image. A distance that is NaN, of an image
    that a prompt with fewer does not have, is left out: a U-statistic of the prompt's own images,
    whose expectation does not depend on their number. Attributes of the distance stay;
    `n_images_most` says what the prompt with the most images has, where numbers are unequal.

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
    own = distance.transpose(..., "sample", "sample_other").values
    there = ~np.isnan(np.diagonal(own, axis1=-2, axis2=-1))
    return mean.assign_attrs(counted(there))


def between_wordings(distance: xr.DataArray, text_index: xr.DataArray) -> xr.DataArray:
    """Mean distance over pairs of images of different wordings, `(condition, prompt)`.

    Of a prompt with one wording, over all pairs. Unlike the mean over all pairs, it does not depend
    on the number of images: the share of pairs of one wording, 0 with as many images as wordings,
    grows with them. `distance (condition, prompt, sample, sample_other)`, `text_index (condition,
    prompt, sample)` the wording of each image.

    >>> x = np.array([[0.0, 0.0, 2.0, 2.0]])
    >>> dims = ("condition", "prompt", "sample", "sample_other")
    >>> distance = xr.DataArray(abs(x[:, None, :, None] - x[:, None, None]), dims=dims)
    >>> wording = xr.DataArray([[[0, 0, 1, 1]]], dims=dims[:3])
    >>> float(between_wordings(distance, wording)[0, 0])
    2.0
    """
    values = distance.transpose("condition", "prompt", "sample", "sample_other")
    wording = text_index.transpose("condition", "prompt", "sample").values
    several = (wording != wording[..., :1]).any(axis=-1)
    between = grouped(values.values, wording).between
    pooled = pairs.mean_upper_triangle(values.values)
    like = values.isel(sample=0, sample_other=0, drop=True)
    return like.copy(data=np.where(several, between, pooled))


def spread_over_wordings(text_index: xr.DataArray) -> dict[str, bool]:
    """Whether a condition spreads the samples of every prompt over two or more wordings, by its name.

    `text_index (condition, prompt, sample)` is the wording of each image.
    """
    wording = text_index.transpose("condition", "prompt", "sample").values
    several = (wording != wording[..., :1]).any(axis=-1).all(axis=-1)
    return dict(zip(map(str, text_index["condition"].values), several.tolist(), strict=True))


def pairs_of_one_wording(text_index: xr.DataArray) -> tuple[float, int]:
    """Share of the pairs of a prompt's images that have one wording, mean over prompts; most wordings.

    `text_index (prompt, sample)` is the wording of each image.

    >>> pairs_of_one_wording(xr.DataArray([[0, 0, 1, 1]], dims=("prompt", "sample")))
    (0.3333333333333333, 2)
    """
    wording = text_index.transpose("prompt", "sample").values
    n = wording.shape[1]
    same = (wording[:, :, None] == wording[:, None]).sum(axis=(1, 2)) - n
    return float(same.mean() / (n * (n - 1))), max(len(set(row)) for row in wording.tolist())


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
