"""Brackets of H(Z|X) and of the residual H(P|Z,X), from paths that `ibgenerate rescore` scored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError
from ibstats.kernels import sandwich
from ibstats.statistics.uncertainty import Resampling, mean_interval
from ibstats.store import Store
from schemas.io.layout import rescored_under
from schemas.io.rescored import StoredRescoring, rescorings
from schemas.rescored import RescoreRecord

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rescored:
    """One rescoring, and its images that are scored in every condition.

    `data` has `log_weight` by condition, prompt and path; see `read`.
    """

    key: str
    """Where it lies in the run."""
    record: RescoreRecord
    data: xr.Dataset

    def digest(self) -> str:
        """sha256 of the record and the weights: the version pin of what is computed from them.

        It is part of what an analysis follows from.
        """
        content = hashlib.sha256(self.record.model_dump_json().encode())
        content.update(np.ascontiguousarray(self.data["log_weight"].values).tobytes())
        return content.hexdigest()


def find(store: Store, model: str, experiment: str) -> Rescored | None:
    """The rescoring of a model and experiment with the most paths, then prompts; else None.

    Raises IbstatsError if one was made from other data or by another model than the store's: its
    numbers would not belong to it.
    """
    best, most = None, (0, 0)
    for stored in rescorings(store.folder, rescored_under(model, experiment)):
        if stored.record.contrast:
            continue
        found = read(store, stored.key)
        size = (found.record.n_paths, found.data.sizes["prompt"])
        if size[1] and size > most:
            best, most = found, size
    return best


def read(store: Store, key: str) -> Rescored:
    """The rescoring at `rescored/<model>/<experiment>/<name>`.

    Only prompts whose images are scored in every condition. Raises CorruptStore for damage, and
    IbstatsError if it does not belong to what the store holds.
    """
    stored = StoredRescoring(store.folder, key)
    record = stored.record
    model, experiment = record.model, record.experiment
    expected = {
        "run_id": store.run.run_id,
        "snapshot": store.snapshot(model, experiment),
        "identity": store.identity(model),
    }
    for name, value in expected.items():
        if getattr(record, name) != value:
            raise IbstatsError(
                f"'{stored}' was scored from another {name} than the store's; "
                "delete it, then `ibgenerate rescore`"
            )
    data: xr.Dataset = xr.open_zarr(stored.data(), consolidated=False, chunks=None).load()
    data = data.set_coords(["condition", "prompt"])
    whole = stored.scored(data["complete"].values).all(axis=0)
    return Rescored(key, record, data.isel(prompt=np.flatnonzero(whole)))


def numbers_of_paths(n_paths: int) -> list[int]:
    """1, 2, 4, ... and the most there are.

    >>> numbers_of_paths(6)
    [1, 2, 4, 6]
    """
    numbers = []
    number = 1
    while number < n_paths:
        numbers.append(number)
        number *= 2
    return [*numbers, n_paths]


def brackets(found: Rescored, *, revised: bool = False) -> xr.DataArray:
    """Bounds by number of paths, `(quantity, paths, condition, prompt)` in bits per image.

    `tokens_lower` <= H(Z|X) <= `tokens_upper` and `residual_lower` <= H(P|Z,X) <= `residual_upper`,
    each in expectation, and H(P,Z|X) = `joint` by the recorded paths. Where some image has no
    possible path among the proposed ones, or proposals do worse, H(Z|X) <= H(P,Z|X) is the upper
    bound. If tokens are `revised`, P of the residual is the whole trajectory, which bounds that of
    the path from above alone, and there is no `residual_lower`. Images whose own path is unknown
    count in `tokens_upper` only; a prompt without any other is NaN. The attributes say how many
    images there are, and how many of them unknown.
    """
    data = found.data
    own, proposed = data["log_weight"].values[..., 0], data["log_weight"].values[..., 1:]
    joint = data["joint_bits"].values
    counts = numbers_of_paths(found.record.n_paths)
    names = ["tokens_lower", "tokens_upper", "residual_upper", "joint"]
    if not revised:
        names.append("residual_lower")
    values = np.full((len(names), len(counts), *own.shape[:-1]), np.nan)
    for i, k in enumerate(counts):
        tokens_lower = -sandwich.above(own, proposed, k)
        tokens_upper = _bounded(-sandwich.below(proposed, k), joint)
        parts = {
            "tokens_lower": tokens_lower,
            "tokens_upper": tokens_upper,
            "residual_lower": joint - tokens_upper,
            "residual_upper": joint - tokens_lower,
            "joint": joint,
        }
        for j, name in enumerate(names):
            values[j, i] = _mean(parts[name])
    coords = {
        "quantity": names,
        "paths": counts,
        "condition": data["condition"].values,
        "prompt": data["prompt"].values,
    }
    attrs = {"units": "bit", "unknown_images": int(np.isnan(own).sum()), "images": own.size}
    return xr.DataArray(values, coords, ("quantity", "paths", "condition", "prompt"), attrs=attrs)


def bracket_intervals(bits: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Means of `brackets` over prompts with intervals, `(quantity, paths, condition)` in bits.

    Prompts with an unknown value are left out. No entropy is below zero, whatever a bound. Raises
    IbstatsError where fewer than two prompts are left.
    """
    known = bits.dropna("prompt")
    result = mean_interval(known, how)
    for name in ("estimate", "low", "high"):
        result[name] = result[name].clip(min=0.0)
    return result.assign_attrs(bits.attrs)


def _bounded(upper: Array, joint: Array) -> Array:
    """By condition, the bound if it is finite and below the joint entropy on average, else that."""
    mean, other = upper.mean(axis=(1, 2)), _mean(joint.reshape(len(joint), -1))
    worse = ~np.isfinite(mean) | (mean > other)
    return np.where(worse[:, None, None], joint, upper)


def _mean(values: Array) -> Array:
    """Mean over images of known value, NaN where a prompt has none."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
