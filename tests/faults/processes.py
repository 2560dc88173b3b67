"""Processes that make a study, started ready to work, so that a test can afford to kill many of them."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from distributed import Scheduler, Worker

from generate.run import blocks, dispatch, preparing
from generate.store import claims
from generate.store.samples import SampleStore
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study
from schemas.io import folder
from schemas.io.cluster import Cluster, ClusterError, connected
from schemas.store import Block

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.processes", "generate.models.toy", "ibstats.cli"])


def start(function: Callable[..., None], *arguments: Any) -> Any:
    """A process at work on a function; silent, and gone with this one."""
    process = CONTEXT.Process(target=_quietly, args=(function, arguments), daemon=True)
    process.start()
    return process


def _quietly(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    function(*arguments)


def in_terminal(command: list[str], stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """A command as a terminal starts it: in a group of its own, hearing Ctrl-C even where this process is deaf."""
    return subprocess.Popen(
        command,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def planned(study: Path) -> Plan:
    """The plan of a study file."""
    return plan(*load_study(str(study)))


def write(study: Path, out: Path) -> None:
    """What `ibgenerate run` does."""
    laid_out = planned(study)
    done = blocks.run(laid_out, preparing.prepare(laid_out, out))
    sys.exit(0 if done.done == done.total else 3)


def write_elsewhere(study: Path, out: Path, shift: float) -> None:
    """The same on a machine of its own, whose clock is `shift` seconds off that of the files.

    It beats and waits a hundred times faster, so that a test sees claims run out.
    """
    claims.machine_id = lambda: f"machine of {os.getpid()}"  # type: ignore[assignment]
    claims.HEARTBEAT_SECONDS, claims.WATCH_SECONDS, claims.LEASE_SECONDS = 0.1, 0.6, 3.0
    clock = SimpleNamespace(time=lambda: time.time() + shift)
    folder.time = clock  # type: ignore[attr-defined]
    write(study, out)


def write_ledger_first(study: Path, out: Path, reference: Path) -> None:
    """The mistake that the commit protocol exists against: a record that is published before its data."""
    laid_out, known = planned(study), SampleStore.open(reference)

    def commit(
        plan: Plan, store: SampleStore, model: Any, block: Block, attempt: str, device: str
    ) -> blocks.Outcome:
        record = known.ledger.read(block)
        assert record is not None
        store.commit(block, record)
        store.write(block, blocks.generate_block(plan, store, model, block))
        store.mark_complete(block)
        return "made"

    blocks.commit_block = commit
    blocks.run(laid_out, preparing.prepare(laid_out, out))


def scheduler(address: Path) -> None:
    """A scheduler that writes where it listens."""

    async def serve() -> None:
        async with Scheduler(
            host="127.0.0.1", port=0, dashboard_address=":0", allowed_failures=1000
        ) as served:
            address.with_suffix(".part").write_text(served.address)
            address.with_suffix(".part").rename(address)
            await served.finished()

    asyncio.run(serve())


def worker(address: Path) -> None:
    """A worker of one thread."""

    async def serve() -> None:
        async with Worker(
            wait_for(address), nthreads=1, death_timeout=10, dashboard=False
        ) as served:
            await served.finished()

    asyncio.run(serve())


def client(address: Path, study: Path, out: Path) -> None:
    """What `ibgenerate run --cluster ADDRESS` does: 0 for all done, 3 if others hold blocks, 4 without cluster.

    What it says of the cluster stands beside the address.
    """
    laid_out, cluster = planned(study), Cluster(wait_for(address), wait=20)
    try:
        with connected(cluster) as connection:
            store = dispatch.prepare(connection, laid_out, out, cluster)
            done = dispatch.run(connection, laid_out, store, cluster)
    except ClusterError as error:
        address.with_suffix(".error").write_text(str(error))
        sys.exit(4)
    sys.exit(0 if done.done == done.total else 3)


def wait_for(address: Path) -> str:
    """Where a scheduler that is starting listens."""
    end = time.monotonic() + 30
    while not address.exists() and time.monotonic() < end:
        time.sleep(0.01)
    return address.read_text()
