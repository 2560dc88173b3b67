"""What a restricted codebook takes away, and how far the calibration knows the codes that it keeps.

Which codes are kept follows from their counts on calibration prompts. Where these are few, many
codes tie at the cut and the set says as much of chance as of the model; the run records how far
the calibration knows it (`subset_overlap`, `subset_tie_share`, `subset_unseen`, `subset_ties`).
What the subset takes away is measured on the study itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

LEAST_OVERLAP = 0.9
"""Share of the codes kept that a larger calibration must keep too, for the subset to be leaned on."""

RECORDED = ("subset_overlap", "subset_tie_share", "subset_unseen")
"""Coordinates of a run about the codes that each condition keeps, and quantities of the same name."""

REMOVED = "subset_mass_removed"

UNCERTAIN = (
    f"a larger calibration would keep fewer than {LEAST_OVERLAP} of these codes: what the subset "
    "does is in part what a random one does"
)
"""Why an overlap is greyed out."""

BY_ID = (
    "the run was made before calibrations were judged; codes of equal counts were kept by their ids"
)
"""Why nothing is known of the codes kept of an older run."""


def allowed(dataset: xr.Dataset, strata: Sequence[int]) -> xr.DataArray:
    """Codes that each condition may use, `(condition, code)` bool.

    Where strata of positions keep codes of their own, `(condition, row, col, code)`. `dataset` is
    that of an experiment, with `codebook_keep`; `strata` are those of its model.
    """
    if "stratum_keep" not in dataset:
        return dataset["codebook_keep"]
    shape = (dataset.sizes["row"], dataset.sizes["col"])
    stratum = xr.DataArray(np.array(strata).reshape(shape), dims=("row", "col"))
    found = dataset["stratum_keep"].load().isel(stratum=stratum)
    return found.transpose("condition", "row", "col", "code")


def restricted(keep: xr.DataArray) -> list[str]:
    """Names of the conditions that may not use every code; `keep` is as `allowed` gives it.

    >>> keep = xr.DataArray([[True, False], [True, True]], dims=("condition", "code"))
    >>> restricted(keep.assign_coords(condition=["subset", "full"]))
    ['subset']
    """
    others = [dim for dim in keep.dims if dim != "condition"]
    some = ~keep.all(others).values
    return [str(name) for name in keep["condition"].values[some]]


def mass_removed(tokens: xr.DataArray, keep: xr.DataArray) -> xr.DataArray:
    """Share of each prompt's tokens, drawn from the whole codebook, on codes that are not kept.

    Parameters: `tokens (prompt, sample, row, col)` of the condition without intervention; `keep`
    as `allowed` gives it. Returns shares `(condition, prompt)` between 0 and 1, an unbiased
    estimate of the probability that the subset takes away.

    >>> codes = np.array([0, 1, 1, 1, 0, 0, 0, 1]).reshape(2, 1, 2, 2)
    >>> tokens = xr.DataArray(codes, dims=("prompt", "sample", "row", "col"))
    >>> keep = xr.DataArray([[True, False]], dims=("condition", "code"))
    >>> mass_removed(tokens, keep).values
    array([[0.75, 0.25]])
    """
    drawn = tokens.transpose("prompt", "sample", "row", "col").values
    codes = drawn.reshape(*drawn.shape[:2], -1)  # (prompt, sample, position)
    position = np.arange(codes.shape[2])
    dropped = ~keep.transpose("condition", ..., "code").values
    dropped = dropped.reshape(len(dropped), -1, dropped.shape[-1])
    if dropped.shape[1] == 1:
        position = np.zeros_like(position)  # one set for all of them
    found = np.empty((len(dropped), len(codes)))
    for prompt, here in enumerate(codes):
        found[:, prompt] = dropped[:, position, here].mean(axis=(1, 2))
    removed = xr.DataArray(found, dims=("condition", "prompt"))
    named = {name: keep[name] for name in ("condition",) if name in keep.coords}
    return removed.assign_coords(named)


def certainty(dataset: xr.Dataset, names: list[str]) -> xr.Dataset:
    """How far the calibration knows the codes that some conditions keep, `(quantity, condition)`.

    `estimate` of each quantity of `RECORDED`, as the run states it: NaN where the codes were not
    chosen by counts, and for older runs, which state nothing, with a `note`. `weak` marks overlaps
    below `LEAST_OVERLAP`.
    """
    shape = (len(RECORDED), len(names))
    estimate = np.full(shape, np.nan)
    weak, note = np.zeros(shape, bool), np.full(shape, "", dtype=object)
    for number, name in enumerate(RECORDED):
        if name in dataset:
            estimate[number] = dataset[name].sel(condition=names).values
        elif number == 0:
            note[number] = BY_ID
    weak[0] = estimate[0] < LEAST_OVERLAP
    note[0, weak[0]] = UNCERTAIN
    dims = ("quantity", "condition")
    columns = {"estimate": estimate, "weak": weak, "note": note}
    return xr.Dataset(
        {name: (dims, values) for name, values in columns.items()},
        {"quantity": list(RECORDED), "condition": names},
    )


def warnings(known: xr.Dataset, where: str) -> list[str]:
    """A line where some condition keeps codes that the calibration does not know; `where` begins it.

    >>> run = xr.Dataset(coords={"condition": ["subset"], "subset_overlap": ("condition", [0.7])})
    >>> len(warnings(certainty(run, ["subset"]), "trio-ar"))
    1
    """
    overlap = known["estimate"].sel(quantity="subset_overlap")
    if not bool((overlap < LEAST_OVERLAP).any()):
        return []
    worst = str(overlap["condition"].values[int(overlap.argmin("condition"))])
    return [
        f"{where}: a larger calibration would keep only {float(overlap.min()):.2f} of the codes "
        f"kept in '{worst}' (at least {LEAST_OVERLAP} is good): its effect is in part that of a "
        "random subset; calibrate on more images"
    ]
