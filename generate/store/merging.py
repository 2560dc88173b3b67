"""Make the objects of small blocks into large ones, and split these again.

Merged objects lie beside those of the blocks, under names of their own, and mean nothing until
`seal.json` names what was merged. Then plain readers get the metadata of the merged arrays, an array
at a time, and last of all the objects of the blocks go. To split them, the objects of the blocks
come back first, then the metadata of these. So at every moment both kinds of readers find all
samples, whichever step a process is killed at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from generate.errors import StoreError
from generate.store.room import DISK_BLOCK, bytes_on_disk
from generate.store.samples import SampleStore
from schemas.errors import CorruptBlock
from schemas.io import layout
from schemas.io.checked import MERGED, CheckedStore, as_stored, damaged_template, mismatch
from schemas.io.copied import images_count
from schemas.io.ledger import recorded, recorded_of
from schemas.io.merged import with_larger_chunks
from schemas.io.reader import Dataset
from schemas.io.sealed import SealedRecords
from schemas.io.template import PER_BLOCK
from schemas.sealed import ArrayMetadata, MergedPiece, MergedRecord, SealRecord
from schemas.store import BlockRecord, StoredObject

IMAGES = 64 * 2**20
"""Bytes of images in an object at most, before compression; single prompts are read from it."""
WHOLE = 4 * 2**20
"""Bytes in an object of any other variable, which is read whole."""

Region = tuple[slice, slice]
"""Condition and prompts of an object."""


@dataclass(frozen=True)
class Encoder:
    """An array of a Dataset, whose objects are made here before they are put anywhere."""

    prefix: str
    """Key of the array in the Zarr hierarchy."""
    metadata: bytes
    """Its zarr.json."""

    @cached_property
    def _held(self) -> dict[str, Any]:
        buffer = default_buffer_prototype().buffer
        return {"zarr.json": buffer.from_bytes(self.metadata)}

    @cached_property
    def _array(self) -> zarr.Array[Any]:
        array = zarr.open_array(MemoryStore(self._held), mode="r+")
        return array.with_config({"write_empty_chunks": True})

    @property
    def block_bytes(self) -> int:
        """Bytes of an object before compression.

        They are those of all its prompts, whether or not a Dataset has so many.
        """
        stored = self._array.shards or self._array.chunks
        return math.prod(stored) * self._array.dtype.itemsize

    @property
    def prompts(self) -> int:
        """Prompts of an object."""
        return int((self._array.shards or self._array.chunks)[1])

    def key(self, region: Region) -> str:
        """Give the key of the one object that a region fills, in the Zarr hierarchy."""
        metadata: Any = self._array.metadata
        condition, prompts = region
        rest = (0,) * (self._array.ndim - 2)
        place = (condition.start, prompts.start // self.prompts, *rest)
        return f"{self.prefix}/{metadata.chunk_key_encoding.encode_chunk_key(place)}"

    def encoded(self, region: Region, values: NDArray[Any]) -> bytes:
        """Give the content of the one object that these values fill.

        Raises StoreError where it would not be read as these values, bit for bit.
        """
        self._array[region] = values
        again = np.asarray(self._array[region])
        key = self.key(region)
        content: bytes = self._held.pop(key.removeprefix(f"{self.prefix}/")).to_bytes()
        if again.tobytes() != values.tobytes():
            raise StoreError(f"'{key}' would not hold the samples it is made of.")
        return content


@dataclass(frozen=True)
class Merging:
    """A Dataset that gains by it.

    `together` blocks shall be in an object.
    """

    model: str
    experiment: str
    arrays: Mapping[str, Encoder]
    """The arrays as they were made, by variable."""
    together: int


def to_merge(store: SampleStore) -> Iterator[Merging]:
    """Give each Dataset of a finished run that has small blocks.

    Raises CorruptStore for metadata of an array that are not as they were made.
    """
    for model in store.run.models:
        for experiment, plan in store.run.experiments.items():
            arrays = _encoders(store, model, experiment)
            if not arrays:  # a run of before its template was recorded
                continue
            most = [_most(name, made.block_bytes) for name, made in arrays.items()]
            together = min(plan.n_blocks, *most)
            if together > 1:
                yield Merging(model, experiment, arrays, together)


def bytes_to_merge(store: SampleStore) -> int:
    """Give about how many bytes merging writes: as many as the objects of the small blocks have.

    Each merged object takes a block of the disk more at most, with the record of it. What a killed
    call has written already is left out.
    """
    total = 0
    for merging in to_merge(store):
        plan = store.run.experiments[merging.experiment]
        together = merging.together * plan.block_prompts
        n_objects = len(list(_regions(len(plan.conditions), plan.n_prompts, together)))
        for made in merging.arrays.values():
            total += DISK_BLOCK * n_objects
            for key, size in store.folder.sizes(layout.data_key(made.prefix)).items():
                if MERGED.fullmatch(key):
                    total -= size
                elif not key.endswith("/zarr.json"):
                    total += size
    return max(0, total)


def merge(store: SampleStore, tell: Callable[[int], None]) -> list[MergedPiece]:
    """Write the merged objects of each Dataset of a sealed run that gains by it.

    Gives the records of them, for the seal. Neither the objects of blocks nor metadata change.
    `tell` is told of the blocks of each Dataset.
    """
    return [merge_dataset(store, merging, tell) for merging in to_merge(store)]


def merge_dataset(store: SampleStore, merging: Merging, tell: Callable[[int], None]) -> MergedPiece:
    """Write the merged objects of a Dataset, and the record of them.

    Raises StoreError for an object that would not be read as the samples that it is made of.
    """
    model, experiment = merging.model, merging.experiment
    plan = store.run.experiments[experiment]
    arrays, objects = {}, []
    group = _group(store, model, experiment)
    for name, before in merging.arrays.items():
        metadata = with_larger_chunks(before.metadata, merging.together)
        after = Encoder(before.prefix, metadata)
        arrays[name] = ArrayMetadata(blocks=before.metadata.decode(), merged=metadata.decode())
        for region in _regions(len(plan.conditions), plan.n_prompts, after.prompts):
            content = after.encoded(region, np.asarray(group[name][region]))
            objects.append(_put(store, after.key(region), content))
    tell(plan.n_blocks * len(plan.conditions))
    record = MergedRecord(
        model=model, experiment=experiment, blocks=merging.together, arrays=arrays, objects=objects
    )
    content = record.model_dump_json(indent=1).encode()
    key = layout.merged_key(model, experiment, as_stored("", content).sha256)
    store.folder.ensure(key, content)
    stored = as_stored(key, store.folder.read(key)).model_dump()
    return MergedPiece(model=model, experiment=experiment, **stored)


def _most(variable: str, n_bytes: int) -> int:
    """How many blocks of a variable an object holds at most."""
    return (IMAGES if variable == "image" else WHOLE) // max(1, n_bytes)


def _encoders(store: SampleStore, model: str, experiment: str) -> dict[str, Encoder]:
    """The arrays of what blocks bring, as they were made; images only where there are any."""
    group = layout.group_name(model, experiment)
    found = {}
    for stored in store.run.template:
        name = stored.key.removeprefix(f"{group}/").removesuffix("/zarr.json")
        if name not in PER_BLOCK or stored.key != f"{group}/{name}/zarr.json":
            continue
        key = layout.data_key(stored.key)
        if name == "image" and len(store.folder.sizes(layout.data_key(f"{group}/{name}"))) < 2:
            continue  # copied without
        content = store.folder.read(key)
        problem = mismatch(stored, content)
        if problem is not None:
            raise damaged_template(f"{store.folder}/{key}", problem)
        found[name] = Encoder(f"{group}/{name}", content)
    return found


def _group(store: SampleStore, model: str, experiment: str) -> Any:
    """The arrays of a Dataset, whose objects are checked as they are read."""
    data = CheckedStore(store.folder, partial(recorded, store.folder, model, experiment))
    name = layout.group_name(model, experiment)
    data.know(recorded_of(store.run, store.ledger.by_dataset()[model, experiment], name))
    return zarr.open_group(data, path=name, mode="r", use_consolidated=False)


def _regions(n_conditions: int, n_prompts: int, step: int) -> Iterator[Region]:
    """The condition and the prompts of each object of an array."""
    for condition in range(n_conditions):
        for start in range(0, n_prompts, step):
            stop = min(start + step, n_prompts)
            yield slice(condition, condition + 1), slice(start, stop)


def _put(store: SampleStore, key: str, content: bytes) -> StoredObject:
    """Put an object into the Zarr hierarchy, and give what is stored of it."""
    store.folder.ensure(layout.data_key(key), content)
    return as_stored(key, store.folder.read(layout.data_key(key)))


def switch(store: SampleStore, found: SealRecord, merged: Mapping[Dataset, MergedRecord]) -> None:
    """Give plain readers the merged arrays of a sealed run, then remove the objects of its blocks.

    Raises StoreError where the run is no longer sealed as `found` says.
    """
    for record in merged.values():
        for name, array in record.arrays.items():
            _describe(store, record, name, array.merged)
    for record in merged.values():
        for name in record.arrays:
            under = layout.data_key(f"{record.model}/{record.experiment}/{name}")
            keys = sorted(key for key in store.folder.sizes(under) if key.startswith(f"{under}/c."))
            store.discard_sealed(found, keys)


def _describe(store: SampleStore, record: MergedRecord, name: str, metadata: str) -> None:
    """Put the metadata of an array in the place of those that plain readers find."""
    key = layout.metadata_key(record.model, record.experiment, name)
    store.folder.ensure(key, metadata.encode())


def bytes_to_split(store: SampleStore, records: SealedRecords, merged: MergedRecord) -> int:
    """Give how many bytes of a disk splitting a Dataset takes.

    They are those of the objects of its blocks that are not there, a block of the disk each at least.
    """
    group, there = layout.group_name(merged.model, merged.experiment), dict[str, int]()
    for name in merged.arrays:
        there |= store.folder.sizes(layout.data_key(f"{group}/{name}"))
    left_out = tuple(f"{group}/{name}/" for name in _left_out(store, merged))
    sizes = [DISK_BLOCK] * len(records)  # the marks, which no record names
    for key, size in records.block_sizes():
        if layout.data_key(key) not in there and not key.startswith(left_out):
            sizes.append(size)
    return bytes_on_disk(sizes)


def _left_out(store: SampleStore, merged: MergedRecord) -> set[str]:
    """The variables that a merged Dataset was copied without: images, or none."""
    group = layout.group_name(merged.model, merged.experiment)
    images = [each.key for each in merged.objects if each.key.startswith(f"{group}/image/")]
    there = store.folder.sizes(layout.data_key(f"{group}/image"))
    return set() if images_count(there, group, images) else {"image"}


def split(
    store: SampleStore, records: SealedRecords, merged: MergedRecord
) -> Iterator[BlockRecord]:
    """Give the blocks of a Dataset their objects again; gives each record once its objects are there.

    It names what is stored: another zstd than that of the block's maker may have made other bytes of
    equal samples. Of a merged object that is damaged or lost, blocks get empty objects, and keep the
    record that they had, so that they are found and made again; of images that a copy left out they
    get none. At last plain readers get the arrays of the blocks.
    """
    group = _group(store, merged.model, merged.experiment)
    encoders = {}
    for name, array in merged.arrays.items():
        prefix = f"{layout.group_name(merged.model, merged.experiment)}/{name}"
        encoders[name] = Encoder(prefix, array.blocks.encode())
    left_out = _left_out(store, merged)
    plan = store.run.experiments[merged.experiment]
    together = merged.blocks * plan.block_prompts
    for region in _regions(len(plan.conditions), plan.n_prompts, together):
        condition, prompts = region
        values, damaged = {}, []
        for name in encoders:
            try:
                values[name] = np.asarray(group[name][region])
            except CorruptBlock:
                if name not in left_out:
                    damaged.append(name)
        for start in range(prompts.start, prompts.stop, plan.block_prompts):
            record = records.of_block(condition.start, start // plan.block_prompts)
            its = slice(record.prompt_start, record.prompt_stop)
            there = {}
            for name, read in values.items():
                part = read[:, its.start - prompts.start : its.stop - prompts.start]
                key = encoders[name].key((condition, its))
                there[key] = _put(store, key, encoders[name].encoded((condition, its), part))
            for name in damaged:
                _put(store, encoders[name].key((condition, its)), b"")
            objects = [there.get(stored.key, stored) for stored in record.objects]
            yield record.model_copy(update={"objects": objects})
    for name, array in merged.arrays.items():
        _describe(store, merged, name, array.blocks)


def sweep(store: SampleStore, merged: Mapping[Dataset, MergedRecord]) -> None:
    """Remove merged objects that no seal names.

    A killed call left them, or they were split again.
    """
    kept: set[str] = set()
    for record in merged.values():
        kept.update(layout.data_key(stored.key) for stored in record.objects)
    there = {key for key in store.folder.sizes(layout.DATA) if MERGED.fullmatch(key)}
    store.folder.discard(sorted(there - kept))
