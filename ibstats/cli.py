"""`ibstats`: the command line. Each command parses, calls one public function and prints where results went."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ibstats import __version__
from ibstats.citing import cite
from ibstats.errors import IbstatsError
from ibstats.extras import extras_named
from ibstats.measure import Machine, default_metrics, distances, here
from ibstats.measure.reference_set.making import build
from ibstats.options import Options, analysing, log, with_progress
from ibstats.report import files
from ibstats.report import old_tables as tables
from ibstats.report.figures import FORMATS
from ibstats.selection import select
from ibstats.store import open_store
from schemas.io.cluster import ClusterError
from schemas.io.folder import refusal

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Where the diversity of an image generator comes from.",
)
out = Console(width=max(Console().width, tables.WIDTH))

Run = Annotated[
    str,
    typer.Argument(help="Run made by `ibgenerate run`: its directory or URL.", show_default=False),
]


def _version(asked: bool) -> None:
    if asked:
        print(f"ibstats {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options of the program itself, before any command."""


def _say(text: str) -> None:
    out.print(text, highlight=False, soft_wrap=True)


def _show(run: str, options: Options, parts: tuple[str, ...], *sections: str) -> None:
    store, settings = options.open(run), options.settings(parts)
    if parts != ("quality",):
        files.check_factorial(store, settings.experiment)
    tables.show(files.obtain(store, settings, options.machine()), out, sections)


@app.command()
def describe(run: Run) -> None:
    """What a run holds: models, experiments, prompts, samples and how much is complete."""
    store = open_store(run)
    record = store.run
    _say(f"run {record.run_id} of study '{escape(record.name)}', created {record.created}")
    _say(f"{len(record.prompts)} prompts, seed {record.seed}, snapshot {store.snapshot()[:16]}")
    table = Table(
        "model", "family", "experiment", "conditions", "images each", "grid", "codes", "complete"
    )
    for model, identity in record.models.items():
        for experiment, plan in record.experiments.items():
            done = store.complete(model, experiment).all(axis=0)
            grid = f"{identity.grid[0]}x{identity.grid[1]}"
            counts = (
                str(len(plan.conditions)),
                str(plan.n_samples),
                grid,
                str(identity.codebook_size),
            )
            table.add_row(
                escape(model),
                identity.family,
                experiment,
                *counts,
                f"{int(done.sum())}/{done.size} prompts",
            )
    out.print(table)


@app.command("cite")
def cite_run(run: Run) -> None:
    """BibTeX of the software, the paper, the models of a run and the metrics reported of it."""
    print(cite(run), end="")


@app.command()
def verify(run: Run) -> None:
    """Check every stored object against the ledger: presence, length, sha256."""
    checked, problems = 0, 0
    for key, problem in open_store(run).verify():
        checked += 1
        if problem:
            problems += 1
            _say(f"{key}: {problem}")
    _say(f"{checked} stored objects checked, {problems} with problems")
    if problems:
        raise typer.Exit(1)


@app.command()
@analysing
def diversity(run: Run, options: Options) -> None:
    """Mean pairwise distance of each cell, with intervals."""
    _show(run, options, ("diversity",), "diversity")


@app.command()
@analysing
def entropy(run: Run, options: Options) -> None:
    """H(Z), H(Z|X), I(X;Z) and codebook use of each cell, from tokens only."""
    _show(run, options, ("information",), "entropy")


@app.command()
@analysing
def effects(run: Run, options: Options) -> None:
    """Seven contrasts with tests and effect sizes, waterfalls and synergy gaps."""
    _show(run, options, ("diversity",), "effects", "waterfall", "waterfall_two")


@app.command()
@analysing
def quality(run: Run, options: Options) -> None:
    """CLIP score, CLIP-IQA, FID, KID and the reference network's scores: cells, probes, effects, frontier."""
    _show(run, options, ("quality",), "quality", "quality_effects")


