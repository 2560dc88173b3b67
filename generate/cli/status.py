"""Commands that look at a store: `status`, `verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from generate.cli.console import out, print_table, scaled
from generate.cli.options import RunArgument, Timings
from generate.cli.timings import print_timings
from generate.errors import GenerateError
from generate.study.planning import recorded_plan
from schemas.sealed import snapshot_name

if TYPE_CHECKING:
    from generate.run.cost import Estimate
    from generate.run.status import Status
    from generate.store.samples import SampleStore
    from generate.study.planning import Plan
    from schemas.sealed import SealRecord

MOST_RUNNING = 10
"""Blocks at work that are listed one by one."""


def status(
    run_dir: RunArgument,
    digest: Annotated[
        bool, typer.Option("--digest", help="Digest of what is there; reads every record.")
    ] = False,
    timings: Timings = False,
) -> None:
    """Say which blocks are done, running, failed or missing, what is left, and how long it takes.

    Times and bytes are those of committed blocks, for as many processes as are at work.
    """
    from generate.run import cost
    from generate.run.status import status as state_of
    from generate.store.room import bytes_needed
    from generate.store.samples import SampleStore
    from schemas.io.ledger import snapshot

    store = SampleStore.open(run_dir)
    laid_out = recorded_plan(store.run, store.prompts)
    if timings:
        print_timings(laid_out, store)
    if store.ledger.seal is not None:
        _print_sealed(store, store.ledger.seal)
        return
    found = state_of(laid_out, store)
    _print_blocks(laid_out, store, found)
    estimates = cost.estimates(laid_out, store, found.done)
    _print_left(estimates, store.folder.free())
    _print_time(estimates, n_processes=max(1, len(found.running)))
    out.print(f"at most {bytes_needed(store.run) / 1e6:.0f} MB in all.")
    if digest:
        records = store.ledger.read_all(found.done, found.done)
        out.print(f"digest {snapshot([list(records.values())])}.")


def _print_sealed(store: SampleStore, seal: SealRecord) -> None:
    """Numbers of blocks of a sealed run, all of which are done; no block is looked at."""
    table = Table("model", "experiment", "done", "running", "failed", "missing")
    for (model, experiment), records in store.ledger.by_dataset().items():
        table.add_row(model, experiment, str(len(records)), "0", "0", "0")
    print_table(table)
    out.print(f"sealed {seal.sealed}: nothing is left to be made.")
    out.print(f"digest {seal.snapshots[snapshot_name(None, None)]}.")


def _print_blocks(laid_out: Plan, store: SampleStore, found: Status) -> None:
    """Numbers of blocks by state, and who is at those that run."""
    table = Table("model", "experiment", "done", "running", "failed", "missing")
    for model in laid_out.models:
        for experiment in laid_out.experiments:
            tally = found.tally(model, experiment)
            counts = (tally.done, tally.running, tally.failed, tally.missing)
            table.add_row(model, experiment, *map(str, counts))
    print_table(table)
    running = sorted(found.running, key=lambda block: (block.model, block.experiment, block.name))
    for block in running[:MOST_RUNNING]:
        owner = store.claims.owner(block)
        out.print(
            f"running: {block.model}/{block.experiment}/{block.name} on {owner.get('host')}, pid "
            f"{owner.get('pid')}"
        )


def _print_left(estimates: list[Estimate], free: int | None) -> None:
    """Images and bytes that are left; `free` are those of the disk, None where nobody knows."""
    from generate.run.cost import total

    all_of_it = total(estimates)
    room = ""
    if free is not None:
        room = f", {scaled(free, 'B')} free"
    to_store = scaled(all_of_it.bytes_left, "B")
    out.print(f"left: {all_of_it.left} of {all_of_it.images} images, {to_store} to store{room}")


def _print_time(estimates: list[Estimate], n_processes: int) -> None:
    """Time that is left, of the models of which something is committed."""
    from generate.run.cost import total

    known: list[str] = []
    unknown: list[str] = []
    for estimate in estimates:
        if estimate.left:
            models = unknown if estimate.each is None else known
            models.append(estimate.model)
    if known:
        seconds = total(estimates).seconds_left / n_processes
        but = ""
        if unknown:
            but = f" (not counting {', '.join(unknown)}, of which none is committed)"
        plural = "es" * (n_processes > 1)
        out.print(
            f"time: about {seconds / 3600:.2g} h with {n_processes} process{plural}, by committed "
            f"blocks{but}"
        )
    elif unknown:
        out.print(
            "time: unknown until a block is committed; `ibgenerate run --dry-run` measures a batch."
        )


def verify(
    run_dir: RunArgument,
    repair: Annotated[bool, typer.Option(help="Drop bad blocks, to be made again.")] = False,
) -> None:
    """Compare every committed block with its checksums.

    Ends with status 1 if something is damaged and was not repaired.
    """
    from generate.store import audit
    from generate.store.samples import SampleStore

    store = SampleStore.open(run_dir, check=False)
    laid_out = recorded_plan(store.run, store.prompts)
    problems = audit.verify(laid_out, store, repair=repair)
    beyond = store.template_problems()
    for problem in problems + beyond:
        out.print(problem)
    if beyond:
        raise GenerateError(
            f"{len(beyond)} objects are damaged that no block holds, so that no run can make them "
            "again: restore them from a copy, or make the run again in another place."
        )
    if problems and not repair:
        raise GenerateError(
            f"{len(problems)} problems; `ibgenerate verify {run_dir} --repair` drops the blocks "
            "they are in."
        )
    done = audit.summary(laid_out, store)
    verdict = "no problem in "
    if problems:
        verdict = f"{len(problems)} problems repaired, "
    out.print(f"{run_dir}: {verdict}{done.done} of {done.total} blocks.")
