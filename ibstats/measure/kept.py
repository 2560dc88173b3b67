"""What was measured on the images of a run, kept beside it: distances and features, each measured
once.

`RUN/results/distances/<model>/<experiment>/<name>-<key>.npy` holds `(prompt, condition, sample,
sample + 1)`, the squared norms in the last column; `RUN/results/features/...` holds `(prompt,
condition, sample, feature)`. The key is a digest of the measurement's name, its settings and the
committed blocks it was measured on, so what is kept can never be read for other data. The .json
beside a table says the same in words, so that a machine without the weights finds what another one
computed; it also holds shape, dtype and checksum of the table (CRC-32C: sha256 would cost more than
the reading), and its own sha256. A table that is not as its record says, or holds a row that was not
measured, is damaged: it is measured again, and a line says so. A table without a checksum, of an
older version, is accepted once if it is whole, and gets one.

Measuring takes one prompt at a time, so memory is bounded by the images of one prompt. An
interrupted pass leaves a partial table, private to its process, and the checksum of each of its
rows; the next one takes over the rows that are whole. A table appears under its name with all its
rows or not at all, so any number of processes may measure one run at once.

Where prompts have unequal numbers of images all are measured, and NaN stands behind them.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError, Unmeasurable
from ibstats.measure.base import Distance, Embedding, ImageScore, Measurement
from ibstats.measure.each import Each, here
from ibstats.measure.returned import checked_settings
from ibstats.measure.table import (
    MISSING,
    Unfinished,
    read_record,
    remove_table,
    seal_table,
    table_problem,
)
from ibstats.quantities import quantity
from ibstats.selection import Selection
from ibstats.store import check_sample_count
from schemas.io.layout import ResultsFolder
from schemas.timings import stage

Measure = Callable[[int], NDArray[Any]]
"""The number of a prompt to its row: an array whose first number is not NaN."""

ATTEMPTS = 3
"""Times that a table is measured whose file is damaged each time."""


@dataclass(frozen=True)
class Kept:
    """Where a measurement is kept, whether it is there yet or not.

    The settings are those of the measurement, or those it was made with on another machine.
    """

    file: Path
    """The table, `(prompt, condition, ...)`."""
    settings: dict[str, Any]
    """What fixed its numbers besides the images."""


def distances(selection: Selection, metric: Distance, *, each: Each = here) -> xr.Dataset:
    """Give distances of all pairs of a prompt's images in each condition, as kept or measured now.

    Returns `distance (condition, prompt, sample, sample_other)` and `squared_norm (condition,
    prompt, sample)`, NaN for a distance without an embedding, and both for images that a prompt
    with fewer does not have; memory while measuring is bounded by one prompt's images. `each` says
    where prompts are measured. Raises MissingImages, MissingWeights or MissingPackages when they
    must be measured and cannot be, Unmeasurable for images that the metric cannot measure.
    """
    kept = _measured(selection, metric, each)
    table, coords = read(kept.file, selection.dataset)
    meaning = quantity(metric.name)
    attrs = {
        "units": meaning.unit,
        "long_name": meaning.long,
        "settings": json.dumps(kept.settings),
    }
    return xr.Dataset(
        {
            "distance": (("condition", "prompt", "sample", "sample_other"), table[..., :-1], attrs),
            "squared_norm": (("condition", "prompt", "sample"), table[..., -1]),
        },
        coords=coords,
    )


def embeddings(
    selection: Selection, network: Embedding | ImageScore, *, each: Each = here
) -> xr.DataArray:
    """Give features `(condition, prompt, sample, feature)` of every image, as kept or computed now.

    NaN stands for images that a prompt with fewer does not have.
    Where the weights are missing, features of these very images under the same asked-for network
    are taken, if they were computed elsewhere. Attributes: `network`, and its `settings` as JSON.
    Raises as `distances` does.
    """
    kept = _measured(selection, network, each)
    table, coords = read(kept.file, selection.dataset)
    attrs = {"network": network.name, "settings": json.dumps(kept.settings, sort_keys=True)}
    return xr.DataArray(
        table, dims=("condition", "prompt", "sample", "feature"), coords=coords, attrs=attrs
    )


def are_kept(selection: Selection, measurement: Measurement) -> bool:
    """Tell whether these were measured before, so that neither images nor weights are needed.

    A measurement whose settings need weights counts as kept if exactly one table of these images
    was made under what was asked for.
    """
    content = _content(selection, measurement)
    folder = _folder(selection, measurement)
    if measurement.settings_need_weights:
        return len(_as_asked(folder, measurement, content)) == 1
    settings = checked_settings(measurement.settings(), measurement.name)
    return _is_whole(_file(folder, measurement, settings, content))


def digest(content: Any) -> str:
    """Give the sha256 of anything JSON can hold, 64 hex digits: the name of a table by its origin.

    >>> digest(["ssim_dissimilarity", {"K1": 0.01}])[:16]
    '6ff2c6731ce5041b'
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fill(file: Path, n_prompts: int, measure: Measure, label: str, each: Each) -> None:
    """Measure the row of every prompt and keep them as `file`: an array `(prompt, ...)`.

    An interruption leaves what was measured beside, and the next call goes on from there. Where
    another process was faster, its table stays. Raises DiskFullError where there is no room, before
    anything else is measured.
    """
    with stage("measure"), Unfinished(file, n_prompts) as table:
        table.adopt()
        for prompt, row in each(measure, table.todo(), label):
            table.put(prompt, row)
        table.publish()


