"""Make a run, and write, commit and withdraw its blocks.

A run, in a folder or under a URL, holds plain Zarr v3 (`data.zarr`, readable by xarray alone) and
beside it the ledger of finished blocks. Every stored object belongs to one block and is written
once. A block is committed by its ledger record, written last and created exclusively: it appears
whole or not at all, and once.

    run = writer.create(where, record, prompts, template_of)         # once
    writer = RunWriter(where, run)
    for block in run.blocks():
        writer.add(block, arrays, maker)                    # write, commit, check again
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from schemas.errors import CorruptBlock, StoreContractError, StoreError
from schemas.io import layout, reader
from schemas.io.checked import CheckedStore, as_stored
from schemas.io.folder import Folder
from schemas.io.laid_out import finish, lay_out
from schemas.io.ledger import Ledger, record_key, recorded_template
from schemas.io.prompt_table import PromptTable, prompt_problems, write_prompts
from schemas.io.sealed import seal_problems
from schemas.io.template import PER_BLOCK, Arrays, Template, write_templates
from schemas.provenance import Hardware, ModelIdentity, Software, now
from schemas.store import (
    Block,
    BlockRecord,
    RunRecord,
    StoredObject,
    sealed,
    sealed_line,
)
from schemas.study import Prompt

Outcome = Literal["made", "done"]
"""What became of a block: committed now, or committed meanwhile by another attempt."""


@dataclass(frozen=True)
class Maker:
    """Who makes a block: what its record says of the attempt.

    Make one just before the work begins: `started` is the time of its making. `seconds` is asked for
    the seconds of each stage when the record is made.
    """

    software: Software
    hardware: Hardware
    attempt: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: str = field(default_factory=now)
    seconds: Callable[[], dict[str, float]] = dict


def create(
    where: Folder,
    run: RunRecord,
    prompts: Sequence[Prompt],
    template_of: Callable[[str, str], Template],
) -> RunRecord:
    """Lay out a run: its prompts, the template of every Dataset, then `run.json`.

    That file says that the run is there. `template_of` gives the template of a model and
    experiment, by their names. All of it survives a power loss before `run.json` is written, and no
    other process can replace it (see `schemas.io.laid_out`). Returns the run as recorded, with what
    was written. Raises StoreError where a run is, and StoreContractError for a template that does
    not follow the contract.
    """
    finish_creation(where)
    if where.exists(layout.RUN):
        raise StoreError(
            f"'{where}' holds a run already; go on with that one, or choose another place"
        )
    write = partial(write_templates, run=run, template_of=template_of)
    pieces = write_prompts(where, prompts)

    def record_of(template: list[StoredObject]) -> bytes:
        return sealed(run.model_copy(update={"template": template, "prompt_pieces": pieces}))

    try:
        lay_out(where, layout.DATA, layout.RUN, write, record_of)
    except FileExistsError:
        raise StoreError(
            f"another process has just made the run in '{where}'; run the same command again"
        ) from None
    return reader.read_run(where)


def finish_creation(where: Folder) -> None:
    """Finish a run whose `create` was killed at its last step, if there is one."""
    finish(where, layout.DATA, layout.RUN)


@dataclass(frozen=True)
class RunWriter:
    """The blocks of a run that exists: write, commit, withdraw, check.

    `run` is as `create` gave it, or `schemas.io.reader.read_run`.
    """

    folder: Folder
    run: RunRecord

    @property
    def ledger(self) -> Ledger:
        """What is committed."""
        return Ledger(self.folder, self.run)

    @cached_property
    def prompts(self) -> PromptTable:
        """The prompts of the run, in their order.

        They are read as far as they are asked for.
        """
        return PromptTable(self.folder, self.run)

    def add(self, block: Block, arrays: Arrays, maker: Maker, *, alone: bool = False) -> Outcome:
        """Write a block, publish its record, and look once more at what is stored.

        `arrays` are (prompt, sample, ...) each. `alone`: nobody else knows the place, so nothing
        can change between writing, which reads back, and publishing; it is not looked at again.
        Gives `done` where another attempt was faster: its
        record stands, if what is stored is still as it says. Raises StoreContractError for arrays
        that are not what the run says, and CorruptBlock, with the commit undone, where stored
        objects changed meanwhile.
        """
        try:
            objects = self.write(block, arrays)
        except FileExistsError:
            return self._committed_by_another(block)
        record = BlockRecord(
            run_id=self.run.run_id,
            config_sha256=self.run.config_sha256,
            model=block.model,
            experiment=block.experiment,
            condition=block.condition,
            block=block.index,
            prompt_start=block.start,
            prompt_stop=block.stop,
            objects=objects,
            content_sha256=content_digests(arrays, self.sample_counts(block)),
            attempt=maker.attempt,
            started=maker.started,
            finished=now(),
            software=maker.software,
            hardware=maker.hardware,
            seconds=maker.seconds(),
        )
        try:
            self.commit(block, record)
        except FileExistsError:
            return self._committed_by_another(block)
        if alone:
            self.mark_complete(block)
        else:
            self._look_again(block, record)
        return "made"

    def _committed_by_another(self, block: Block) -> Outcome:
        """Leave a block to the attempt that was faster, if what is stored is as its record says."""
        record = self.ledger.read(block)
        if record is None:
            raise CorruptBlock(f"block {block.name} was withdrawn while it was made again")
        self._look_again(block, record)
        return "done"

    def _look_again(self, block: Block, record: BlockRecord) -> None:
        """Mark a block that was just committed, or undo the commit where its objects changed."""
        unsure = []
        for stored in record.objects:
            if not self.folder.is_as_put(layout.data_key(stored.key)):
                unsure.append(stored)
        problems = self.problems(unsure)
        if problems:
            self.withdraw(block)
            raise CorruptBlock(f"block {block.name} changed while it was committed: {problems[0]}")
        self.mark_complete(block)

    def write(self, block: Block, arrays: Arrays) -> list[StoredObject]:
        """Write the arrays of a block, (prompt, sample, ...) each, and give what is stored.

        The objects are synced and read back, but for what a service has checked.
        Raises StoreContractError for arrays that are not what
        the run says, and FileExistsError where another attempt has committed the block meanwhile:
        objects of a committed block are never touched, by a process that was long stopped neither.
        """
        stored = self.arrays(block)
        self._check(block, arrays, stored)
        objects = []
        for name, values in sorted(arrays.items()):
            keys = self.object_keys(block, name)
            if self.ledger.is_done(block):
                raise FileExistsError(f"block {block.name} is committed")
            for key in keys:  # of a killed or repaired attempt, maybe damaged
                self.folder.remove(layout.data_key(key))
            stored[name][_region(block)] = values[None]
            for key in keys:
                self.folder.sync(layout.data_key(key))
                objects.append(self._as_put(key))
        return objects

    def _as_put(self, key: str) -> StoredObject:
        """What is stored of an object that was just written: as its receipt says, or read back."""
        receipt = self.folder.receipt(layout.data_key(key))
        if receipt is not None:
            return StoredObject(key=key, bytes=receipt.bytes, sha256=receipt.sha256)
        return as_stored(key, self.folder.read(layout.data_key(key)))

    def commit(self, block: Block, record: BlockRecord) -> None:
        """Publish the record of a block, and remove the note of its failure if there is one.

        Raises FileExistsError if the block is committed already.
        """
        self.folder.create(record_key(block), sealed_line(record))
        failure = layout.block_key(
            "failed", block.model, block.experiment, block.condition, block.index
        )
        self.folder.remove(failure)

    def withdraw(self, block: Block) -> None:
        """Undo the commit of a block, so that it is made again.

        Its objects stay, and mean nothing until the next commit. Raises StoreError where the run is
        sealed.
        """
        self.refuse_sealed()
        self.folder.remove(record_key(block))
        for key in self.object_keys(block, "complete"):
            self.folder.remove(layout.data_key(key))

    def refuse_sealed(self) -> None:
        """Raise StoreError where the run is sealed.

        None of its blocks can be made again then.
        """
        if self.folder.exists(layout.SEAL):
            raise StoreError(
                f"'{self.folder}' is sealed, so no block of it can be made again: first "
                f"`ibgenerate unseal {self.folder}`"
            )

    def mark_complete(self, block: Block) -> None:
        """Copy the commit of a block into `complete`.

        Readers without our code look at that variable; it is never the authority.
        """
        self.arrays(block)["complete"][_region(block)] = True

    def marked(self, blocks: Iterable[Block]) -> set[Block]:
        """Give those of the blocks for which `mark_complete` was done, by one listing a Dataset.

        A kill between commit and mark leaves a block that is committed and not marked.
        """
        blocks = list(blocks)
        there: set[str] = set()
        for model, experiment in {(block.model, block.experiment) for block in blocks}:
            group = layout.group_name(model, experiment)
            there.update(self.folder.sizes(layout.data_key(f"{group}/complete")))
        found = set()
        for block in blocks:
            (key,) = self.object_keys(block, "complete")
            if layout.data_key(key) in there:
                found.add(block)
        return found

    def object_keys(self, block: Block, name: str) -> list[str]:
        """Give the objects of one array that a block lies in, relative to the Zarr hierarchy.

        They are there once the block is written, and its own, unless they were merged.
        """
        array = self.arrays(block)[name]
        stored = array.shards or array.chunks
        metadata: Any = array.metadata
        grid = []
        for size, step in zip(array.shape[2:], stored[2:], strict=True):
            grid.append(-(-size // step))
        prefix = f"{layout.group_name(block.model, block.experiment)}/{name}"
        keys = []
        for index in np.ndindex(*grid):
            place = (block.condition, block.start // stored[1], *index)
            keys.append(f"{prefix}/{metadata.chunk_key_encoding.encode_chunk_key(place)}")
        return keys

    def problems(self, objects: Iterable[StoredObject]) -> list[str]:
        """Give what is wrong with recorded objects, one line each.

        They may be gone, cut short or altered.
        """
        found = []
        for stored in objects:
            problem = reader.problem(self.folder, stored)
            if problem is not None:
                found.append(f"{stored.key}: {problem}")
        return found

    def template_problems(self) -> list[str]:
        """Give what is wrong with what `create` wrote, one line an object.

        No block holds it, so no repair makes it again: metadata, coordinates, texts, noise keys,
        subsets, the code counts behind these, the prompts, and the
        tables of a sealed ledger.
        """
        found = self.problems(self.run.template)
        for key, problem in prompt_problems(self.folder, self.run).items():
            if problem is not None:
                found.append(f"{key}: {problem}")
        seal = self.ledger.seal
        if seal is not None:
            for key, problem in seal_problems(self.folder, seal).items():
                if problem is not None:
                    found.append(f"{key}: {problem}")
        for key, said in reader.calibration_problems(self.folder, self.run).items():
            found.append(f"{key}: {said}")
        return found

    def arrays(self, block: Block) -> dict[str, zarr.Array[Any]]:
        """Give the per-block arrays of a block's Dataset, by name.

        They are opened once, to be written.
        """
        return self._groups[block.model, block.experiment]

    def _checked(self, *, read_only: bool) -> CheckedStore:
        """The Zarr hierarchy, whose template is checked as it is read."""
        recorded = partial(recorded_template, self.folder, self.run)
        return CheckedStore(self.folder, recorded, read_only=read_only)

    @cached_property
    def _groups(self) -> dict[reader.Dataset, dict[str, zarr.Array[Any]]]:
        data = self._checked(read_only=False)
        root = zarr.open_group(data, mode="r+", use_consolidated=False)
        groups = {}
        for model in self.run.models:
            for experiment in self.run.experiments:
                group: Any = root[layout.group_name(model, experiment)]
                arrays = {}
                for name, array in group.arrays():
                    if name in PER_BLOCK:  # a block equal to the fill must be stored too
                        arrays[name] = array.with_config({"write_empty_chunks": True})
                groups[model, experiment] = arrays
        return groups

    def fixed(self, model: str, experiment: str) -> dict[str, NDArray[Any]]:
        """Give what `create` wrote once into a Dataset, by name.

        Coordinates, texts, noise keys and codebook subsets; they are read once.
        """
        key = (model, experiment)
        if key not in self._fixed:
            data = self._checked(read_only=True)
            name = layout.group_name(model, experiment)
            group = zarr.open_group(data, path=name, mode="r", use_consolidated=False)
            self._fixed[key] = {
                name: np.asarray(array[...])
                for name, array in group.arrays()
                if name not in PER_BLOCK
            }
        return self._fixed[key]

    @cached_property
    def _fixed(self) -> dict[reader.Dataset, dict[str, NDArray[Any]]]:
        return {}

    def sample_counts(self, block: Block) -> NDArray[np.integer[Any]]:
        """Give the number of samples of each prompt of a block, (prompt,).

        All that the plan says, where the run has no `sample_count`.
        """
        counts = self.fixed(block.model, block.experiment).get("sample_count")
        if counts is None:
            n_samples = self.run.experiments[block.experiment].n_samples
            return np.full(block.n_prompts, n_samples)
        return counts[block.condition, block.start : block.stop]

    def _check(self, block: Block, arrays: Arrays, stored: Mapping[str, zarr.Array[Any]]) -> None:
        """Refuse a block that would not be what the store says it is."""
        expected = set(stored) - {"complete"}
        if set(arrays) != expected:
            raise StoreContractError(
                f"block {block.name} brings {sorted(arrays)}, "
                f"but its Dataset holds {sorted(expected)}"
            )
        counts = self.sample_counts(block)
        n_samples = self.run.experiments[block.experiment].n_samples
        there = np.arange(n_samples) < counts[:, None]
        for name, values in arrays.items():
            shape = (block.n_prompts, *stored[name].shape[2:])
            if values.shape != shape or values.dtype != stored[name].dtype:
                raise StoreContractError(
                    f"`{name}` of block {block.name} is {values.dtype}{values.shape}, "
                    f"but the store holds {stored[name].dtype}{shape}"
                )
            _check_values(block, name, _samples(values, there))
            _check_padding(block, name, values[~there], stored[name].fill_value)
        if "tokens" in arrays:
            tokens = _samples(arrays["tokens"], there)
            _check_tokens(block, tokens, self.run.models[block.model])


def _samples(values: NDArray[Any], there: NDArray[np.bool_]) -> NDArray[Any]:
    """The samples that are there; not a copy where all are."""
    return values if there.all() else values[there]


def _check_values(block: Block, name: str, values: NDArray[Any]) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise StoreContractError(f"`{name}` of block {block.name} has values that are not finite")


def _check_padding(block: Block, name: str, values: NDArray[Any], fill: Any) -> None:
    """Refuse values for samples that are not there: they would be lost to every reader."""
    empty = np.isnan(values) if values.dtype.kind == "f" else values == fill
    if not empty.all():
        raise StoreContractError(
            f"`{name}` of block {block.name} has values beyond `sample_count`; leave {fill} there"
        )


def _check_tokens(block: Block, tokens: NDArray[Any], identity: ModelIdentity) -> None:
    highest, size = int(tokens.max()), identity.codebook_size
    if highest >= size:
        raise StoreContractError(
            f"`tokens` of block {block.name} holds code {highest}, "
            f"but codes of {block.model} run 0..{size - 1}; "
            "were the special-token offsets removed before writing?"
        )


def content_digests(arrays: Arrays, counts: NDArray[Any] | None = None) -> list[str]:
    """Give the sha256 of the decoded arrays of each prompt of a block, in order of their names.

    `arrays` are (prompt, sample, ...); `counts` (prompt,) are the samples that there are, by
    default all. Samples that are not there do not count, so equal samples have equal digests
    whatever the most of another prompt.
    """
    n_prompts = len(next(iter(arrays.values())))
    digests = []
    for prompt in range(n_prompts):
        digest = hashlib.sha256()
        for name, values in sorted(arrays.items()):
            samples = values[prompt]
            if counts is not None:
                samples = samples[: counts[prompt]]
            digest.update(f"{name} {values.dtype.str} {samples.shape}\n".encode())
            digest.update(np.ascontiguousarray(samples).data)
        digests.append(digest.hexdigest())
    return digests


def _region(block: Block) -> tuple[slice, slice]:
    """Give where a block lies in an array: its condition and prompts."""
    return slice(block.condition, block.condition + 1), slice(block.start, block.stop)
