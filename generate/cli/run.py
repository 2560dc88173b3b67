"""Commands that make a store: `run`, `create`, `calibrate`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from generate.cli.console import log, out, print_table, scaled, shown
from generate.cli.options import Device, Out, Progress, StudyArgument, Timings, read_mapping
from generate.cli.timings import print_timings
from generate.errors import GenerateError
from generate.prompts.sources import doubled
from generate.run import turns
from generate.run.turns import Shard
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study
from schemas.device import device_of_workers, pick_device
from schemas.io.cluster import Cluster, connected
from schemas.io.folder import folder
from schemas.progress import Shown

if TYPE_CHECKING:
    from generate.run.cost import Estimate
    from generate.store.audit import Summary
    from generate.store.samples import SampleStore

SECONDS_AN_HOUR = 3600


def run(
    study: StudyArgument,
    out_dir: Out,
    device: Device = "auto",
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Dask cluster: local, cuda, slurm, kubernetes, or the address of a scheduler."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Workers of the cluster; without --cluster, of a local one. One GPU or core each.",
        ),
    ] = None,
    cluster_options: Annotated[
        Path | None,
        typer.Option(help="YAML mapping of further settings of the cluster's Dask class."),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            help="Seconds without any worker after which the run ends; 60, queues: no end."
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Make one part of the blocks: i/n, as 3/64, or `array`, the task of an array job."
        ),
    ] = None,
    array: Annotated[
        int | None,
        typer.Option(min=1, help="Print an sbatch script of so many tasks; make nothing."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the study costs; make nothing.")
    ] = False,
    timings: Timings = False,
    progress: Progress = Shown.auto,
) -> None:
    """Make the store of a study, or go on with one that was interrupted.

    Blocks that are committed stay, whatever happens to the rest; run the same command to go on.
    """
    from generate.store.samples import SampleStore

    laid_out = plan(*load_study(study))
    _say_doubled(laid_out)
    on_cluster = cluster is not None or workers is not None
    if on_cluster and (shard is not None or array is not None):
        raise GenerateError(
            "--shard and --array are for the tasks of an array job, each on its own; a cluster "
            "hands out all blocks itself: leave --cluster and --workers out."
        )
    if array is not None:
        out.print(sbatch(laid_out.study.name, study, out_dir, array, device))
        return
    if dry_run:
        _say_cost(laid_out, out_dir, pick_device(device), workers or 1, progress)
        return
    if not on_cluster:
        part = None if shard is None else turns.shard(shard)
        done = _run_here(laid_out, out_dir, device, progress, part)
    else:
        kind = cluster or "local"
        options = read_mapping("--cluster-options", cluster_options)
        asked = Cluster(kind, workers, device_of_workers(kind, device), options, wait)
        done = _run_on_cluster(laid_out, out_dir, asked, progress)
    if timings:
        print_timings(laid_out, SampleStore.open(out_dir))
    _say_done(done, out_dir, shard)


def _say_done(done: Summary, out_dir: str, shard: str | None) -> None:
    """Where the store stands, or the shard of it alone; GenerateError if something lacks."""
    whose = f"; digest {done.digest[:16]}" if shard is None else f", of shard {shard} alone"
    sealed = "sealed, " if done.sealed else ""
    out.print(
        f"{out_dir}: {sealed}{done.done} of {done.total} blocks done, {done.made} of them now{whose}"
    )
    if done.changed:
        raise GenerateError(
            f"{len(done.changed)} objects of committed blocks are gone or have another size "
            f"({done.changed[0]}): `ibgenerate verify {out_dir} --repair`, then run the same "
            "command again."
        )
    if done.elsewhere:
        log.print(f"{done.elsewhere} blocks are being made by another process.", soft_wrap=True)
    if done.failed:
        raise GenerateError(
            f"{done.failed} blocks failed; see {out_dir}/failed, then run the same command again. "
            f"First: {done.first_error}"
        )


def _run_here(
    laid_out: Plan, where: str, device: str, asked: Shown, shard: Shard | None
) -> Summary:
    """Make a study, or a part of it, in this process."""
    from generate.run import blocks, preparing
    from generate.run.holder import Holder

    with shown(asked) as bars:
        holder = Holder(pick_device(device))
        store = preparing.prepare(
            laid_out, where, device=holder.device, progress=bars.progress, holder=holder
        )
        _say_uncertain(store)
        return blocks.run(
            laid_out,
            store,
            device=holder.device,
            progress=bars.progress,
            tell=bars.tell,
            holder=holder,
            shard=shard,
        )


def sbatch(name: str, study: str, out_dir: str, tasks: int, device: str) -> str:
    """Give a script for Slurm's `sbatch`: an array of tasks, each of which makes its part of a study.

    >>> print(sbatch("big", "study.yaml", "runs/big", 64, "cuda").splitlines()[-1])
    srun ibgenerate run study.yaml --out runs/big --shard array --device cuda
    """
    asked = shlex.join(["--out", out_dir])
    study = shlex.quote(study)
    accelerator = ["#SBATCH --gres=gpu:1"] if device.startswith("cuda") else []
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={shlex.quote(name)}",
        f"#SBATCH --array=1-{tasks}",
        "#SBATCH --ntasks=1",
        *accelerator,
        "#SBATCH --output=%x-%A_%a.log",
        "# Lay the run out once, before: the tasks then begin with blocks.",
        f"#   ibgenerate create {study} {asked} --device {device}",
        "# When all have ended, the same without --shard says what is missing, and makes it.",
        f"srun ibgenerate run {study} {asked} --shard array --device {device}",
    ]
    return "\n".join(lines)


def _run_on_cluster(laid_out: Plan, where: str, asked: Cluster, progress: Shown) -> Summary:
    """Make a study on a cluster, which is started where it is not there."""
    from generate.run import dispatch

    with shown(progress) as bars, connected(asked) as client:
        log.print(f"dashboard: {client.dashboard_link}")
        store = dispatch.prepare(client, laid_out, where, asked, progress=bars.progress)
        _say_uncertain(store)
        return dispatch.run(
            client,
            laid_out,
            store,
            asked,
            progress=bars.progress,
            watch=bars.watch,
            tell=bars.tell,
        )


def _say_doubled(laid_out: Plan) -> None:
    """Which prompts are one: intervals take them for independent, and would be too narrow."""
    found = doubled(laid_out.prompts)
    if found:
        again, owner = found[0]
        log.print(
            f"prompts that have the text of another: {len(found)} (first: '{again}' that of '{owner}'); "
            "intervals count each as evidence of its own: leave out all but one.",
            soft_wrap=True,
        )


def _say_uncertain(store: SampleStore) -> None:
    """Which models' subsets of the codebook are much a matter of chance."""
    from generate.run.preparing import uncertain_subsets

    for line in uncertain_subsets(store):
        log.print(line, soft_wrap=True)


