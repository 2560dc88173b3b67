"""The tables of a sealed ledger: columns of thousands of records, read row by row.

A table has the records of one Dataset in the order of condition, then block, and is complete. So
the row of a block follows from the plan, and a table is read, and checked, once a record of it is
asked for. What many records share (software, hardware, names of objects) stands in it once.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from schemas.errors import CorruptStore, StoreContractError, StoreError
from schemas.io import layout
from schemas.io.arrays import Array, UnreadableArrays, read_arrays
from schemas.io.checked import by_key, damaged_template, mismatch, read_or_none
from schemas.io.folder import Folder
from schemas.io.rows import Rows
from schemas.sealed import LedgerPiece, MergedPiece, MergedRecord, SealRecord
from schemas.store import BlockRecord, ExperimentPlan, RunRecord, StoredObject, is_whole, seal

PIECE = 4096
"""Records of a table: 2 MB of them with 4 objects each."""
NUMBERS = ("condition", "block", "prompt_start", "prompt_stop")
TEXTS = ("attempt", "started", "finished")
SHARED = ("schema_version", "run_id", "config_sha256", "software", "hardware")
"""Fields that most records of a table have in common."""
PLACE = re.compile(r"(?P<variable>.+)/c\.(?P<condition>\d+)\.(?P<block>\d+)(?P<rest>(\..*)?)")
"""Key of an object of a block, relative to the Zarr hierarchy."""
RESTORE = "restore it from a copy"


def encoded(records: Sequence[BlockRecord]) -> bytes:
    """Give the table of records of one Dataset, as .npz; equal records give equal bytes.

    Raises StoreError for a record that names an object which is not of its block.
    """
    makers, layouts = _Distinct(), _Distinct()
    stages = sorted({stage for record in records for stage in record.seconds})
    digests, content, objects = [], [], []
    for record in records:
        makers.add(record.model_dump(mode="json", include=set(SHARED)))
        layouts.add([_name(record, stored.key) for stored in record.objects])
        digests.append(record.sha256 or seal(record.model_dump(mode="json")))
        content += record.content_sha256
        objects += record.objects
    columns: dict[str, Array] = {
        "maker": np.array(makers.numbers),
        "layout": np.array(layouts.numbers),
        "sha256": _as_bytes(digests),
        "n_content": np.array([len(record.content_sha256) for record in records]),
        "content_sha256": _as_bytes(content),
        "object_bytes": np.array([stored.bytes for stored in objects]),
        "object_sha256": _as_bytes([stored.sha256 for stored in objects]),
    }
    for name in NUMBERS:
        columns[name] = np.array([getattr(record, name) for record in records])
    for name in TEXTS:
        columns[name] = np.array([getattr(record, name).encode() for record in records])
    columns["seconds"] = np.array([_seconds(record, stages) for record in records])
    told = {"makers": makers.values, "layouts": layouts.values, "stages": stages}
    shared = json.dumps(told).encode()
    columns["shared"] = np.frombuffer(shared, dtype=np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **columns)  # type: ignore[arg-type]
    return stream.getvalue()


class _Distinct:
    """Values that differ, and the number of one for each that was added."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.numbers: list[int] = []
        self._known: dict[str, int] = {}

    def add(self, value: Any) -> None:
        text = json.dumps(value, sort_keys=True)
        if text not in self._known:
            self._known[text] = len(self.values)
            self.values.append(value)
        self.numbers.append(self._known[text])


def _seconds(record: BlockRecord, stages: Sequence[str]) -> list[float]:
    """Seconds of each stage, NaN where the record does not say."""
    return [record.seconds.get(stage, np.nan) for stage in stages]


def _name(record: BlockRecord, key: str) -> list[str]:
    """Variable and rest of the key of an object: what does not follow from the block."""
    found = PLACE.fullmatch(key.removeprefix(f"{record.model}/{record.experiment}/"))
    expected = (str(record.condition), str(record.block))
    if found is None or found.group("condition", "block") != expected:
        raise StoreError(f"object '{key}' is not of the block whose record names it")
    return [found["variable"], found["rest"]]


