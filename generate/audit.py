"""Where a store stands, and whether its bytes are what the ledger says they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from generate.errors import StoreError
from generate.store import SampleStore
from generate.study import Block, Plan
from schemas.store import BlockRecord, snapshot_digest


@dataclass(frozen=True)
class Summary:
    """What a call of `run` did, and where the store stands."""

    made: int
    done: int
    failed: int
    elsewhere: int
    total: int
    digest: str


def records(plan: Plan, store: SampleStore) -> Iterator[tuple[Block, BlockRecord]]:
    """Committed blocks with their records."""
    for block in plan.blocks():
        if (record := store.ledger.read(block)) is not None:
            yield block, record


def summary(plan: Plan, store: SampleStore, *, made: int = 0) -> Summary:
    """Where a store stands; the digest is of the content of all committed blocks."""
    done = [record for _, record in records(plan, store)]
    pending = [block for block in plan.blocks() if not store.ledger.is_done(block)]
    return Summary(
        made=made,
        done=len(done),
        failed=sum(store.ledger.failure_path(block).exists() for block in pending),
        elsewhere=sum(store.ledger.claim_path(block).exists() for block in pending),
        total=len(done) + len(pending),
        digest=snapshot_digest(done),
    )


def verify(plan: Plan, store: SampleStore, *, repair: bool = False) -> list[str]:
    """Compare every committed block with what lies on disk; one line a problem.

    With `repair`, blocks with a problem are dropped from the ledger, so that the next run makes them again.
    """
    found = []
    for block in plan.blocks():
        try:
            record = store.ledger.read(block)
            problems = [] if record is None else store.problems(block, record)
        except StoreError as error:
            problems = [str(error)]
        found += problems
        if problems and repair:
            store.withdraw(block)
    if repair:
        store.ledger.sweep()
    return found
