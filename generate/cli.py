"""`ibgenerate`: make a store of samples from a study file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from generate.errors import GenerateError
from generate.prompts.cli import app as prompts

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(prompts, name="prompts")
out = Console(highlight=False, soft_wrap=True)
log = Console(stderr=True, highlight=False)

StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study file (YAML), or 'trio' for the shipped one.")
]
Out = Annotated[Path, typer.Option("--out", help="Run directory.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")]


def main() -> None:
    """Run a command; an error a user can repair ends in one line."""
    try:
        app()
    except GenerateError as error:
        log.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Progress by kind of work, on stderr; Ctrl-C ends with a line instead of a traceback."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("images"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=log) as bars:

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        try:
            yield show
        except KeyboardInterrupt:
            log.print("interrupted; committed blocks are kept: run the same command to go on.")
            raise typer.Exit(130) from None


def pick_device(name: str) -> str:
    """A torch device; `auto` takes the GPU where there is one."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise GenerateError(f"device '{name}' is not available here; use --device cpu.")
    return name


@app.command()
def run(study: StudyArgument, out_dir: Out, device: Device = "auto") -> None:
    """Make the store of a study, or go on with one that was interrupted."""
    from generate import run as runner
    from generate.study import load_study, plan

    laid_out = plan(*load_study(study))
    with progress_bars() as progress:
        device = pick_device(device)
        store = runner.prepare(laid_out, out_dir, device=device, progress=progress)
        done = runner.run(laid_out, store, device=device, progress=progress)
    out.print(f"{out_dir}: {done.done} of {done.total} blocks done, {done.made} of them now; digest {done.digest[:16]}")
    if done.elsewhere:
        log.print(f"{done.elsewhere} blocks are being made by another process.")
    if done.failed:
        raise GenerateError(f"{done.failed} blocks failed; see {out_dir / 'failed'}, then run the same command again.")


@app.command()
def create(study: StudyArgument, out_dir: Out, device: Device = "auto") -> None:
    """Count code usage and lay out the store, without sampling the study."""
    from generate import run as runner
    from generate.audit import summary
    from generate.study import load_study, plan

    laid_out = plan(*load_study(study))
    with progress_bars() as progress:
        store = runner.prepare(laid_out, out_dir, device=pick_device(device), progress=progress)
    out.print(f"{out_dir}: {summary(laid_out, store).total} blocks to make with `ibgenerate run`.")


@app.command()
def calibrate(study: StudyArgument, out_dir: Out, device: Device = "auto") -> None:
    """Count how often each model uses each code on the calibration prompts."""
    from generate import run as runner
    from generate.calibration import record_path
    from generate.study import load_study, plan

    laid_out = plan(*load_study(study))
    if not laid_out.needs_calibration:
        raise GenerateError("no condition of this study restricts the codebook, so there is nothing to count.")
    with progress_bars() as progress:
        records = runner.calibrate(laid_out, out_dir, device=pick_device(device), progress=progress)
    table = Table("model", "tokens", "codes used", "of", "file")
    for label, record in records.items():
        used = sum(count > 0 for count in record.counts)
        table.add_row(
            label,
            str(sum(record.counts)),
            str(used),
            str(len(record.counts)),
            str(record_path(out_dir, label)),
        )
    out.print(table)


@app.command()
def status(run_dir: RunArgument) -> None:
    """Say which blocks are done, running, failed or missing."""
    from generate import audit
    from generate.store import SampleStore, bytes_needed
    from generate.study import recorded_plan

    store = SampleStore.open(run_dir)
    laid_out = recorded_plan(store.run)
    table = Table("model", "experiment", "done", "running", "failed", "missing")
    for model in laid_out.models:
        for experiment in laid_out.experiments:
            blocks = [b for b in laid_out.blocks() if (b.model, b.experiment) == (model, experiment)]
            pending = [b for b in blocks if not store.ledger.is_done(b)]
            running = sum(store.ledger.claim_path(b).exists() for b in pending)
            failed = sum(store.ledger.failure_path(b).exists() for b in pending)
            table.add_row(
                model, experiment, str(len(blocks) - len(pending)), str(running), str(failed),
                str(len(pending) - running - failed),
            )  # fmt: skip
    out.print(table)
    out.print(f"digest {audit.summary(laid_out, store).digest}; at most {bytes_needed(store.run) / 1e6:.0f} MB in all.")