def _say_cost(laid_out: Plan, where: str, device: str, workers: int, asked: Shown) -> None:
    """The cost plan of a study, for so many workers."""
    from generate.run import preparing, rehearsal

    store = preparing.existing(laid_out, folder(where))
    with shown(asked):
        found = rehearsal.forecast(laid_out, store, device)
    _print_costs(found, workers)
    if device.startswith("cuda"):
        _say_precisions(laid_out, found, workers)


def _say_precisions(laid_out: Plan, found: list[Estimate], workers: int) -> None:
    """What the models whose speed is known by precision would take in another one, a line each."""
    from generate.models import model_class
    from generate.models.catalogue import written
    from generate.models.precision import times_elsewhere

    for estimate in found:
        choice = laid_out.study.models[laid_out.models.index(estimate.model)]
        adapter = model_class(choice.model, laid_out.base)
        precision = getattr(adapter.options(choice.options), "precision", "")
        hours = (estimate.seconds_left or 0.0) / SECONDS_AN_HOUR / workers
        elsewhere = times_elsewhere(hours, precision, adapter.card.speeds)
        if elsewhere:
            out.print(
                f"{estimate.model}: {hours:.3g} hours in {precision}; about {written(elsewhere)}, by "
                "the ratios of one H200 (option `precision`: other tokens, the same law but for "
                "rounding)."
            )


def _print_costs(found: list[Estimate], workers: int) -> None:
    """What each model takes, and all together."""
    from generate.run.cost import total

    table = Table(
        "model", "images", "left", "bytes", "operations", "images/s", "hours", "measured on"
    )
    for estimate in found:
        each = estimate.each
        if each is None or estimate.seconds_left is None:
            continue
        hours = estimate.seconds_left / SECONDS_AN_HOUR / workers
        size = scaled(estimate.bytes_left, "B")
        if each.bytes is None:
            size = f"<= {size}"
        operations = "none counted"
        if each.operations:
            n_images = estimate.left + estimate.calibration
            operations = scaled(each.operations * n_images, "FLOP")
        table.add_row(
            estimate.model,
            str(estimate.images),
            str(estimate.left),
            size,
            operations,
            f"{1 / each.seconds:.3g}",
            f"{hours:.3g}",
            each.source,
        )
    print_table(table)
    all_of_it = total(found)
    hours = all_of_it.seconds_left / SECONDS_AN_HOUR / workers
    also = ""
    if all_of_it.calibration:
        also = f", and {all_of_it.calibration} images are sampled for code usage alone"
    plural = "s" * (workers > 1)
    out.print(
        f"{all_of_it.left} images left, {scaled(all_of_it.bytes_left, 'B')}, {hours:.3g} hours "
        f"with {workers} worker{plural} of that speed{also}; nothing was written."
    )


def create(
    study: StudyArgument,
    out_dir: Out,
    device: Device = "auto",
    progress: Progress = Shown.auto,
) -> None:
    """Count code usage and lay out the store, without sampling the study.

    Several processes or machines can then make its blocks at once with `ibgenerate run`.
    """
    from generate.run.preparing import prepare
    from generate.store.audit import summary

    laid_out = plan(*load_study(study))
    with shown(progress) as bars:
        device = pick_device(device)
        store = prepare(laid_out, out_dir, device=device, progress=bars.progress)
    _say_uncertain(store)
    out.print(f"{out_dir}: {summary(laid_out, store).total} blocks to make with `ibgenerate run`.")


def calibrate(
    study: StudyArgument,
    out_dir: Out,
    device: Device = "auto",
    progress: Progress = Shown.auto,
) -> None:
    """Count how often each model uses each code on the calibration prompts.

    `ibgenerate run` does it by itself where a condition restricts the codebook.
    """
    from generate.run import preparing
    from generate.run.calibration import record_key

    laid_out = plan(*load_study(study))
    if not laid_out.needs_calibration:
        raise GenerateError(
            "no condition of this study restricts the codebook, so there is nothing to count."
        )
    with shown(progress) as bars:
        device = pick_device(device)
        records = preparing.calibrate(laid_out, out_dir, device=device, progress=bars.progress)
    table = Table("model", "tokens", "codes used", "of", "file")
    for label, record in records.items():
        counts = record.counts
        used = len(counts) - counts.count(0)
        file = f"{out_dir}/{record_key(label)}"
        table.add_row(label, str(sum(counts)), str(used), str(len(counts)), file)
    print_table(table)
