"""`ibstats`: the command line. Each command parses, calls one public function and prints where results went.

What a command runs is imported inside it, so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from ibstats.errors import IbstatsError
from ibstats.extras import extras_named
from ibstats.options import Options, analysing, each_block, log, with_progress
from schemas.analysis import Part, SettingsError
from schemas.device import pick_device
from schemas.errors import internal, out_of_memory
from schemas.io.cluster import ClusterError
from schemas.io.folder import refusal
from schemas.version import __version__

if TYPE_CHECKING:
    from ibstats.report.table import Part as Shown

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Where the diversity of an image generator comes from.",
)
WIDTH = 114
"""Columns that the tables need; a number is never cut short."""

out = Console(width=max(Console().width, WIDTH), markup=False, emoji=False)

Run = Annotated[
    str,
    typer.Argument(help="Run made by `ibgenerate run`: its directory or URL.", show_default=False),
]
Format = Annotated[
    list[str] | None, typer.Option("--format", help="png, pdf or svg; repeat for more.")
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
    """One line of text taken literally: names of files, runs and models may hold brackets."""
    out.print(text, highlight=False, soft_wrap=True)


def _print(parts: Sequence[Shown]) -> None:
    from ibstats.report.render import terminal

    terminal.show(parts, out)


def _show(run: str, options: Options, parts: tuple[Part, ...], *sections: str) -> None:
    """Print some sections of an analysis of these parts."""
    from ibstats.checks import check_factorial, why_none
    from ibstats.report import tables
    from ibstats.report.table import Table
    from ibstats.results.kept import obtain
    from ibstats.results.lookup import Numbers

    store, settings = options.open(run), options.settings(parts)
    if parts != ("quality",):
        check_factorial(store, settings.experiment)
    document = obtain(store, settings, options.machine())
    shown = tables.factorial_parts(Numbers(document), sections)
    _print(shown)
    if not any(isinstance(part, Table) for part in shown):
        _say(f"no {sections[0]}: {why_none(sections[0])}")


@app.command("import")
def import_samples(
    source: Annotated[
        Path,
        typer.Argument(help="Folder of images or token grids, or a spec.", show_default=False),
    ],
    run: Annotated[
        Path | None, typer.Option("--out", help="The run to make.", show_default=False)
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="Images in the folder, as '{condition}/{prompt}/{sample}.png'."),
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(help="Token grids, as '{condition}/{prompt}.npz:tokens'.")
    ] = None,
    codebook: Annotated[
        int | None, typer.Option(min=1, help="Codes that a token can have.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Condition that the others are compared with.")
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(help="Texts: .csv or .jsonl with `id` and `text`.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model in results.")] = None,
    drop_incomplete: Annotated[
        bool, typer.Option("--drop-incomplete", help="Leave out prompts that lack somewhere.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what was found, and write nothing.")
    ] = False,
) -> None:
    """Make a run of images or token grids from anywhere: a folder with a layout, or a YAML spec."""
    from ibstats import importing

    given = {
        "images": layout,
        "tokens": tokens,
        "codebook": codebook,
        "baseline": baseline,
        "prompts": prompts,
        "model": model,
    }
    if run is None and not dry_run:
        raise IbstatsError("say where the run is to be made, --out RUN, or only look: --dry-run")
    spec, folder = importing.asked(source, given)
    found = importing.survey(spec, folder, drop_incomplete=drop_incomplete)
    for line in found.lines():
        _say(line)
    if run is None or dry_run:
        return
    said = {"made": "imported to", "done": "imported already:"}
    _say(f"{said[importing.write(found, run, each_block)]} {run}")
    _say(f"next: ibstats report {run}")


@app.command()
def describe(run: Run) -> None:
    """What a run holds: models, experiments, prompts, samples and how much is complete."""
    from ibstats.report.tables.description import description
    from ibstats.store import open_store

    _print(description(open_store(run)))


@app.command("cite")
def cite_run(run: Run) -> None:
    """BibTeX of the software, the paper, the models of a run and the metrics reported of it."""
    from ibstats.citing import cite

    print(cite(run), end="")


@app.command()
def verify(
    run: Run,
    repair: Annotated[
        bool, typer.Option("--repair", help="Drop what is kept under results and damaged.")
    ] = False,
) -> None:
    """Check every stored object against the ledger, and what is kept under results against its records."""
    from ibstats.results import sealed
    from ibstats.store import open_store

    store = open_store(run)
    checked, problems = 0, 0
    for key, problem in store.verify():
        checked += 1
        if problem:
            problems += 1
            _say(f"{key}: {problem}")
    n_kept, damaged = 0, 0
    for path, problem in sealed.kept_problems(store):
        n_kept += 1
        if problem:
            damaged += 1
            _say(f"{path}: {problem}")
            if repair:
                sealed.drop(store, path)
    _say(f"{checked} stored objects checked, {problems} with problems")
    _say(f"{n_kept} tables and analyses checked, {damaged} with problems")
    if problems or (damaged and not repair):
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
    """Effects of all factors with tests and effect sizes, waterfalls and synergy gaps."""
    _show(run, options, ("diversity",), "effects", "waterfall", "waterfall_two")


@app.command()
@analysing
def quality(run: Run, options: Options) -> None:
    """CLIP score, CLIP-IQA, FID, KID and the scene network's scores: cells, probes, effects, frontier."""
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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "cpu",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 64,
    weights: Annotated[str | None, typer.Option(help="Weight file of the network.")] = None,
) -> None:
    """Statistics of reference images for fid and kid: one file that says how its images were prepared."""
    from ibstats.measure import Machine, here
    from ibstats.measure.reference_set.making import build

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
            pick_device(device),
            batch_size,
            {network: weights} if weights else {},
            with_progress(here),
        ),
    )
    height, width = found.size
    _say(
        f"{file}: {found.n_images} images of '{found.name}' at {height}x{width} ({found.resize}), "
        f"{found.dimensions} features of '{found.network}', {found.n_features_kept} rows kept for "
        "kernel distances"
    )
    treated = dict(found.pictures)
    if found.passed_over:
        treated["files passed over"] = found.passed_over
    if treated:
        _say("; ".join(f"{what}: {number}" for what, number in treated.items()))


