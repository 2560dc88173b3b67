"""What has become of a run's blocks: done, running, failed or missing."""

from __future__ import annotations

from dataclasses import dataclass

from generate.store.samples import SampleStore
from generate.study.planning import Plan
from schemas.store import Block


@dataclass(frozen=True)
class Tally:
    """Numbers of blocks of one model and experiment, by what has become of them.

    Each block counts once.
    """

    model: str
    experiment: str
    done: int
    running: int
    failed: int
    missing: int


@dataclass(frozen=True)
class Status:
    """Every block of a run, in one of four states.

    `done` are committed, `running` claimed by a process, `failed` recorded as such and not tried
    again since, `missing` are all others.
    """

    done: set[Block]
    running: set[Block]
    failed: set[Block]
    missing: set[Block]

    def tally(self, model: str, experiment: str) -> Tally:
        """Numbers of blocks of a model and experiment by state.

        `model` is the label in the store. All are zero for a pair that the run does not have.
        """
        counts = []
        for blocks in (self.done, self.running, self.failed, self.missing):
            ours = [b for b in blocks if (b.model, b.experiment) == (model, experiment)]
            counts.append(len(ours))
        return Tally(model, experiment, *counts)


def status(plan: Plan, store: SampleStore) -> Status:
    """What has become of the blocks of a plan in its store.

    A block that is being made counts as running, whatever happened to an attempt before; one that
    is committed counts as done, whoever else may be at it.
    """
    blocks = set(plan.blocks())
    done = store.ledger.done(blocks)
    running = store.claims.claimed_among(blocks) - done
    failed = store.claims.failed_among(blocks) - done - running
    return Status(done, running, failed, blocks - done - running - failed)
