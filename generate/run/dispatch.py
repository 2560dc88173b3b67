"""A study on a Dask cluster: one task a block, as many at a time as there are workers, submitted and watched.

A worker commits what it made by itself, through the ledger, and only a line about it comes back. So a client, a
scheduler or a worker that dies costs the blocks in flight and nothing else. No task waits behind another on a worker,
because Dask blames all tasks of a worker that dies, and a block must not fail for its neighbour's sake.
"""

from __future__ import annotations

import traceback
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generate.errors import GenerateError
from generate.run import run as runner
from generate.run.run import Progress, existing, silent, size
from generate.store.audit import Summary, summary
from generate.store.samples import SampleStore
from generate.study.plan import Block, Plan
from schemas.io.cluster import Cluster, ClusterError, Workforce, loss_told
from schemas.io.folder import FolderError, folder

if TYPE_CHECKING:
    from distributed import Client, Future


@dataclass(frozen=True)
class Worker:
    """What one worker does at the moment."""

    name: str
    block: str
    """What it is making, '' for nothing."""
    images: int
    failed: int


Watch = Callable[[list[Worker]], None]
"""Told about once a second what every worker does."""


def prepare(
    client: Client, plan: Plan, root: Path | str, cluster: Cluster, *, progress: Progress = silent
) -> SampleStore:
    """`run.prepare`, by workers, since that is where a model fits; every model's code usage is counted by its own."""
    from distributed import as_completed

    from generate.run import worker

    where = folder(root if "://" in str(root) else Path(root).absolute())
    if (store := existing(plan, where)) is not None:
        return store

    def submitted(*task: Any) -> Future:
        return client.submit(*task, resources=cluster.resources, pure=False)

    with loss_told():
        if plan.needs_calibration:
            total = len(plan.calibration_prompts) * plan.study.calibration.samples
            counted = {
                submitted(worker.calibrate, plan, str(where), m, cluster.device): m
                for m in plan.models
            }
            for label in plan.models:
                progress(f"{label} calibration", 0, total)
            for future in as_completed(counted):
                future.result()
                progress(f"{counted[future]} calibration", total, total)
        submitted(worker.prepare, plan, str(where), cluster.device).result()
    return SampleStore.open(where)


def run(
    client: Client,
    plan: Plan,
    store: SampleStore,
    cluster: Cluster,
    *,
    progress: Progress = silent,
    watch: Watch = lambda workers: None,
) -> Summary:
    """Make every pending block of a store on the workers of a cluster.

    Blocks that fail, or that kill their worker, are recorded and the rest goes on.
    """
    store.ledger.sweep()
    runner.restore_marks(store, store.ledger.among("ledger", plan.blocks()))
    session = _Session(client, plan, store, cluster, progress)
    try:
        session.work(watch)
    finally:
        session.cancel()
    return summary(plan, store, made=session.made)


class _Session:
    """The blocks that a client has in flight, and what became of those before."""

    def __init__(
        self, client: Client, plan: Plan, store: SampleStore, cluster: Cluster, progress: Progress
    ) -> None:
        self.client, self.plan, self.store, self.cluster, self.progress = (
            client,
            plan,
            store,
            cluster,
            progress,
        )
        self.name = uuid.uuid4().hex
        blocks = list(plan.blocks())
        done = store.ledger.among("ledger", blocks)
        self.todo = deque(block for block in blocks if block not in done)
        self.flying: dict[Future, Block] = {}
        self.made = 0
        self.images, self.failed = Counter[str](), Counter[str]()
        self.total, self.done = Counter[str](), Counter[str]()
        for block in blocks:
            self.total[block.model] += size(block, plan)
            self.done[block.model] += size(block, plan) if block in done else 0
        self.workforce = Workforce(client, cluster)

    def work(self, watch: Watch) -> None:
        """Until every block has ended in one way or another."""
        from distributed import wait

        while self.todo or self.flying:
            with loss_told():
                workers = self.workforce.able()
                self._submit(max(1, len(workers)))
                watch(self._states(workers))
                try:
                    ended = wait(list(self.flying), timeout=1.0, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    continue
                for future in ended:
                    self._finish(future)

    def _submit(self, most: int) -> None:
        from generate.run import worker

        while self.todo and len(self.flying) < most:
            block = self.todo.popleft()
            future = self.client.submit(
                worker.make,
                str(self.store.root),
                self.store.run.run_id,
                block,
                self.cluster.device,
                self.name,
                key=f"{block.model}/{block.experiment}/{block.name}-{self.name}",
                resources=self.cluster.resources,
                pure=False,
            )
            self.flying[future] = block
            self.progress(block.model, self.done[block.model], self.total[block.model])

    def _finish(self, future: Future) -> None:
        """Count one block that ended, and let the scheduler forget it, or it would make it again for a dead worker."""
        from distributed import KilledWorker

        block = self.flying.pop(future)
        worker = ""
        try:
            if future.status == "cancelled":
                future.result()  # raises
            error = future.exception()
            if isinstance(error, GenerateError | FolderError):
                raise error
            if isinstance(error, KilledWorker):
                worker = str(error.last_worker.name)
                error = ClusterError(
                    f"making it killed its worker, {error.allowed_failures + 1} times"
                )
                self.store.ledger.release(block)
            if error is None:
                worker, outcome = future.result()
            else:
                outcome = "failed"
                self.store.ledger.fail(block, error, "".join(traceback.format_exception(error)))
        finally:
            future.release()
        n_images = size(block, self.plan)
        self.made += outcome == "made"
        self.images[worker] += n_images if outcome == "made" else 0
        self.failed[worker] += outcome == "failed"
        self.done[block.model] += n_images
        self.progress(block.model, self.done[block.model], self.total[block.model])

    def _states(self, workers: Mapping[str, Mapping[str, Any]]) -> list[Worker]:
        at = self.client.processing()
        states = []
        for address, worker in workers.items():
            name, keys = (
                str(worker["name"]),
                [key.rpartition("-")[0] for key in at.get(address, ())],
            )
            states.append(
                Worker(name, keys[0] if keys else "", self.images[name], self.failed[name])
            )
        return states

    def cancel(self) -> None:
        """Take back what no worker has begun."""
        if self.flying and self.client.status == "running":
            self.client.cancel(list(self.flying), force=True)