def _as_bytes(digests: Sequence[str]) -> NDArray[np.uint8]:
    """Digests of 64 hex digits as (digest, 32)."""
    try:
        return np.frombuffer(bytes.fromhex("".join(digests)), dtype=np.uint8).reshape(-1, 32)
    except ValueError:
        raise StoreError("a record holds what is no sha256, so it cannot be sealed") from None


@dataclass(frozen=True)
class Table:
    """The records of one piece of a sealed ledger; `row` counts from its first."""

    piece: LedgerPiece
    columns: Mapping[str, Array]
    makers: Sequence[Mapping[str, Any]]
    layouts: Sequence[Sequence[tuple[str, str]]]
    stages: Sequence[str]
    first_object: NDArray[np.int64]
    """Place of the first object of each row, and of the end."""
    first_content: NDArray[np.int64]

    def record(self, row: int) -> BlockRecord:
        """Give the record of a row, as it was before it was sealed."""
        fields: dict[str, Any] = dict(self.makers[self.columns["maker"][row]])
        for name in NUMBERS:
            fields[name] = int(self.columns[name][row])
        for name in TEXTS:
            fields[name] = bytes(self.columns[name][row]).decode()
        content = self.columns["content_sha256"]
        digests = content[self.first_content[row] : self.first_content[row + 1]]
        fields["content_sha256"] = [bytes(digest).hex() for digest in digests]
        fields["sha256"] = bytes(self.columns["sha256"][row]).hex()
        fields["seconds"] = {}
        for stage, seconds in zip(self.stages, self.columns["seconds"][row], strict=True):
            if not np.isnan(seconds):
                fields["seconds"][stage] = float(seconds)
        return BlockRecord(
            model=self.piece.model,
            experiment=self.piece.experiment,
            objects=self.objects(row),
            **fields,
        )

    def objects(self, row: int) -> list[StoredObject]:
        """Give the objects of the block of a row."""
        digests, found = self.columns["object_sha256"], []
        for place, (key, size) in enumerate(self.sizes(row), start=int(self.first_object[row])):
            sha256 = bytes(digests[place]).hex()
            found.append(StoredObject(key=key, bytes=size, sha256=sha256))
        return found

    def sizes(self, row: int) -> Iterator[tuple[str, int]]:
        """Give key and bytes of each object of the block of a row."""
        group = layout.group_name(self.piece.model, self.piece.experiment)
        block = f"c.{self.columns['condition'][row]}.{self.columns['block'][row]}"
        names = self.layouts[self.columns["layout"][row]]
        sizes = self.columns["object_bytes"]
        for place, (variable, rest) in enumerate(names, start=int(self.first_object[row])):
            yield f"{group}/{variable}/{block}{rest}", int(sizes[place])


def decoded(content: bytes, piece: LedgerPiece, plan: ExperimentPlan, run: RunRecord) -> Table:
    """Give the table of a piece.

    Raises ValueError for one that does not hold the records of the plan's blocks.
    """
    columns = read_arrays(Path(piece.key), content=content)
    shared = json.loads(columns.pop("shared").tobytes())
    layouts = [[(name, rest) for name, rest in each] for each in shared["layouts"]]
    lengths = np.array([len(each) for each in layouts])
    first_object = np.concatenate([[0], np.cumsum(lengths[columns["layout"]])])
    first_content = np.concatenate([[0], np.cumsum(columns["n_content"])])
    stages = shared.get("stages", [])
    n_records = piece.stop - piece.start
    columns.setdefault("seconds", np.empty((n_records, 0)))  # of before 1.4
    _check(columns, piece, plan)
    if columns["seconds"].shape != (n_records, len(stages)):
        raise ValueError("it lacks seconds of its stages")
    for maker in shared["makers"]:
        if maker["config_sha256"] != run.config_sha256:
            raise ValueError("it holds records of another run")
    for name, n in (("object", first_object[-1]), ("content", first_content[-1])):
        if columns[f"{name}_sha256"].shape != (n, 32):
            raise ValueError(f"it lacks digests of its {name}s")
    if columns["object_bytes"].shape != (first_object[-1],):
        raise ValueError("it lacks lengths of its objects")
    return Table(piece, columns, shared["makers"], layouts, stages, first_object, first_content)


