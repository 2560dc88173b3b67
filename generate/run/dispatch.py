"""A study on a Dask cluster: one task a block, as many at a time as there are workers.

A worker commits what it made by itself, through the ledger, and only a line about it comes back. So
a client, a scheduler or a worker that dies costs the blocks in flight and nothing else. No task
waits behind another on a worker, because Dask blames all tasks of a worker that dies, and a block
must not fail for its neighbour's sake.
"""

from __future__ import annotations

import traceback
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generate.errors import GenerateError
from generate.run import blocks, worker
from generate.run.display import Worker
from generate.run.preparing import existing
from generate.run.progress import Progress, Tell, quiet, silent
from generate.store.audit import Summary, summary
from generate.store.samples import SampleStore
from generate.study.planning import Plan, size
from schemas.io.cluster import Cluster, ClusterError, Workforce, loss_told
from schemas.io.folder import Folder, folder
from schemas.io.refused import FolderError
from schemas.store import Block

if TYPE_CHECKING:
    from distributed import Client, Future

Watch = Callable[[list[Worker]], None]
"""Told about once a second what every worker does."""

PATIENCE = 1.0
"""Seconds between two looks at the workers."""


def prepare(
    client: Client, plan: Plan, root: Path | str, cluster: Cluster, *, progress: Progress = silent
) -> SampleStore:
    """The store of a plan in a folder or under a URL, laid out by workers where there is none.

    A model fits on a worker, perhaps not here; so the code usage of every model is counted by a
    worker of its own. Raises what `preparing.prepare` raises, and `ClusterError` if the cluster is
    lost.
    """
    where = _shared(root)
    store = existing(plan, where)
    if store is not None:
        return store
    with loss_told():
        if plan.needs_calibration:
            _calibrate(client, plan, where, cluster, progress)
        _submitted(client, cluster, worker.prepare, plan, str(where), cluster.device).result()
    return SampleStore.open(where)


def _shared(root: Path | str) -> Folder:
    """The place of a run by a path that does not depend on a process's working directory."""
    if "://" in str(root):
        return folder(root)
    return folder(Path(root).absolute())


def _calibrate(
    client: Client, plan: Plan, where: Folder, cluster: Cluster, progress: Progress
) -> None:
    """Count the code usage of all models at once, one a worker."""
    from distributed import as_completed

    total = plan.n_calibration
    counted = {}
    for label in plan.models:
        task = (worker.calibrate, plan, str(where), label, cluster.device)
        counted[_submitted(client, cluster, *task)] = label
        progress(f"{label} calibration", 0, total)
    for future in as_completed(counted):
        future.result()
        progress(f"{counted[future]} calibration", total, total)


def _submitted(client: Client, cluster: Cluster, *task: Any, **settings: Any) -> Future:
    return client.submit(*task, resources=cluster.resources, pure=False, **settings)


def run(
    client: Client,
    plan: Plan,
    store: SampleStore,
    cluster: Cluster,
    *,
    progress: Progress = silent,
    watch: Watch = lambda workers: None,
    tell: Tell = quiet,
) -> Summary:
    """Make every pending block of a store on the workers of a cluster.

    Blocks that fail, or that kill their worker, are recorded and the rest goes on. Raises
    `ClusterError` if the cluster is lost, and errors that no later block could escape.
    """
    store.claims.sweep()
    blocks.restore_marks(store, store.ledger.done(plan.blocks()))
    session = _Session(client, plan, store, cluster, progress, tell)
    try:
        session.work(watch)
    finally:
        session.cancel()
    return summary(plan, store, made=session.made)