@app.command()
def verify(
    run_dir: RunArgument,
    repair: Annotated[bool, typer.Option(help="Drop bad blocks, to be made again.")] = False,
) -> None:
    """Compare every committed block with its checksums."""
    from generate import audit
    from generate.store import SampleStore
    from generate.study import recorded_plan

    store = SampleStore.open(run_dir)
    laid_out = recorded_plan(store.run)
    problems = audit.verify(laid_out, store, repair=repair)
    for problem in problems:
        out.print(escape(problem))
    if problems and not repair:
        raise GenerateError(
            f"{len(problems)} problems; `ibgenerate verify {run_dir} --repair` drops the blocks they are in."
        )
    done = audit.summary(laid_out, store)
    verdict = f"{len(problems)} problems repaired, " if problems else "no problem in "
    out.print(f"{run_dir}: {verdict}{done.done} of {done.total} blocks.")


@app.command()
def models(markdown: Annotated[bool, typer.Option(help="Print the README's table instead.")] = False) -> None:
    """List the models that are known by name, and whether their files are in the local cache."""
    from generate.models import catalogue

    if markdown:
        print(catalogue.markdown(), end="")
        return
    table = Table(Column("model", no_wrap=True), "family", "token grid", "codebook", "licence", "weights", "here")
    for row in catalogue.rows():
        table.add_row(row.name, row.family, row.grids, row.codes, row.licence, row.weights, row.here)
    out.print(table)


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A known name, or 'package.module:Class'.")],
    option: Annotated[list[str] | None, typer.Option(help="A setting, name=value; may be repeated.")] = None,
) -> None:
    """Say what a model would load and sample with; fetches files that are not in the local cache."""
    import yaml

    from generate.models import catalogue, memory, model_class
    from generate.models.public import PublicModel

    adapter = model_class(model)
    pairs = [pair.partition("=") for pair in option or []]
    options = adapter.options({name: yaml.safe_load(value) for name, _, value in pairs})
    identity = adapter.identify(model, options)
    table = Table("what", "value", title=model)
    table.add_row("family", identity.family)
    table.add_row("revision", identity.revision)
    table.add_row("licence", identity.licence)
    table.add_row("grid", f"{identity.grid[0]} x {identity.grid[1]}, {identity.steps} steps")
    table.add_row("image", f"{identity.image_size[0]} x {identity.image_size[1]} pixels")
    table.add_row("codebook", f"{identity.codebook_size} codes, {identity.capacity:g} bit, {identity.quantizer}")
    shares = catalogue.thirds(identity)
    early = "decided by chance" if shares is None else " / ".join(map(str, shares))
    table.add_row("tokens committed by early / middle / late third of the steps", early)
    for file in identity.weights:
        table.add_row(f"weights {file.name}", f"{memory.gigabytes(file.bytes)}, sha256 {file.sha256[:16]}")
    if issubclass(adapter, PublicModel):
        table.add_row("memory for the weights", memory.gigabytes(adapter.bytes_needed(options)))
    for name, value in identity.options.items():
        table.add_row(f"option {name}", str(value))
    for name, settings in adapter.presets.items():
        table.add_row(f"preset {name}", ", ".join(f"{key}={value}" for key, value in settings.items()))
    out.print(table)


@app.command()
def convert(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A folder or hub name that holds pickles.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the safetensors.")],
) -> None:
    """Rewrite pickled weights (LlamaGen's .pt files) as safetensors, once; then name the new folder as checkpoint."""
    from generate.models.checkpoint import convert as rewrite

    for path in rewrite(checkpoint, out_dir):
        out.print(f"{path}")


if __name__ == "__main__":
    main()
