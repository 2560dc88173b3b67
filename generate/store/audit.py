"""Where a store stands, and whether its bytes are what the ledger says they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from generate.errors import StoreError
from generate.store.samples import SampleStore
from generate.study.planning import Plan
from schemas.io.layout import DATA, data_key
from schemas.io.ledger import Ledger, sizes_of, snapshot
from schemas.io.merged import stored_metadata
from schemas.io.rescored import rescorings
from schemas.io.sealed import seal_problems
from schemas.store import Block


@dataclass(frozen=True)
class Summary:
    """What a call of `run` did, and where the store stands.

    Blocks that are neither done, failed nor made elsewhere are still to be made.
    """

    made: int
    """Blocks that the call made."""
    done: int
    """Blocks that are committed."""
    failed: int
    """Blocks that could not be made, so far."""
    elsewhere: int
    """Blocks that another process works on."""
    total: int
    digest: str
    """Digest of the content of all committed blocks."""
    first_error: str = ""
    """Why the first of the blocks that failed did; empty if none failed."""
    changed: tuple[str, ...] = ()
    """Objects of committed blocks that are gone, or of another size than was written, by key."""
    sealed: bool = False
    """Whether the run is finished and its ledger sealed."""


def summary(of: Plan | Sequence[Block], store: SampleStore, *, made: int = 0) -> Summary:
    """Say where a store stands; `made` are the blocks that the call at hand made.

    `of` is the plan, or some of its blocks, of which alone it then speaks. Raises StoreError for a
    ledger record that cannot be believed.
    """
    blocks = list(of.blocks()) if isinstance(of, Plan) else of
    ledger = store.ledger
    if ledger.seal is not None:
        return _of_sealed(blocks, store, ledger)
    done = ledger.read_all(blocks)
    pending = [block for block in blocks if block not in done]
    failed = store.claims.failed_among(pending)
    first_error = ""
    for block in pending:
        if block in failed:
            first_error = store.claims.why_failed(block)
            break
    return Summary(
        made=made,
        done=len(done),
        failed=len(failed),
        elsewhere=len(store.claims.claimed_among(pending)),
        total=len(blocks),
        digest=snapshot([list(done.values())]),
        first_error=first_error,
        changed=_changed(store, sizes_of(list(done.values()))),
    )


def _of_sealed(blocks: Sequence[Block], store: SampleStore, ledger: Ledger) -> Summary:
    """Where a sealed run stands: every block is there."""
    everything = ledger.by_dataset()
    if len(blocks) == sum(len(records) for records in everything.values()):
        digest = snapshot(everything.values())
        stored = chain.from_iterable(map(sizes_of, everything.values()))
    else:
        digest = snapshot([list(ledger.read_all(blocks).values())])
        names = {(block.model, block.experiment) for block in blocks}
        stored = chain.from_iterable(sizes_of(everything[name]) for name in names)
    return Summary(
        made=0,
        done=len(blocks),
        failed=0,
        elsewhere=0,
        total=len(blocks),
        digest=digest,
        changed=_changed(store, stored),
        sealed=True,
    )


def _changed(store: SampleStore, stored: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    """Which of some objects are gone or have another size than recorded, by one listing.

    `stored` are key and bytes of each. Images count where there are any: a run may be copied
    without them.
    """
    sizes = store.folder.sizes(DATA)
    found = []
    for key, n_bytes in stored:
        array = key.rpartition("/")[0]
        if array.endswith("/image") and data_key(f"{array}/zarr.json") not in sizes:
            continue
        if sizes.get(data_key(key)) != n_bytes:
            found.append(key)
    return tuple(found)


def verify(plan: Plan, store: SampleStore, *, repair: bool = False) -> list[str]:
    """Compare every committed block, and what was rescored, with what is stored: one line a problem.

    With `repair`, blocks with a problem are dropped from the ledger, so that the next run makes
    them again, and so are scored pieces. Raises StoreError if such a block is of a sealed run.
    """
    found = []
    ledger = store.ledger
    if ledger.seal is not None and any(seal_problems(store.folder, ledger.seal).values()):
        return []  # without its records no block can be looked at, and none can be made again
    for merged in ledger.merged.values():
        found += store.problems([*stored_metadata(merged), *merged.objects])
    if found and repair:
        store.refuse_sealed()
    for block in plan.blocks():
        if (block.model, block.experiment) in ledger.merged:
            continue
        try:
            record = ledger.read(block)
            problems = [] if record is None else store.problems(record.objects)
        except StoreError as error:
            problems = [str(error)]
        found += problems
        if problems and repair:
            store.withdraw(block)
    for stored in rescorings(store.folder):
        for line, piece in list(stored.problems()):
            found.append(line)
            if repair:
                stored.withdraw(piece)
    if repair:
        store.claims.sweep()
    return found
