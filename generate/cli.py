"""`ibgenerate`: make a store of samples from a study file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from generate.errors import GenerateError
from generate.prompts.cli import app as prompts
from generate.run.display import Display, display
from schemas.io.cluster import Cluster, ClusterError, connected
from schemas.io.folder import refusal

if TYPE_CHECKING:
    from generate.study.planning import Plan

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__
)
app.add_typer(prompts, name="prompts")
out = Console(highlight=False, soft_wrap=True)
log = Console(stderr=True, highlight=False)

StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study file (YAML), or 'trio' for the shipped one.")
]
Out = Annotated[str, typer.Option("--out", help="Run directory, or a URL (s3://bucket/run).")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Run directory, or a URL (s3://bucket/run).")
]


def main() -> None:
    """Run a command; an error a user can repair ends in one line."""
    try:
        app()
    except (GenerateError, ClusterError, OSError) as error:
        line = refusal(error) if isinstance(error, OSError) else str(error)
        if line is None:
            raise
        log.print(f"[bold red]error:[/] {escape(line)}", soft_wrap=True)
        sys.exit(1)


@contextmanager
def shown() -> Iterator[Display]:
    """Progress on stderr; Ctrl-C ends with a line instead of a traceback."""
    try:
        with display(log) as bars:
            yield bars
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the study costs; make nothing.")
    ] = False,
) -> None:
    """Make the store of a study, or go on with one that was interrupted."""
    from generate.run import blocks, preparing
    from generate.study.planning import plan
    from generate.study.study_file import load_study

    laid_out = plan(*load_study(study))
    if dry_run:
        return _say_cost(laid_out, out_dir, pick_device(device), workers or 1)
    if cluster is None and workers is None:
        with shown() as bars:
            device = pick_device(device)
            store = preparing.prepare(laid_out, out_dir, device=device, progress=bars.progress)
            done = blocks.run(laid_out, store, device=device, progress=bars.progress)
    else:
        from generate.run import dispatch

        options = _mapping(cluster_options)
        asked = Cluster(
            cluster or "local", workers, _device_of(cluster or "local", device), options, wait
        )
        with shown() as bars, connected(asked) as client:
            log.print(f"dashboard: {client.dashboard_link}")
            store = dispatch.prepare(client, laid_out, out_dir, asked, progress=bars.progress)
            done = dispatch.run(
                client, laid_out, store, asked, progress=bars.progress, watch=bars.watch
            )
    out.print(
        f"{out_dir}: {done.done} of {done.total} blocks done, {done.made} of them now; digest {done.digest[:16]}"
    )
    if done.elsewhere:
        log.print(f"{done.elsewhere} blocks are being made by another process.")
    if done.failed:
        raise GenerateError(
            f"{done.failed} blocks failed; see {out_dir}/failed, then run the same command again."
        )
    return None


def _device_of(cluster: str, device: str) -> str:
    """Device of a cluster's workers: `auto` looks at this machine for local ones, and elsewhere means cpu."""
    if cluster in ("local", "cuda"):
        return pick_device("cuda" if cluster == "cuda" and device == "auto" else device).partition(
            ":"
        )[0]
    return "cpu" if device == "auto" else device.partition(":")[0]