class _Session:
    """The blocks that a client has in flight, and what became of those before."""

    def __init__(
        self,
        client: Client,
        plan: Plan,
        store: SampleStore,
        cluster: Cluster,
        progress: Progress,
        tell: Tell,
    ) -> None:
        self.client = client
        self.plan = plan
        self.store = store
        self.cluster = cluster
        self.progress = progress
        self.tell = tell
        self.told: set[str] = set()
        self.name = uuid.uuid4().hex
        self.todo: deque[Block] = deque()
        self.flying: dict[Future, Block] = {}
        self.made = 0
        self.images, self.failed = Counter[str](), Counter[str]()
        self.total, self.done = Counter[str](), Counter[str]()
        everything = list(plan.blocks())
        committed = store.ledger.done(everything)
        for block in everything:
            self.total[block.model] += size(block, plan)
            if block in committed:
                self.done[block.model] += size(block, plan)
            else:
                self.todo.append(block)
        self.workforce = Workforce(client, cluster)

    def work(self, watch: Watch) -> None:
        """Submit blocks and take what comes back, until every block has ended in one way or another.

        `watch` is told what the workers do. Raises what no later block could escape.
        """
        from distributed import wait

        while self.todo or self.flying:
            with loss_told():
                workers = self.workforce.able()
                self._submit(max(1, len(workers)))
                watch(self._states(workers))
                flying = list(self.flying)
                try:
                    ended = wait(flying, timeout=PATIENCE, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    continue
                for future in ended:
                    self._finish(future)

    def _submit(self, most: int) -> None:
        """Have `most` blocks in flight, as long as there are any to do."""
        while self.todo and len(self.flying) < most:
            block = self.todo.popleft()
            future = _submitted(
                self.client,
                self.cluster,
                worker.make,
                str(self.store.root),
                self.store.run.run_id,
                block,
                self.cluster.device,
                self.name,
                self.plan.base,
                key=f"{block.model}/{block.experiment}/{block.name}-{self.name}",
            )
            self.flying[future] = block
            self._tell(block.model)

    def _tell(self, model: str) -> None:
        self.progress(model, self.done[model], self.total[model])

    def _finish(self, future: Future) -> None:
        """Count one block that ended.

        The scheduler is let forget it, or it would make the block again for a worker that died.
        """
        block = self.flying.pop(future)
        try:
            name, outcome = self._outcome(block, future)
        finally:
            future.release()
        n_images = size(block, self.plan)
        if outcome == "made":
            self.made += 1
            self.images[name] += n_images
        if outcome == "failed":
            self.failed[name] += 1
            if block.model not in self.told:
                self.told.add(block.model)
                self.tell(blocks.why_failed(self.store, block))
        if outcome in blocks.COMMITTED:
            self.done[block.model] += n_images
        self._tell(block.model)

    def _outcome(self, block: Block, future: Future) -> tuple[str, blocks.Outcome]:
        """The worker that a block was made by, '' if unknown, and what became of it.

        An error that is of this block alone is recorded; others are raised.
        """
        from distributed import KilledWorker

        if future.status == "cancelled":
            future.result()  # raises
        error = future.exception()
        if error is None:
            done: tuple[str, blocks.Outcome] = future.result()
            return done
        if isinstance(error, GenerateError | FolderError):
            raise error
        name = ""
        if isinstance(error, KilledWorker):
            name = str(error.last_worker.name)
            times = error.allowed_failures + 1
            error = ClusterError(f"making it killed its worker, {times} times")
            self.store.claims.release(block)
        self.store.claims.fail(block, error, "".join(traceback.format_exception(error)))
        return name, "failed"

    def _states(self, workers: Mapping[str, Mapping[str, Any]]) -> list[Worker]:
        """What each worker is at, by its first task."""
        at = self.client.processing()
        states = []
        for address, described in workers.items():
            name = str(described["name"])
            keys = list(at.get(address, ()))
            block = keys[0].rpartition("-")[0] if keys else ""
            states.append(Worker(name, block, self.images[name], self.failed[name]))
        return states

    def cancel(self) -> None:
        """Take back what no worker has begun."""
        if self.flying and self.client.status == "running":
            self.client.cancel(list(self.flying), force=True)