def _check(columns: Mapping[str, Array], piece: LedgerPiece, plan: ExperimentPlan) -> None:
    """Refuse rows that are not the blocks `[start, stop)` of the plan, in its order."""
    condition, block = np.divmod(np.arange(piece.start, piece.stop), plan.n_blocks)
    start = block * plan.block_prompts
    stop = np.minimum(start + plan.block_prompts, plan.n_prompts)
    for name, expected in zip(NUMBERS, (condition, block, start, stop), strict=True):
        if not np.array_equal(columns[name], expected):
            raise ValueError(f"its {name} is not that of the run's blocks")
    if not np.array_equal(columns["n_content"], stop - start):
        raise ValueError("it lacks digests of prompts")
    for name in ("maker", "layout", "sha256", *TEXTS):
        if len(columns[name]) != len(block):
            raise ValueError(f"its {name} has not a row a block")


class SealedRecords(Rows[BlockRecord]):
    """The records of one Dataset of a sealed run, in the order of condition, then block.

    A table is read when one of its records is asked for, and only the last is held. One that is
    missing, or not as it was recorded, raises CorruptStore, which names the file.
    """

    def __init__(
        self,
        where: Folder,
        run: RunRecord,
        sealed: SealRecord,
        model: str,
        experiment: str,
        merged: MergedRecord | None = None,
    ) -> None:
        self.seal = sealed
        """What says that the run is sealed."""
        self.merged = merged
        """What was made of the objects that the records name; None where they are as they were."""
        self._folder, self._run = where, run
        self._plan = run.experiments[experiment]
        self._n_blocks = self._plan.n_blocks
        self._pieces = []
        for piece in sealed.pieces:
            if (piece.model, piece.experiment) == (model, experiment):
                self._pieces.append(piece)
        _refuse_gaps(f"{where}/{layout.SEAL}", self._pieces, len(self))
        self._held: tuple[LedgerPiece, Table] | None = None

    @override
    def __len__(self) -> int:
        return len(self._plan.conditions) * self._n_blocks

    @override
    def row(self, number: int) -> BlockRecord:
        table = self._table(number)
        return table.record(number - table.piece.start)

    def of_block(self, condition: int, block: int) -> BlockRecord:
        """Give the record of a block, by its condition and its number among those of that."""
        return self[condition * self._n_blocks + block]

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Give key and bytes of every object of the Dataset's blocks, or of what was made of them.

        Records are not made for it, so it takes a tenth of the time.
        """
        if self.merged is not None:
            yield from ((stored.key, stored.bytes) for stored in self.merged.objects)
        else:
            yield from self.block_sizes()

    def block_sizes(self) -> Iterator[tuple[str, int]]:
        """Give key and bytes of every object of the Dataset's blocks, merged or not."""
        for piece in self._pieces:
            table = self._table(piece.start)
            for row in range(piece.stop - piece.start):
                yield from table.sizes(row)

    def objects(self, condition: int, block: int) -> list[StoredObject]:
        """Give the objects of a block; none of a block that the run has not."""
        row = condition * self._n_blocks + block
        if block >= self._n_blocks or row >= len(self):
            return []
        table = self._table(row)
        return table.objects(row - table.piece.start)

    def _table(self, row: int) -> Table:
        """The table that holds a row."""
        held = self._held  # one look, for threads share it
        if held is not None and held[0].start <= row < held[0].stop:
            return held[1]
        piece = self._pieces[row // self._pieces[0].stop]
        table = read_table(self._folder, self._run, piece)
        self._held = (piece, table)
        return table


def _refuse_gaps(file: str, pieces: Sequence[LedgerPiece], n_records: int) -> None:
    """Refuse tables that are not equally long, leave out a record or hold one twice."""
    ends = [0, *(piece.stop for piece in pieces)]
    follow = all(piece.start == before for piece, before in zip(pieces, ends, strict=False))
    lengths = [after - before for before, after in pairwise(ends)]
    even = all(length == lengths[0] for length in lengths[:-1])
    fits = bool(lengths) and 0 < lengths[-1] <= lengths[0]
    if not (follow and even and fits and ends[-1] == n_records):
        raise damaged_template(file, f"its tables are not those of {n_records} blocks", RESTORE)


def read_table(where: Folder, run: RunRecord, piece: LedgerPiece) -> Table:
    """Read one table of a sealed ledger.

    Raises CorruptStore for one that is missing, altered or not of this run.
    """
    file = f"{where}/{piece.key}"
    content = read_or_none(where, piece.key)
    problem = mismatch(piece, content)
    if problem is not None or content is None:
        raise damaged_template(file, problem or "missing", RESTORE)
    try:
        return decoded(content, piece, run.experiments[piece.experiment], run)
    except (UnreadableArrays, ValueError, KeyError, TypeError, IndexError) as error:
        raise damaged_template(file, " ".join(str(error).split()), RESTORE) from None


class SealedObjects(Mapping[str, StoredObject]):
    """The objects of a sealed Dataset's blocks, by key; each is looked up when it is asked for.

    Where they were merged, those of the blocks are still known, and found to be missing: whoever
    opened the run before is not given fill values for them.
    """

    def __init__(self, records: SealedRecords, group: str) -> None:
        self._records = records
        self._group = group
        self._merged = {} if records.merged is None else by_key(records.merged.objects)

    @override
    def __getitem__(self, key: str) -> StoredObject:
        if key in self._merged:
            return self._merged[key]
        found = PLACE.fullmatch(key)
        if found is not None and key.startswith(f"{self._group}/"):
            block = int(found["condition"]), int(found["block"])
            for stored in self._records.objects(*block):
                if stored.key == key:
                    return stored
        raise KeyError(key)

    @override
    def __iter__(self) -> Iterator[str]:
        for key, _ in self._records.sizes():
            yield key

    @override
    def __len__(self) -> int:
        return sum(1 for _ in self._records.sizes())


def read_seal(where: Folder, run: RunRecord) -> SealRecord | None:
    """Read `seal.json`; None for a run that is not sealed.

    Raises CorruptStore for one that is damaged, and StoreContractError for that of another run.
    """
    content = read_or_none(where, layout.SEAL)
    if content is None:
        return None
    file = f"{where}/{layout.SEAL}"
    try:
        document = json.loads(content)
        found = SealRecord.model_validate(document)
    except ValueError as error:
        said = " ".join(str(error).split())[:100]
        raise damaged_template(file, said, RESTORE) from None
    if not found.sha256 or not is_whole(document):
        raise damaged_template(file, "its checksum differs", RESTORE)
    if (found.run_id, found.config_sha256) != (run.run_id, run.config_sha256):
        raise StoreContractError(
            f"'{file}' is of another run; two runs were mixed in one directory"
        )
    return found


def seal_problems(where: Folder, found: SealRecord) -> dict[str, str | None]:
    """Give what is wrong with each file that a seal names, by its key.

    None where nothing is; each is read whole.
    """
    problems = {}
    pieces: list[LedgerPiece | MergedPiece] = [*found.pieces, *found.merged]
    for piece in pieces:
        problems[piece.key] = mismatch(piece, read_or_none(where, piece.key))
    return problems


def refuse_lost_seal(where: Folder) -> None:
    """Raise CorruptStore where there are tables of a sealed ledger, and no `seal.json`.

    For a ledger without a record: else the run would look as if nothing of it had been made.
    """
    if where.sizes(layout.SEALED):
        raise CorruptStore(
            f"'{where}/{layout.SEAL}' is missing, which names the tables that the records of the "
            f"blocks are in; {RESTORE}"
        )
