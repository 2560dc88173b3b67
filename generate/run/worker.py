"""What runs inside a worker of a Dask cluster: one model at a time, and blocks committed from here."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import torch

from generate.errors import ModelError, StoreError
from generate.run import blocks, preparing
from generate.run.holder import Holder
from generate.store.samples import SampleStore
from generate.study.planning import Plan, recorded_plan
from schemas.store import Block
from schemas.timings import keeping

_busy = threading.Lock()
"""One block at a time in a process, however many threads it was given: its model is one."""
_stores: dict[tuple[str, str], tuple[Plan, SampleStore]] = {}
_holders: dict[str, Holder] = {}


def calibrate(plan: Plan, root: str, label: str, device: str) -> None:
    """Count the code usage of the model that a plan calls `label`, and keep it in the run.

    Counts that are there are not made again. `root` is a path that all workers share, or a URL.
    """
    with _busy:
        preparing.calibrate(plan, root, only=label, holder=_holder(_settled(device)))


def prepare(plan: Plan, root: str, device: str) -> None:
    """Lay out the store of a plan at `root`, a path that all workers share, or a URL.

    Code usage that was counted before is taken from there.
    """
    with _busy:
        device = _settled(device)
        preparing.prepare(plan, root, device=device, holder=_holder(device))


def make(
    root: str, run_id: str, block: Block, device: str, session: str, base: Path
) -> tuple[str, blocks.Outcome]:
    """Make and commit one block of the run at `root`.

    `session` names the cluster run, and `base` is the folder that adapters named by file are looked
    for in. Returned are the name of this worker, and what became of the block.
    """
    from distributed import get_worker

    with _busy:
        device = _settled(device)
        plan, store = _store(root, run_id, base)
        holder = _holder(device)
        with keeping(holder.timings):
            model = holder.recorded(plan, store.run, block.model)
            outcome = blocks.make_block(plan, store, model, block, device=device, session=session)
        return str(get_worker().name), outcome


def _settled(device: str) -> str:
    """The device of this worker, with as many torch threads as Dask gave it."""
    from distributed import get_worker

    worker = get_worker()
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"worker {worker.name} on {socket.gethostname()} sees no GPU; give --device cpu."
        )
    if device == "cpu":
        torch.set_num_threads(worker.state.nthreads)
    return device


def _store(root: str, run_id: str, base: Path) -> tuple[Plan, SampleStore]:
    """The plan and the store of a run, opened once in a process."""
    if (root, run_id) in _stores:
        return _stores[root, run_id]
    host = socket.gethostname()
    try:
        store = SampleStore.open(root)
    except StoreError as error:
        raise StoreError(
            f"a worker on {host} cannot open the run ({error}). Do workers and client share this "
            "path? If not, give a URL."
        ) from None
    if store.run.run_id != run_id:
        raise StoreError(
            f"on {host}, {root} is another run than on the client: give a path that all share, or "
            "a URL."
        )
    _stores[root, run_id] = recorded_plan(store.run, store.prompts, base), store
    return _stores[root, run_id]


def _holder(device: str) -> Holder:
    """What holds the one model of this process."""
    if device not in _holders:
        for holder in _holders.values():
            holder.let_go()
        _holders[device] = Holder(device)
    return _holders[device]
