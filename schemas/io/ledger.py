"""The ledger: the committed blocks of a run, what a reader believes and nothing else.

It is a record a block, or, once a run is finished and sealed, the tables that `seal.json` names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas.errors import CorruptStore, StoreContractError
from schemas.io import layout
from schemas.io.checked import Recorded, by_key
from schemas.io.folder import Folder
from schemas.io.merged import metadata_of, read_merged, without_metadata
from schemas.io.reader import Dataset, first_problem, read_run
from schemas.io.sealed import (
    SealedObjects,
    SealedRecords,
    read_seal,
    refuse_lost_seal,
)
from schemas.sealed import MergedRecord, SealRecord, snapshot_name
from schemas.store import (
    Block,
    BlockRecord,
    ExperimentPlan,
    RunRecord,
    StoredObject,
    is_whole,
    is_whole_line,
    snapshot_digest,
)


@dataclass(frozen=True)
class Ledger:
    """The committed blocks of a run: what a reader believes, and nothing else.

    Blocks are those of `RunRecord.blocks`. Make one anew to see what was sealed meanwhile.
    """

    folder: Folder
    run: RunRecord

    @cached_property
    def seal(self) -> SealRecord | None:
        """What says that the run is sealed, None if it is not.

        A sealed run has every block, and a record beside the tables means nothing. Raises
        CorruptStore for a seal that is damaged.
        """
        return read_seal(self.folder, self.run)

    @cached_property
    def merged(self) -> dict[Dataset, MergedRecord]:
        """What was made of the objects of small blocks, by Dataset; nothing where they are as written.

        Raises CorruptStore for a record of it that is damaged.
        """
        return read_merged(self.folder, self.seal)

    @property
    def metadata(self) -> dict[str, bytes]:
        """The zarr.json of every merged array, by its key in the Zarr hierarchy.

        They count, and not those that lie there.
        """
        return metadata_of(self.merged.values())

    @cached_property
    def _tables(self) -> dict[Dataset, SealedRecords]:
        """The records of each Dataset of a sealed run; none of one that is not."""
        found: dict[Dataset, SealedRecords] = {}
        if self.seal is None:
            return found
        for model in self.run.models:
            for experiment in self.run.experiments:
                merged = self.merged.get((model, experiment))
                found[model, experiment] = SealedRecords(
                    self.folder, self.run, self.seal, model, experiment, merged
                )
        return found

    def is_done(self, block: Block) -> bool:
        """Say whether the block is committed, as things stand now.

        Its record is not read, so it may be damaged.
        """
        return self.folder.exists(record_key(block)) or self.folder.exists(layout.SEAL)

    def done(self, blocks: Iterable[Block]) -> set[Block]:
        """Give those of the blocks that are committed, by one listing.

        Their records are not read, so one may be damaged.
        """
        if self.seal is not None:
            return set(blocks)
        there = self.folder.sizes("ledger")
        if not there:
            refuse_lost_seal(self.folder)
        return {block for block in blocks if record_key(block) in there}

    def read(self, block: Block) -> BlockRecord | None:
        """Give the record of a block, None if it is not committed.

        Raises CorruptStore for a record that is damaged or of another block, and
        StoreContractError for one that another configuration made.
        """
        if self.seal is not None:
            return self._tables[block.model, block.experiment].of_block(
                block.condition, block.index
            )
        try:
            content = self.folder.read(record_key(block))
        except FileNotFoundError:
            return None
        return self._checked(record_key(block), content)

    def read_all(
        self, blocks: Iterable[Block], committed: Set[Block] | None = None
    ) -> dict[Block, BlockRecord]:
        """Give the records of those of the blocks that are committed.

        `committed` are such blocks, where whoever asks has listed them already; one withdrawn since
        is left out. Raises CorruptStore for a record that is damaged or of another block, and StoreContractError
        for one that another configuration made.
        """
        blocks = list(blocks)
        records = {}
        if self.seal is not None:
            for block in blocks:
                its = self._tables[block.model, block.experiment]
                records[block] = its.of_block(block.condition, block.index)
            return records
        done = self.done(blocks) if committed is None else committed
        keys = {record_key(block): block for block in blocks if block in done}
        for key, content in self.folder.found(keys).items():
            records[keys[key]] = self._checked(key, content)
        return records

    def by_dataset(self) -> dict[Dataset, Sequence[BlockRecord]]:
        """Give every record there is, by model and experiment, in the order of their names.

        Those of a sealed run are read as they are asked for. Raises CorruptStore for a record that
        is damaged or of another block, and StoreContractError for one that another configuration
        made.
        """
        found: dict[Dataset, Sequence[BlockRecord]] = {}
        if self.seal is not None:
            found.update(self._tables)
            return found
        for model in self.run.models:
            for experiment in self.run.experiments:
                under = self.folder.sizes(f"ledger/{layout.group_name(model, experiment)}")
                keys = sorted(key for key in under if key.endswith(".json"))
                records = []
                for key, content in self.folder.found(keys).items():
                    records.append(self._checked(key, content))
                found[model, experiment] = tuple(records)
        if not any(found.values()):
            refuse_lost_seal(self.folder)
        return found

    def _checked(self, key: str, content: bytes) -> BlockRecord:
        """Give a record that is whole, of the block its key names, and of this run."""
        file = f"ledger record '{self.folder}/{key}'"
        try:
            document = json.loads(content)
            record = BlockRecord.model_validate(document)
        except ValidationError as error:
            raise _broken(file, f"it does not follow its schema: {first_problem(error)}") from None
        except ValueError as error:  # no JSON, or not UTF-8
            raise _broken(file, f"it is not valid JSON: {error}") from None
        if not is_whole_line(content) and not is_whole(document):
            raise _broken(file, "its checksum differs")
        if record_key(record) != key:
            raise _broken(file, "it is of another block")
        if record.config_sha256 != self.run.config_sha256:
            raise StoreContractError(
                f"{file} belongs to config {record.config_sha256[:12]}, but the run is "
                f"{self.run.config_sha256[:12]}; two runs were mixed in one directory"
            )
        plan = self.run.experiments[record.experiment]
        inside = 0 <= record.prompt_start < record.prompt_stop <= plan.n_prompts
        if not inside or not 0 <= record.condition < len(plan.conditions):
            raise _broken(file, "it is of prompts or a condition that the run has not")
        return record


def record_key(block: Block | BlockRecord) -> str:
    """Give the key of the ledger record of a block.

    >>> record_key(Block("trio-mim", "factorial", condition=3, index=12, start=0, stop=1))
    'ledger/trio-mim/factorial/c0003-b000012.json'
    """
    index = block.index if isinstance(block, Block) else block.block
    return layout.block_key("ledger", block.model, block.experiment, block.condition, index)


def _broken(file: str, problem: str) -> CorruptStore:
    return CorruptStore(
        f"{file} is broken ({problem}); `ibgenerate verify --repair` drops it, and the next run "
        "makes its block again"
    )


def snapshot(
    records: Iterable[Sequence[BlockRecord]],
    model: str | None = None,
    experiment: str | None = None,
) -> str:
    """Give the digest of the content of Datasets, whose records these are.

    `model` and `experiment` say which, None for all: a seal holds their digests.
    """
    chosen: list[BlockRecord] = []
    for each in records:
        if isinstance(each, SealedRecords):
            return each.seal.snapshots[snapshot_name(model, experiment)]
        chosen.extend(each)
    return snapshot_digest(chosen)


def sizes_of(records: Sequence[BlockRecord]) -> Iterator[tuple[str, int]]:
    """Give key and bytes of every object of the blocks of a Dataset, or of what was made of them."""
    if isinstance(records, SealedRecords):
        yield from records.sizes()
        return
    for record in records:
        for stored in record.objects:
            yield stored.key, stored.bytes


def objects_of(records: Sequence[BlockRecord]) -> Iterator[StoredObject]:
    """Give every object of the blocks of a Dataset, or of what was made of them.

    `records` are those of all its blocks, as `Ledger.by_dataset` gives them.
    """
    if isinstance(records, SealedRecords) and records.merged is not None:
        yield from records.merged.objects
        return
    for record in records:
        yield from record.objects


def complete(plan: ExperimentPlan, records: Iterable[BlockRecord]) -> NDArray[np.bool_]:
    """Give which (condition, prompt) the records of a Dataset hold, in the order of the plan.

    >>> plan = ExperimentPlan(conditions=["a", "b"], n_prompts=2, n_samples=2, block_prompts=1)
    >>> complete(plan, [])
    array([[False, False],
           [False, False]])
    """
    done = np.zeros((len(plan.conditions), plan.n_prompts), dtype=bool)
    if isinstance(records, SealedRecords):  # every block is there
        return ~done
    for record in records:
        done[record.condition, record.prompt_start : record.prompt_stop] = True
    return done


def recorded(where: Folder, model: str, experiment: str) -> Recorded:
    """Give what a run records of the objects of one Dataset; run and ledger are read anew."""
    run = read_run(where)
    ledger = Ledger(where, run)
    records = ledger.by_dataset()[model, experiment]
    run = without_metadata(run, ledger.merged)
    return recorded_of(run, records, layout.group_name(model, experiment))


def recorded_template(where: Folder, run: RunRecord) -> Recorded:
    """Give what a run records of what `create` wrote, and of the metadata of merged arrays.

    Objects of blocks are not among it. Run and seal are those of now.
    """
    return Recorded(by_key(run.template), metadata=Ledger(where, run).metadata)


def recorded_of(run: RunRecord, records: Sequence[BlockRecord] = (), group: str = "") -> Recorded:
    """Give what the template and these blocks record of their objects.

    `group` is the name of the Dataset that the blocks are of.
    """
    if isinstance(records, SealedRecords):
        metadata = {} if records.merged is None else metadata_of([records.merged])
        return Recorded(by_key(run.template), SealedObjects(records, group), metadata=metadata)
    return Recorded(by_key(run.template), by_key(objects_of(records)))