def _mapping(path: Path | None) -> dict[str, Any]:
    """Settings of a YAML file."""
    import yaml

    try:
        document = {} if path is None else yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise GenerateError(
            f"--cluster-options {path} cannot be read: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(document, dict):
        raise GenerateError(
            f"--cluster-options {path} holds a {type(document).__name__}, but must be a mapping."
        )
    return document


def _say_cost(laid_out: Plan, where: str, device: str, workers: int) -> None:
    """The cost plan of a study, for so many workers."""
    from generate.run import cost, preparing
    from schemas.io.folder import folder

    store = preparing.existing(laid_out, folder(where))
    with shown():
        found = cost.forecast(laid_out, store, device)
    table = Table(
        "model", "images", "left", "bytes", "operations", "images/s", "hours", "measured on"
    )
    hours = 0.0
    for estimate in found:
        each = estimate.each
        if each is None or estimate.seconds_left is None:
            continue
        hours += estimate.seconds_left / 3600 / workers
        bound = "" if each.bytes is not None else "<= "
        operations = _scaled(
            (each.operations or 0) * (estimate.left + estimate.calibration), "FLOP"
        )
        table.add_row(
            estimate.model, str(estimate.images), str(estimate.left),
            bound + _scaled(estimate.bytes_left, "B"), operations if each.operations else "none counted",
            f"{1 / each.seconds:.3g}", f"{estimate.seconds_left / 3600 / workers:.3g}", each.source,
        )  # fmt: skip
    out.print(table)
    extra = sum(estimate.calibration for estimate in found)
    also = f", and {extra} images are sampled for code usage alone" if extra else ""
    out.print(
        f"{sum(e.left for e in found)} images left, {_scaled(sum(e.bytes_left for e in found), 'B')}, "
        f"{hours:.3g} hours with {workers} worker{'s' * (workers > 1)} of that speed{also}; nothing was written."
    )


def _scaled(number: float, unit: str) -> str:
    """A number with a decimal prefix."""
    prefixes = ["", "k", "M", "G", "T", "P", "E"]
    while number >= 1000 and len(prefixes) > 1:
        number /= 1000
        prefixes.pop(0)
    return f"{number:.3g} {prefixes[0]}{unit}"


@app.command()
def create(study: StudyArgument, out_dir: Out, device: Device = "auto") -> None:
    """Count code usage and lay out the store, without sampling the study."""
    from generate.run import preparing
    from generate.store.audit import summary
    from generate.study.planning import plan
    from generate.study.study_file import load_study

    laid_out = plan(*load_study(study))
    with shown() as bars:
        store = preparing.prepare(
            laid_out, out_dir, device=pick_device(device), progress=bars.progress
        )
    out.print(f"{out_dir}: {summary(laid_out, store).total} blocks to make with `ibgenerate run`.")


@app.command()
def calibrate(study: StudyArgument, out_dir: Out, device: Device = "auto") -> None:
    """Count how often each model uses each code on the calibration prompts."""
    from generate.run import preparing
    from generate.run.calibration import record_key
    from generate.study.planning import plan
    from generate.study.study_file import load_study

    laid_out = plan(*load_study(study))
    if not laid_out.needs_calibration:
        raise GenerateError(
            "no condition of this study restricts the codebook, so there is nothing to count."
        )
    with shown() as bars:
        records = preparing.calibrate(
            laid_out, out_dir, device=pick_device(device), progress=bars.progress
        )
    table = Table("model", "tokens", "codes used", "of", "file")
    for label, record in records.items():
        used = sum(count > 0 for count in record.counts)
        table.add_row(
            label,
            str(sum(record.counts)),
            str(used),
            str(len(record.counts)),
            f"{out_dir}/{record_key(label)}",
        )
    out.print(table)


@app.command()
def status(run_dir: RunArgument) -> None:
    """Say which blocks are done, running, failed or missing, and what is left to store and to wait for."""
    from generate.run import cost
    from generate.store import audit
    from generate.store.room import bytes_needed
    from generate.store.samples import SampleStore
    from generate.study.planning import recorded_plan

    store = SampleStore.open(run_dir)
    laid_out = recorded_plan(store.run)
    blocks = list(laid_out.blocks())
    done = store.ledger.done(blocks)
    running, failed = store.claims.claimed_among(blocks), store.claims.failed_among(blocks)
    table = Table("model", "experiment", "done", "running", "failed", "missing")
    for model in laid_out.models:
        for experiment in laid_out.experiments:
            ours = {b for b in blocks if (b.model, b.experiment) == (model, experiment)}
            pending = ours - done
            counts = (
                ours & done,
                pending & running,
                pending & failed - running,
                pending - running - failed,
            )
            table.add_row(model, experiment, *[str(len(some)) for some in counts])
    out.print(table)
    for block in sorted(running - done, key=lambda b: (b.model, b.experiment, b.name))[:10]:
        who = store.claims.owner(block)
        out.print(
            f"running: {block.model}/{block.experiment}/{block.name} on {who.get('host')}, pid {who.get('pid')}"
        )
    found = cost.estimates(laid_out, store)
    free = store.folder.free()
    out.print(
        f"left: {sum(e.left for e in found)} of {sum(e.images for e in found)} images, "
        f"{_scaled(sum(e.bytes_left for e in found), 'B')} to store"
        + ("" if free is None else f", {_scaled(free, 'B')} free")
    )
    unknown = [e.model for e in found if e.left and e.each is None]
    if any(e.left and e.each for e in found):
        processes = max(1, len(running - done))
        seconds = sum(e.seconds_left or 0.0 for e in found) / processes
        out.print(
            f"time: about {seconds / 3600:.2g} h with {processes} process{'es' * (processes > 1)}, by committed blocks"
            + (
                f" (not counting {', '.join(unknown)}, of which none is committed)"
                if unknown
                else ""
            )
        )
    elif unknown:
        out.print(
            "time: unknown until a block is committed; `ibgenerate run --dry-run` measures a batch."
        )
    out.print(
        f"digest {audit.summary(laid_out, store).digest}; at most {bytes_needed(store.run) / 1e6:.0f} MB in all."
    )


@app.command()
def verify(
    run_dir: RunArgument,
    repair: Annotated[bool, typer.Option(help="Drop bad blocks, to be made again.")] = False,
) -> None:
    """Compare every committed block with its checksums."""
    from generate.store import audit
    from generate.store.samples import SampleStore
    from generate.study.planning import recorded_plan

    store = SampleStore.open(run_dir)
    laid_out = recorded_plan(store.run)
    problems, beyond = audit.verify(laid_out, store, repair=repair), store.template_problems()
    for problem in problems + beyond:
        out.print(escape(problem))
    if beyond:
        raise GenerateError(
            f"{len(beyond)} objects are damaged that no block holds, so that no run can make them again: restore them "
            "from a copy, or make the run again in another place."
        )
    if problems and not repair:
        raise GenerateError(
            f"{len(problems)} problems; `ibgenerate verify {run_dir} --repair` drops the blocks they are in."
        )
    done = audit.summary(laid_out, store)
    verdict = f"{len(problems)} problems repaired, " if problems else "no problem in "
    out.print(f"{run_dir}: {verdict}{done.done} of {done.total} blocks.")


@app.command()
def rescore(
    run_dir: RunArgument,
    paths: Annotated[
        int, typer.Option(help="Proposed paths per image; bounds tighten with them.")
    ] = 8,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model of the run; repeat for more. Default all with a path."),
    ] = None,
    experiment: Annotated[str, typer.Option(help="Experiment of the run.")] = "factorial",
    condition: Annotated[
        list[str] | None,
        typer.Option(help="Condition; repeat for more. Default the one without intervention."),
    ] = None,
    prompts: Annotated[
        int | None, typer.Option(min=1, help="The first so many prompts; default all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the proposed paths.")] = 0,
    device: Device = "auto",
) -> None:
    """Bound H(Z|X) and the residual H(P|Z,X): score the stored tokens along more paths, into RUN/rescored."""
    from generate.run import rescore as scorer
    from generate.store.samples import SampleStore

    store = SampleStore.open(run_dir)
    chosen = model or [
        label for label, identity in store.run.models.items() if identity.family in scorer.PROPOSALS
    ]
    if not chosen:
        raise GenerateError("every model of this run has a fixed order: nothing is to be rescored.")
    with shown() as bars:
        device = pick_device(device)
        plans = [
            scorer.plan_rescoring(
                store, label, experiment=experiment, n_paths=paths, seed=seed, conditions=condition or (),
                n_prompts=prompts, device=device,
            )
            for label in chosen
        ]  # fmt: skip
        for work in plans:
            log.print(escape(work.cost()), soft_wrap=True)
        for work in plans:
            scorer.rescore(work, device=device, progress=bars.progress)
            out.print(f"{work}")


