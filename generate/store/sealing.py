"""Seal the ledger of a finished run, and open it again; both can be killed at any moment.

The tables come first, then `seal.json`, created exclusively: from then on they are the ledger. Only
then the records go. To open it again, the records come back first, then `seal.json` goes, then the
tables. So at every moment one of the two ledgers is whole, and says so.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from generate.errors import StoreError
from generate.store import merging
from generate.store.room import bytes_on_disk, refuse_too_small, room_in
from generate.store.samples import SampleStore
from schemas.io import layout
from schemas.io.checked import as_stored
from schemas.io.folder import Folder
from schemas.io.ledger import Ledger, record_key
from schemas.io.sealed import PIECE, SealedRecords, encoded, read_table, seal_problems
from schemas.provenance import now
from schemas.sealed import LedgerPiece, MergedRecord, SealRecord, snapshot_name
from schemas.store import Block, BlockRecord, blocks_of, sealed, sealed_line, snapshot_lines

HELD = "seal"
"""What a process claims that seals or opens a ledger."""

Tell = Callable[[int], None]
"""Told the number of records after each table."""


def quiet(n: int) -> None:
    """Tell nobody how far the work is.

    `n` are the records of the table at hand.
    """


def seal(
    store: SampleStore, *, piece: int = PIECE, merge: bool = False, tell: Tell = quiet
) -> SealRecord:
    """Put the records of a finished run into tables, `piece` of them each, and remove them.

    With `merge`, the objects of neighbouring small blocks are made into large ones, too. A sealed
    or merged run stays as it is; what a killed call left is finished. Raises StoreError where
    blocks are missing, where another process is at it, and for records, objects or tables that are
    damaged; DiskFullError where there is no room to merge, before anything is written.
    """
    with _held(store):
        if merge:
            _refuse_no_room_to_merge(store)
        if store.ledger.seal is None:
            _refuse_unfinished(store)
            record = _tables(store, piece, tell)
            with contextlib.suppress(FileExistsError):
                store.folder.create(layout.SEAL, sealed(record))
        found = _whole_seal(store)
        _remove_records(store, found)
        if merge and not found.merged:
            found = _merged(store, found, tell)
        ledger = store.ledger
        merging.switch(store, found, ledger.merged)
        _sweep(store, ledger)
        return found


@contextlib.contextmanager
def _held(store: SampleStore) -> Iterator[None]:
    """Hold the ledger of a run; what its disk refuses meanwhile is one line."""
    with room_in(store.folder, 0), store.claims.making(HELD, f"the ledger of {store.folder}"):
        yield


def _refuse_no_room_to_merge(store: SampleStore) -> None:
    """Refuse to merge what is not merged yet where both kinds of objects have no room."""
    seal = store.ledger.seal
    if seal is not None and seal.merged:
        return
    needed = merging.bytes_to_merge(store)
    if seal is None:  # its tables take less than the records
        needed += sum(store.folder.sizes("ledger").values())
    refuse_too_small(store.folder, needed, "merging needs about", "free some, or do not merge")


def _refuse_no_room_to_open(store: SampleStore, ledger: Ledger) -> None:
    """Refuse to put records, and objects of merged blocks, where they have no room."""
    there, needed = store.folder.sizes("ledger"), 0
    for name, records in ledger.by_dataset().items():
        merged = ledger.merged.get(name)
        if merged is not None and isinstance(records, SealedRecords):
            needed += merging.bytes_to_split(store, records, merged)
        n_there = sum(key.startswith(f"ledger/{layout.group_name(*name)}/") for key in there)
        each = bytes_on_disk([len(sealed_line(records[0]))])
        needed += each * (len(records) - n_there)
    refuse_too_small(store.folder, needed, "opening the run needs about", "free some")


def _merged(store: SampleStore, found: SealRecord, tell: Tell) -> SealRecord:
    """Give the seal that names the merged objects of a sealed run, once it is in its place."""
    pieces = merging.merge(store, tell)
    store.refuse_opened(found)
    if pieces:
        store.folder.replace(layout.SEAL, sealed(found.model_copy(update={"merged": pieces})))
    return _whole_seal(store)


def unseal(store: SampleStore, *, tell: Tell = quiet) -> int:
    """Give a sealed run its records back, a file a block, and say how many there are.

    A run that is not sealed stays as it is; what a killed call left is finished. Raises StoreError
    where another process is at it, and for tables that are damaged; DiskFullError where there is no
    room for records and objects, before anything is written.
    """
    with _held(store):
        ledger = store.ledger
        n_records = 0
        if ledger.seal is not None:
            _whole_seal(store)
            _refuse_no_room_to_open(store, ledger)
            for name, records in ledger.by_dataset().items():
                for record in _as_stored(store, records, ledger.merged.get(name)):
                    store.folder.ensure(record_key(record), sealed_line(record))
                n_records += len(records)
                tell(len(records))
            _refuse_lacking(store)
            store.folder.discard([layout.SEAL])
        _sweep(store, store.ledger)
        return n_records


def _as_stored(
    store: SampleStore, records: Sequence[BlockRecord], merged: MergedRecord | None
) -> Iterable[BlockRecord]:
    """The records of a Dataset, each once the objects that it names are there."""
    if merged is None or not isinstance(records, SealedRecords):
        return records
    return merging.split(store, records, merged)


def _refuse_unfinished(store: SampleStore) -> None:
    """Refuse a run of which blocks are missing: what is sealed can take no more."""
    blocks = list(store.run.blocks())
    lacking = len(blocks) - len(store.ledger.done(blocks))
    if lacking:
        raise StoreError(
            f"'{store.folder}' lacks {lacking} of {len(blocks)} blocks, and only a finished run is "
            "sealed: finish it with `ibgenerate run`."
        )


def _tables(store: SampleStore, piece: int, tell: Tell) -> SealRecord:
    """Write every table, and give the record that names them."""
    ledger, pieces, snapshots = store.ledger, [], Snapshots()
    for model, experiment in sorted(_datasets(store), key=lambda name: layout.group_name(*name)):
        blocks = list(blocks_of(model, experiment, store.run.experiments[experiment]))
        blocks.sort(key=lambda block: (block.condition, block.index))
        lines: list[str] = []
        for start in range(0, len(blocks), piece):
            part = blocks[start : start + piece]
            made, its_lines = _table(store, ledger, part, start)
            pieces.append(made)
            lines += its_lines
            tell(len(part))
        snapshots.add(model, experiment, lines)
    return SealRecord(
        run_id=store.run.run_id,
        config_sha256=store.run.config_sha256,
        sealed=now(),
        pieces=pieces,
        snapshots=snapshots.digests(),
    )


def _datasets(store: SampleStore) -> Iterator[tuple[str, str]]:
    for model in store.run.models:
        for experiment in store.run.experiments:
            yield model, experiment


def _table(
    store: SampleStore, ledger: Ledger, blocks: list[Block], start: int
) -> tuple[LedgerPiece, list[str]]:
    """Put the records of some blocks into a table; its record, and the lines of their content."""
    found = []
    for block in blocks:
        record = ledger.read(block)
        if record is None:
            raise StoreError(f"block {block.name} of '{store.folder}' was withdrawn meanwhile.")
        found.append(record)
    made = write_table(store.folder, found, start)
    table = read_table(store.folder, store.run, made)
    for row, record in enumerate(found):
        again = table.record(row)
        if again != record.model_copy(update={"sha256": again.sha256}):
            raise StoreError(f"the record of block {blocks[row].name} cannot be put into a table.")
    return made, snapshot_lines(found)


def write_table(where: Folder, records: Sequence[BlockRecord], start: int) -> LedgerPiece:
    """Write records of one Dataset as a table, the first of which is number `start` of them.

    They are in the order of condition, then block. Gives the record of the table, as read back.
    """
    content = encoded(records)
    model, experiment = records[0].model, records[0].experiment
    key = layout.sealed_key(model, experiment, start, as_stored("", content).sha256)
    where.ensure(key, content)
    stored = as_stored(key, where.read(key)).model_dump()
    stop = start + len(records)
    return LedgerPiece(model=model, experiment=experiment, start=start, stop=stop, **stored)


class Snapshots:
    """Digests of the content of a run, of its models and of its experiments.

    Datasets come in the order of their names, so that their sorted lines follow each other as those
    of the whole run do.
    """

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def add(self, model: str, experiment: str, lines: Iterable[str]) -> None:
        """Count in the lines of a Dataset."""
        content = "".join(sorted(lines)).encode()
        for name in (
            snapshot_name(None, None),
            snapshot_name(model, None),
            snapshot_name(None, experiment),
            snapshot_name(model, experiment),
        ):
            self._known.setdefault(name, hashlib.sha256()).update(content)

    def digests(self) -> dict[str, str]:
        """Give all of them, by name."""
        return {name: found.hexdigest() for name, found in sorted(self._known.items())}


def _whole_seal(store: SampleStore) -> SealRecord:
    """The seal of a run, all of whose tables are as they were written."""
    found = store.ledger.seal
    if found is None:
        raise StoreError(
            f"'{store.folder}' was opened again meanwhile; run the same command again."
        )
    for key, problem in seal_problems(store.folder, found).items():
        if problem is not None:
            raise StoreError(
                f"'{store.folder}/{key}' is damaged ({problem}); restore it from a copy: the "
                "records of its blocks are nowhere else."
            )
    return found


def _record_keys(store: SampleStore) -> set[str]:
    """Keys of the records that there would be of an open ledger."""
    return {record_key(block) for block in store.run.blocks()}


def _remove_records(store: SampleStore, found: SealRecord) -> None:
    """Remove the records of a sealed run, as long as it is sealed."""
    there = store.folder.sizes("ledger")
    keys = sorted(key for key in _record_keys(store) if key in there)
    store.discard_sealed(found, keys)


def _refuse_lacking(store: SampleStore) -> None:
    """Refuse to go on where records are not there that were just written."""
    lacking = _record_keys(store) - store.folder.sizes("ledger").keys()
    if lacking:
        raise StoreError(f"{len(lacking)} records vanished meanwhile; run the same command again.")


def _sweep(store: SampleStore, ledger: Ledger) -> None:
    """Remove tables and merged objects that no seal names: a killed call left them."""
    seal = ledger.seal
    kept = {piece.key for piece in (*seal.pieces, *seal.merged)} if seal else set()
    there = store.folder.sizes(layout.SEALED)
    store.folder.discard(sorted(there.keys() - kept))
    merging.sweep(store, ledger.merged)
