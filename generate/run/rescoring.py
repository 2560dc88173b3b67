"""A rescoring: which images along how many paths, and where its result lies in the run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from generate.errors import StoreError
from generate.store.samples import SampleStore
from schemas.io.checked import as_stored
from schemas.io.laid_out import lay_out
from schemas.io.layout import DATA, RESCORED_RECORD, rescored_piece_key
from schemas.io.rescored import Piece, StoredRescoring, key_of
from schemas.io.template import CODEC
from schemas.rescored import VERSION, PieceRecord, RescoreRecord, variables_of
from schemas.store import StoredObject, sealed
from schemas.variables import Variable

SAME_IMAGES = (
    "run_id",
    "snapshot",
    "identity",
    "conditions",
    "prompts",
    "n_samples",
    "contrasts",
    "unrestricted",
)
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
        return key_of(self.record)

    def __str__(self) -> str:
        return f"{self.store.root}/{self.key}"

    @property
    def n_images(self) -> int:
        """Images to score."""
        return len(self.record.conditions) * len(self.record.prompts) * self.record.n_samples

    @property
    def n_rows(self) -> int:
        """Traversals to make: K + 1 for each image, and as many again for each contrast.

        Each is a row of a batch, so this is what time and memory go by. A contrast of several
        wordings counts once.
        """
        n_texts = 1 + len(self.record.contrasts)
        return self.n_images * (self.record.n_paths + 1) * n_texts

    def cost(self) -> str:
        """The work in words, for people: how many images, paths and steps.

        The time is not known before: it is about that of sampling as many images as there are paths.
        """
        r = self.record
        texts = ""
        if r.contrast:
            texts = f" x {1 + len(r.contrasts)} texts"
        return (
            f"{r.model}: {self.n_images} images x {r.n_paths + 1} paths{texts} = {self.n_rows} "
            f"traversals of {r.identity.steps} steps, each with the exact law of its path"
        )

    @property
    def stored(self) -> StoredRescoring:
        """The result as it lies in the run now."""
        return StoredRescoring(self.store.folder, self.key)

    @cached_property
    def arrays(self) -> dict[str, zarr.Array[Any]]:
        """The arrays of the result by name, to read and write.

        They are there once `open_or_create` was called.
        """
        data = self.stored.data(read_only=False)
        group = zarr.open_group(data, mode="r+", use_consolidated=False)
        arrays = {}
        for name, array in group.arrays():
            arrays[name] = array.with_config({"write_empty_chunks": True})
        return arrays

    def pieces(self) -> list[Piece]:
        """(condition, prompt) that are not scored yet, by position in the result.

        A piece is there once its record is, which is written last.
        """
        done = self.stored.pieces
        todo = []
        for condition, prompt in np.ndindex(len(self.record.conditions), len(self.record.prompts)):
            if (condition, prompt) not in done:
                todo.append((condition, prompt))
        return todo

    def add(self, piece: Piece, scored: Mapping[str, NDArray[Any]]) -> None:
        """Write what was scored of a piece, durably, then its record, then its mark.

        Where another process has recorded it meanwhile, its objects are left alone.
        """
        folder, record_key = self.store.folder, rescored_piece_key(self.key, *piece)
        objects = []
        for name, values in scored.items():
            if folder.exists(record_key):
                return
            array = self.arrays[name]
            array[piece] = values
            key = f"{name}/c.{'.'.join(map(str, (*piece, *[0] * (array.ndim - 2))))}"
            folder.sync(f"{self.key}/{DATA}/{key}")
            objects.append(as_stored(key, folder.read(f"{self.key}/{DATA}/{key}")))
        condition, prompt = piece
        record = PieceRecord(
            snapshot=self.record.snapshot, condition=condition, prompt=prompt, objects=objects
        )
        with suppress(FileExistsError):  # another process was faster, with the same numbers
            folder.create(record_key, sealed(record))
        self.arrays["complete"][piece] = True

    def open_or_create(self) -> None:
        """Begin the result, or go on with one that was begun for the same images and model.

        Raises `StoreError` if what lies there was made for others, is damaged, or is being laid out
        by another process.
        """
        if not self.stored.is_begun:
            with self.store.claims.making(self.key.replace("/", "-"), self):
                if not self.stored.is_begun:
                    self._lay_out()
        there = self.stored.record
        for name in SAME_IMAGES:
            if getattr(there, name) != getattr(self.record, name):
                raise StoreError(
                    f"{self} was made for another {name}: delete it to score anew, or give another "
                    "--seed."
                )
        if not self.stored.has_records:
            raise StoreError(
                f"{self} was made by version {there.schema_version}, which kept no record of its "
                "pieces: delete it to score anew, or give another --seed."
            )

    def _lay_out(self) -> None:
        """Write the arrays, empty but for the names of conditions and prompts, then the record."""

        def record_of(template: list[StoredObject]) -> bytes:
            return sealed(self.record.model_copy(update={"template": template}))

        with suppress(FileExistsError):  # another process was faster
            under, record_key = f"{self.key}/{DATA}", f"{self.key}/{RESCORED_RECORD}"
            lay_out(self.store.folder, under, record_key, self._write_template, record_of)

    def _write_template(self, data: Store) -> None:
        record = self.record
        group = zarr.open_group(data, mode="w", zarr_format=3)
        about = {"schema_name": record.schema_name, "schema_version": VERSION}
        group.attrs.update(about | {"snapshot": record.snapshot})
        sizes = {
            "condition": len(record.conditions),
            "prompt": len(record.prompts),
            "sample": record.n_samples,
            "path": record.n_paths + 1,
            "contrast": len(record.contrasts),
        }
        labels = {
            "condition": record.conditions,
            "prompt": record.prompts,
            "contrast": record.contrasts,
        }
        for name, variable in variables_of(record).items():
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
        chunk_key_encoding={"name": "default", "separator": "."},
        attributes={"units": variable.units, "long_name": variable.long_name},
    )