@app.command()
def models(
    markdown: Annotated[bool, typer.Option(help="Print the README's table instead.")] = False,
) -> None:
    """List the models that are known by name, and whether their files are in the local cache."""
    from generate.models import catalogue

    if markdown:
        print(catalogue.markdown(), end="")
        return
    table = Table(
        Column("model", no_wrap=True),
        "family",
        "token grid",
        "codebook",
        "licence",
        "weights",
        "here",
    )
    for row in catalogue.rows():
        table.add_row(
            row.name, row.family, row.grids, row.codes, row.licence, row.weights, row.here
        )
    out.print(table)


@app.command()
def inspect(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A known name, or 'package.module:Class'.")
    ],
    option: Annotated[
        list[str] | None, typer.Option(help="A setting, name=value; may be repeated.")
    ] = None,
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
    table.add_row(
        "codebook",
        f"{identity.codebook_size} codes, {identity.capacity:g} bit, {identity.quantizer}",
    )
    shares = catalogue.thirds(identity)
    early = "decided by chance" if shares is None else " / ".join(map(str, shares))
    table.add_row("tokens committed by early / middle / late third of the steps", early)
    for file in identity.weights:
        table.add_row(
            f"weights {file.name}", f"{memory.gigabytes(file.bytes)}, sha256 {file.sha256[:16]}"
        )
    if issubclass(adapter, PublicModel):
        table.add_row("memory for the weights", memory.gigabytes(adapter.bytes_needed(options)))
    for name, value in identity.options.items():
        table.add_row(f"option {name}", str(value))
    for name, settings in adapter.presets.items():
        table.add_row(
            f"preset {name}", ", ".join(f"{key}={value}" for key, value in settings.items())
        )
    out.print(table)


@app.command()
def convert(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder or hub name that holds pickles.")
    ],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the safetensors.")],
) -> None:
    """Rewrite pickled weights (LlamaGen's .pt files) as safetensors, once; then name the new folder as checkpoint."""
    from generate.models.checkpoint import convert as rewrite

    for path in rewrite(checkpoint, out_dir):
        out.print(f"{path}")


if __name__ == "__main__":
    main()