def read(file: Path, dataset: xr.Dataset) -> tuple[NDArray[Any], dict[Any, Any]]:
    """Give the table `(condition, prompt, ...)` of a dataset's images, memory-mapped, and
    coordinates over both.
    """
    others = [name for name, c in dataset.coords.items() if set(c.dims) - {"condition", "prompt"}]
    coords = dict(dataset.coords.drop_vars(others).items())
    return np.load(file, mmap_mode="r").swapaxes(0, 1), coords


def _measured(selection: Selection, measurement: Measurement, each: Each) -> Kept:
    """Where a measurement is kept, once it is there."""
    if measurement.kind == "distance":
        check_sample_count(selection.n_samples)
    content = _content(selection, measurement)
    kept = _located(selection, measurement, content)
    record = {measurement.kind: measurement.name, "settings": kept.settings, **content}
    for _ in range(ATTEMPTS):
        if _is_whole(kept.file):
            seal_table(kept.file, record)
            return kept
        measurement.find_weights()
        images = selection.need("image", every_sample=True)["image"]
        remove_table(kept.file)
        measure = partial(_row, measurement, selection.model, images, selection.sample_counts)
        label = f"{selection.model}: {measurement.label}"
        fill(kept.file, selection.n_prompts, measure, label, each)
        seal_table(kept.file, record)
    raise IbstatsError(f"'{kept.file}' is damaged as soon as it is written; check the disk")


def _is_whole(file: Path) -> bool:
    """Whether a table is there and whole; a warning where it is there and damaged."""
    found = table_problem(file)
    if found not in (None, MISSING):
        warnings.warn(f"'{file}' is damaged ({found}); measured again", stacklevel=3)
    return found is None


def _located(selection: Selection, measurement: Measurement, content: dict[str, Any]) -> Kept:
    """Where a measurement is kept: under its settings, else wherever the weights were that it
    needs.
    """
    folder = _folder(selection, measurement)
    try:
        settings = checked_settings(measurement.settings(), measurement.name)
    except Unmeasurable:
        found = _as_asked(folder, measurement, content)
        if len(found) != 1:
            raise
        return found[0]
    return Kept(_file(folder, measurement, settings, content), settings)


def _content(selection: Selection, measurement: Measurement) -> dict[str, Any]:
    """What a table follows from besides its measurement: committed blocks, and the prompts used."""
    store = selection.store
    complete = store.complete(selection.model, selection.experiment)
    used = np.arange(complete.shape[1])
    if selection.allow_partial:
        used = np.flatnonzero(complete.all(axis=0))
    prompts = [store.prompts[int(number)].id for number in used]
    content = {"snapshot": selection.snapshot, "prompts": prompts, **measurement.origin()}
    if selection.unequal:
        content["samples"] = "all"  # an older version measured as many of each as all have
    return content


def _folder(selection: Selection, measurement: Measurement) -> Path:
    results = ResultsFolder(selection.store.path)
    if measurement.kind == "distance":
        return results.distances(selection.model, selection.experiment)
    return results.features(selection.model, selection.experiment)


def _file(
    folder: Path, measurement: Measurement, settings: dict[str, Any], content: dict[str, Any]
) -> Path:
    """The table of a measurement with these settings, by the text of its key, which must never
    change.
    """
    key = digest([measurement.name, settings, content])
    return folder / f"{measurement.name}-{key[:16]}.npy"


def _as_asked(folder: Path, measurement: Measurement, content: dict[str, Any]) -> list[Kept]:
    """Tables of these images under the asked-for measurement, made where its weights were."""
    asked = checked_settings(measurement.asked(), measurement.name).items()
    found = []
    for file in sorted(folder.glob(f"{measurement.name}-*.json")):
        record = read_record(file)
        table = file.with_suffix(".npy")
        if record is None or not table.is_file():
            continue
        settings = record["settings"]
        same_images = all(record.get(key) == value for key, value in content.items())
        if same_images and asked <= settings.items() and _is_whole(table):
            found.append(Kept(table, settings))
    return found


def _row(
    measurement: Measurement,
    model: str,
    images: xr.DataArray,
    counts: NDArray[np.int64],
    prompt: int,
) -> NDArray[Any]:
    """The row of one prompt, from its images loaded, NaN behind those that there are.

    Conditions with equal numbers of images are measured together.
    """
    one = images.isel(prompt=prompt).transpose("condition", "sample", "y", "x", "channel").load()
    own, most = counts[:, prompt], one.sizes["sample"]
    if (own == most).all():
        return measurement.row(one, model)
    row: NDArray[Any] | None = None
    for number in np.unique(own):
        places = np.flatnonzero(own == number)
        found = measurement.row(one.isel(condition=places, sample=slice(number)), model)
        found = measurement.widened(found, most)
        if row is None:
            row = np.full((len(own), *found.shape[1:]), np.nan, dtype=found.dtype)
        row[places] = found
    assert row is not None
    return row