@app.command()
def reference(
    source: Annotated[
        str,
        typer.Argument(help="Folder of images, hf:NAME of a data set, or .npz with mu and sigma."),
    ],
    file: Annotated[Path, typer.Option("--out", help="The reference set to write.")],
    size: Annotated[
        str | None, typer.Option(help="Size of the images compared: 256 or 256x384.")
    ] = None,
    resize: Annotated[str, typer.Option(help="centre-crop, stretch or none.")] = "centre-crop",
    network: Annotated[
        str, typer.Option(help="inception (fid, kid) or reference (scenes of the trio).")
    ] = "inception",
    images: Annotated[
        int | None, typer.Option(help="Images to take, or that an imported .npz was made of.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set.")] = None,
    column: Annotated[
        str | None, typer.Option(help="Column of the data set that holds the images.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name in the results; default that of the source.")
    ] = None,
    device: Annotated[str, typer.Option(help="Device of the network.")] = "cpu",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 64,
    weights: Annotated[str | None, typer.Option(help="Weight file of the network.")] = None,
) -> None:
    """Statistics of reference images for fid and kid: one file that says how its images were prepared."""

    found = build(
        source,
        file,
        network=network,
        size=size,
        resize=resize,
        n_images=images,
        split=split,
        column=column,
        name=name,
        machine=Machine(
            device, batch_size, {network: weights} if weights else {}, with_progress(here)
        ),
    )
    height, width = found.size
    _say(
        f"{file}: {found.n_images} images of '{escape(found.name)}' at {height}x{width} ({found.resize}), "
        f"{found.dimensions} features of '{found.network}', {found.n_features_kept} rows kept for kernel distances"
    )


@app.command()
@analysing
def strategy(run: Run, options: Options) -> None:
    """Diversity-prioritized, compression-prioritized or decoupled: each verdict with its evidence."""
    if not options.settings().margins:
        raise IbstatsError(
            "a strategy rests on equivalence, and no margin was declared; give one per metric, decided before "
            "looking at the data: --margin ssim_dissimilarity=0.02, or `margins:` in the --config file"
        )
    _show(run, options, ("diversity",), "strategy")


@app.command()
@analysing
def report(run: Run, options: Options) -> None:
    """Everything: tables here; CSV, JSON, figures and contact sheets under RUN/results."""
    store, settings = options.open(run), options.settings()
    files.check_factorial(store, settings.experiment)
    machine = options.machine()
    document = files.obtain(store, settings, machine)
    tables.show(document, out)
    out.print()
    for kind, where in files.write_report(store, document, settings, machine).items():
        _say(f"{kind}: {where}")


@app.command()
@analysing
def export(
    run: Run,
    kind: Annotated[str, typer.Option("--format", help="csv, latex, json or netcdf.")],
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder; default RUN/results/export.")
    ] = None,
    *,
    options: Options,
) -> None:
    """Write every number with its units, estimator, interval kind, n, seed and snapshot."""
    store = options.open(run)
    where = folder or store.path / "results" / "export"
    for file in files.export(store, options.settings(), where, kind, options.machine()):
        _say(str(file))


@app.command()
@analysing
def figures(
    run: Run,
    kind: Annotated[
        list[str] | None, typer.Option("--format", help="png, pdf or svg; repeat for more.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder; default RUN/results/figures.")
    ] = None,
    *,
    options: Options,
) -> None:
    """All figures: cells, probes, waterfalls, effects, interactions, positions, contact sheets; arms of an ablation."""
    store, settings = options.open(run), options.settings()
    where = folder or store.path / "results" / "figures"
    tree = files.obtain_tree(store, settings, options.machine())
    made = files.figures(store, settings, tree, where, tuple(kind or FORMATS))
    _say(f"{len(made)} files in {where}")


