"""A rescoring: which images along how many paths, and where its result lies in the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from pydantic import ValidationError

from generate.errors import StoreError
from generate.store.samples import SampleStore
from schemas.io.layout import DATA, RESCORED_RECORD, rescored_key
from schemas.io.template import CODEC
from schemas.rescored import VARIABLES, VERSION, RescoreRecord
from schemas.variables import Variable

SAME_IMAGES = ("run_id", "snapshot", "identity", "conditions", "prompts", "n_samples")
"""What two rescorings must share to be one."""


@dataclass(frozen=True)
class Rescoring:
    """What to score: images of a model and experiment, along K + 1 paths each.

    The record names the conditions and the prompts; the first of the paths is the one that was taken.
    """

    store: SampleStore
    record: RescoreRecord

    @property
    def key(self) -> str:
        """Where the result lies in the run."""
        r = self.record
        return rescored_key(r.model, r.experiment, r.n_paths, r.seed)

    def __str__(self) -> str:
        return f"{self.store.root}/{self.key}"

    @property
    def n_images(self) -> int:
        """Images to score."""
        return len(self.record.conditions) * len(self.record.prompts) * self.record.n_samples

    @property
    def n_rows(self) -> int:
        """Traversals to make: K + 1 for each image.

        Each is a row of a batch, so this is what time and memory go by.
        """
        return self.n_images * (self.record.n_paths + 1)

    def cost(self) -> str:
        """The work in words, for people: how many images, paths and steps.

        The time is not known before: it is about that of sampling as many images as there are paths.
        """
        r = self.record
        return (
            f"{r.model}: {self.n_images} images x {r.n_paths + 1} paths = {self.n_rows} traversals "
            f"of {r.identity.steps} steps, each with the exact law of its path"
        )

    @cached_property
    def arrays(self) -> dict[str, zarr.Array[Any]]:
        """The arrays of the result by name, to read and write.

        They are there once `open_or_create` was called.
        """
        data = self.store.folder.zarr(f"{self.key}/{DATA}", read_only=False)
        group = zarr.open_group(data, mode="r+", use_consolidated=False)
        arrays = {}
        for name, array in group.arrays():
            arrays[name] = array.with_config({"write_empty_chunks": True})
        return arrays

    def pieces(self) -> Iterator[tuple[int, int]]:
        """(condition, prompt) that are not scored yet, by position in the result.

        A piece is written at once and marked complete after that, so that it is whole or scored again.
        """
        done = np.asarray(self.arrays["complete"][...])
        for condition, prompt in np.argwhere(~done):
            yield int(condition), int(prompt)

    def open_or_create(self) -> None:
        """Begin the result, or go on with one that was begun for the same images and model.

        Raises `StoreError` if what lies there was made for others.
        """
        folder, file = self.store.folder, f"{self.key}/{RESCORED_RECORD}"
        if not folder.exists(file):
            _write_template(self)
            folder.create(file, self.record.model_dump_json(indent=1).encode())
            return
        try:
            there = RescoreRecord.model_validate_json(folder.read(file))
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise StoreError(
                f"{self} holds no rescoring of version {VERSION} ({reason}): delete it to score anew."
            ) from None
        for name in SAME_IMAGES:
            if getattr(there, name) != getattr(self.record, name):
                raise StoreError(
                    f"{self} was made for another {name}: delete it to score anew, or give another "
                    "--seed."
                )


def _write_template(work: Rescoring) -> None:
    """Create the arrays of the result, empty but for the names of conditions and prompts."""
    record = work.record
    data = work.store.folder.zarr(f"{work.key}/{DATA}", read_only=False)
    group = zarr.open_group(data, mode="w", zarr_format=3)
    about = {"schema_name": record.schema_name, "schema_version": VERSION}
    group.attrs.update(about | {"snapshot": record.snapshot})
    sizes = {
        "condition": len(record.conditions),
        "prompt": len(record.prompts),
        "sample": record.n_samples,
        "path": record.n_paths + 1,
    }
    labels = {"condition": record.conditions, "prompt": record.prompts}
    for name, variable in VARIABLES.items():
        array = _create_array(group, name, variable, sizes)
        if name in labels:
            array[...] = np.array(labels[name], dtype=np.dtypes.StringDType())


def _create_array(
    group: zarr.Group, name: str, variable: Variable, sizes: dict[str, int]
) -> zarr.Array[Any]:
    """One array of the result, with a chunk for each condition and prompt where it has both."""
    shape = tuple(map(sizes.__getitem__, variable.dims))
    chunks = shape
    if variable.per_block:
        chunks = (1, 1, *shape[2:])
    return group.create_array(
        name,
        shape=shape,
        dtype=variable.dtype,
        chunks=chunks,
        compressors=CODEC,
        fill_value=variable.fill,
        dimension_names=variable.dims,
        attributes={"units": variable.units, "long_name": variable.long_name},
    )
