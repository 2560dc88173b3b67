"""One statistic of several quantities as one Dataset over `quantity`, each with its own unit, n and family of tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from ibstats.quantities import quantity
from ibstats.statistics.uncertainty import Resampling, mean_interval

FEWEST_UNITS = 2
"""Prompts, or blocks of prompts, that an interval needs."""

BOUNDED = ("estimate", "low", "high")


def units(value: xr.DataArray) -> xr.DataArray:
    """One quantity over its units, named `prompt` whatever they are.

    Units for which it is undefined in some condition are left out.
    """
    named = value.rename(block="prompt") if "block" in value.dims else value
    kept: xr.DataArray = named.dropna("prompt", how="any")
    return kept


def over_quantities(
    values: xr.Dataset, statistic: Callable[[xr.DataArray], xr.Dataset]
) -> xr.Dataset:
    """A statistic of each quantity that has two or more units, stacked over `quantity`.

    `values` hold `(condition, prompt)`, or `(condition, block)` of scores of whole sets of images.
    Numbers that differ between quantities are variables over `quantity`: `n_prompts`, `n_units` (0
    where the units are prompts), `df`, `n_tests`, `units` and, where a quantity has one, `note`,
    and `n_images_most` (0 where prompts have as many images as the others, or count so many).
    Empty if no quantity has two units.
    """
    made = []
    for name, value in values.data_vars.items():
        x = units(value)
        if x.sizes["prompt"] < FEWEST_UNITS:
            continue
        one = statistic(x.drop_attrs(deep=False))
        n_units = x.sizes["prompt"]
        n_prompts = value.attrs["n_prompts"] if "block" in value.dims else n_units
        own: dict[str, Any] = {
            "n_prompts": n_prompts,
            "n_units": 0 if n_units == n_prompts else n_units,
            "units": value.attrs.get("units", quantity(str(name)).unit),
        }
        if any("n_images_most" in other.attrs for other in values.data_vars.values()):
            own["n_images_most"] = value.attrs.get("n_images_most", 0)
        for key in ("df", "n_tests"):
            if key in one.attrs:
                own[key] = one.attrs.pop(key)
        if value.attrs.get("note") and "note" not in one:
            own["note"] = value.attrs["note"]
        own = {key: ("quantity", np.array([item], dtype=_kind(item))) for key, item in own.items()}
        made.append(one.expand_dims(quantity=[str(name)]).assign(own))
    if not made:
        return xr.Dataset()
    stacked: xr.Dataset = xr.concat(
        made, dim="quantity", combine_attrs="override", data_vars="all", fill_value={"note": ""}
    )
    return stacked


def _kind(item: Any) -> Any:
    return object if isinstance(item, str) else None


def means(values: xr.Dataset, how: Resampling) -> xr.Dataset:
    """Mean of each quantity over its units with interval, over `(quantity, condition)`.

    Within what the quantity can be, see `limit`; empty if no quantity has two units. Units that all
    agree have no variation, and are marked `degenerate`; of a quantity of few steps, which agree by
    chance, they have the interval that this leaves.
    """
    found = over_quantities(values, lambda y: mean_interval(y, how, _chance(y)))
    limit(found, {})
    return found


def _chance(value: xr.DataArray) -> tuple[float, float] | None:
    """The least and the most that a quantity of few steps can be; None for any other."""
    record = quantity(str(value.name))
    if not record.steps:
        return None
    return record.least, record.most


def limit(summary: xr.Dataset, most: Mapping[str, xr.DataArray]) -> None:
    """Keep estimates and bounds within what a quantity can be, which an estimator may step over.

    Changes `summary` in place; bounds may lack in it. `most (condition)` of a quantity is its largest value in each
    condition, where that is less than in general.
    """
    if "quantity" not in summary:
        return
    for name in summary["quantity"].values:
        record = quantity(str(name))
        for bound in filter(summary.__contains__, BOUNDED):
            own = summary[bound].sel(quantity=name)
            clipped = own.clip(record.least, most.get(str(name), record.most))
            summary[bound].loc[{"quantity": name}] = clipped.transpose(*own.dims)