@app.command()
@analysing
def power(
    run: Run,
    effect: Annotated[
        str, typer.Option(help="Effect to plan for, for instance sampling:codebook.")
    ] = "sampling",
    difference: Annotated[float | None, typer.Option(help="Smallest effect worth finding.")] = None,
    equivalence: Annotated[
        float | None, typer.Option(help="Margin within which to show equivalence.")
    ] = None,
    target: Annotated[float, typer.Option(min=0, max=1, help="Power wanted.")] = 0.8,
    *,
    options: Options,
) -> None:
    """Prompts and images a study needs, with this run as its pilot."""
    from ibstats.statistics import power as planning
    from ibstats.store import by_factor

    store, settings, machine = options.open(run), options.settings(), options.machine()
    files.check_factorial(store, settings.experiment)
    for model in settings.models or store.models():
        for name in settings.metrics or default_metrics()[:1]:
            selection = select(
                store, model, settings.experiment, allow_partial=settings.allow_partial
            )
            measured = distances(selection, machine.metric(name), each=machine.each)
            pilot = planning.components(by_factor(measured["distance"]), effect)
            table = planning.table(
                pilot, effect_size=difference, margin=equivalence, seed=settings.resampling.seed
            )
            out.print(
                tables.power(table, planning.needed(table, target), f"{model}, {name}", target)
            )
            where = store.path / "results" / "figures"
            where.mkdir(parents=True, exist_ok=True)
            from ibstats.report.figures import draw_power

            _say(str(draw_power(table, target, where / f"power-{model}-{name}")[0]))


@app.command()
@analysing
def decompose(
    run: Run,
    crossed: Annotated[
        bool, typer.Option("--crossed", help="Shares of path and execution from crossed noise.")
    ] = False,
    wording: Annotated[
        bool, typer.Option("--wording", help="Share of the wording in paraphrase cells.")
    ] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="Draw the ledger into RUN/results/figures.")
    ] = False,
    *,
    options: Options,
) -> None:
    """The entropy ledger: bits of path and execution; on request, shares of the diversity from distances."""
    from ibstats.report.ledger import decompose_run, draw_run

    store, settings, machine = options.open(run), options.settings(), options.machine()
    decompose_run(store, settings, machine, out, crossed=crossed, wording=wording)
    if figures:
        for file in draw_run(store, settings, machine):
            _say(str(file))


@app.command()
@analysing
def ablations(
    run: Run,
    kind: Annotated[
        list[str] | None, typer.Option("--format", help="png, pdf or svg; repeat for more.")
    ] = None,
    *,
    options: Options,
) -> None:
    """Every ablation (or that of --experiment): arms, paired changes, inflection point; tables, LaTeX, figures."""
    from ibstats.report.ablations import ablations_run

    formats = tuple(kind or FORMATS)
    made = ablations_run(options.open(run), options.settings(), options.machine(), out, formats)
    for part, where in made.items():
        _say(f"{part}: {where}")


@app.command()
@analysing
def repro(
    runs: Annotated[list[str], typer.Argument(help="Run directories or URLs.", show_default=False)],
    file: Annotated[Path | None, typer.Option("--out", help="Write the table as CSV too.")] = None,
    *,
    options: Options,
) -> None:
    """The paper's claims beside the results of these runs: reproduced, not reproduced or not comparable, and why."""
    from ibstats.results import claims

    pool = claims.evidence(map(open_store, runs), options.settings(), options.machine())
    findings = [claims.examine(claim, pool) for claim in claims.claims()]
    out.print(claims.table(findings))
    if file is not None:
        _say(f"table: {claims.write_csv(findings, file)}")


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="Run directory or URL, or results JSON.")],
    after: Annotated[str, typer.Argument(help="Run directory or URL, or results JSON.")],
    tolerance: Annotated[
        float, typer.Option(min=0, help="Numbers this close count as equal.")
    ] = 0.0,
    limit: Annotated[int, typer.Option(min=0, help="Changes to list.")] = 30,
) -> None:
    """Which numbers moved between two analyses, by how much, and why."""
    from ibstats.results.compare import compare

    comparison = compare(files.read_results(before), files.read_results(after), tolerance)
    for cause in comparison.causes:
        _say(f"cause: {cause}")
    if not comparison.changes:
        _say(f"{comparison.n_rows} rows, no number differs")
        return
    out.print(tables.changes(comparison, limit))
    if not comparison.causes:
        _say("no cause is recorded: same data, settings and version; was a file edited?")


def main() -> None:
    """Console script: known errors end in one line and status 1."""
    try:
        with extras_named():
            app()
    except (IbstatsError, ClusterError, OSError) as error:
        line = refusal(error) if isinstance(error, OSError) else str(error)
        if line is None:
            raise
        log.print(f"[red]error[/] {escape(line)}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