@app.command()
@analysing
def strategy(run: Run, options: Options) -> None:
    """Diversity-prioritized, compression-prioritized or decoupled: each verdict with its evidence."""
    if not options.settings().margins:
        raise IbstatsError(
            "a strategy rests on equivalence, and no margin was declared; give one per metric, decided before "
            "looking at the data: --margin ssim=0.02, or `margins:` in the --config file"
        )
    _show(run, options, ("diversity",), "strategy")


@app.command()
@analysing
def report(run: Run, options: Options) -> None:
    """Everything: tables here; CSV, JSON, figures and contact sheets under RUN/results."""
    from ibstats.checks import check_factorial
    from ibstats.report import files, tables

    store, settings = options.open(run), options.settings()
    check_factorial(store, settings.experiment)
    made = files.report(store, settings, options.machine())
    _print(tables.factorial_parts(made.numbers))
    out.print()
    _places(made.places)


def _places(places: dict[str, str]) -> None:
    for kind, where in places.items():
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
    from ibstats.report import files
    from schemas.io.layout import ResultsFolder

    store = options.open(run)
    where = folder or ResultsFolder(store.path).export
    for file in files.export(store, options.settings(), where, kind, options.machine()):
        _say(str(file))


@app.command()
@analysing
def figures(
    run: Run,
    kind: Format = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder; default RUN/results/figures.")
    ] = None,
    *,
    options: Options,
) -> None:
    """All figures: cells, probes, waterfalls, effects, interactions, positions, contact sheets; arms of an ablation."""
    from ibstats.report import files
    from schemas.io.layout import ResultsFolder

    store = options.open(run)
    where = folder or ResultsFolder(store.path).figures
    made = files.draw_all(store, options.settings(), where, kind, options.machine())
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
    from ibstats.report.planning import Question, plan

    question = Question(effect, difference, equivalence, target)
    store = options.open(run)
    for planned in plan(store, options.settings(), options.machine(), question):
        _print([planned.table])
        _say(planned.figure)


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
        bool, typer.Option("--figures", help="Draw them into RUN/results/figures.")
    ] = False,
    *,
    options: Options,
) -> None:
    """Bits of path and execution; on request, shares of the diversity from distances."""
    from ibstats.report import decomposing

    store, machine = options.open(run), options.machine()
    parts: tuple[Part, ...] = ("shares",) if crossed or wording else ("ledger",)
    settings = options.settings(parts)
    made = decomposing.decompose(store, settings, machine, crossed=crossed, wording=wording)
    _print(made.parts)
    _places(made.places)
    if figures:
        for file in decomposing.draw(store, options.settings(), machine):
            _say(str(file))


@app.command()
@analysing
def ablations(run: Run, kind: Format = None, *, options: Options) -> None:
    """Every ablation (or that of --experiment): arms, paired changes, inflection point; tables, LaTeX, figures."""
    from ibstats.report import files, tables

    store = options.open(run)
    made = files.report_ablations(store, options.settings(), options.machine(), kind)
    for one in made:
        _print(tables.ablation_parts(one.numbers))
    _places(made[0].places)


@app.command()
@analysing
def repro(
    runs: Annotated[list[str], typer.Argument(help="Run directories or URLs.", show_default=False)],
    file: Annotated[Path | None, typer.Option("--out", help="Write the table as CSV too.")] = None,
    *,
    options: Options,
) -> None:
    """The paper's claims beside the results of these runs: reproduced, not reproduced or not comparable, and why."""
    from ibstats.report.tables import claims as shown
    from ibstats.results import claims
    from ibstats.store import open_store

    stores = [open_store(run) for run in runs]
    pool = claims.evidence(stores, options.settings(), options.machine())
    findings = [claims.examine(claim, pool) for claim in claims.claims()]
    _print([shown.claims(findings)])
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
    from ibstats.report.tables.comparison import comparison
    from ibstats.results.compare import compare
    from ibstats.results.kept import read_results

    found = compare(read_results(before), read_results(after), tolerance)
    _print(comparison(found, limit))


def main() -> None:
    """Console script: known errors end in one line and status 1."""
    try:
        with extras_named():
            app()
    except (IbstatsError, SettingsError, ClusterError, OSError) as error:
        line = refusal(error) if isinstance(error, OSError) else str(error)
        if line is None:
            raise
        _refuse(line)
    except MemoryError as error:
        _refuse(out_of_memory(error))
    except Exception:
        traceback.print_exc()
        _refuse(internal("ibstats"))


def _refuse(line: str) -> None:
    """End with one line and status 1."""
    log.print(Text("error", "red"), line, highlight=False, soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
