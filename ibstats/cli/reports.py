"""Everything of a run: the answer, tables, figures, claims, comparison."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ibstats.cli.console import COLUMNS, LINES, Columns, Format, Run, say, say_places, show
from ibstats.errors import IbstatsError
from ibstats.options import Options, analysing, followed, log
from schemas.io.files import write_whole
from schemas.timings import ANALYSING, Timings, keeping, stage, taken


@analysing()
def report(
    run: Run,
    full: Annotated[
        bool, typer.Option("--full", help="Every table instead of the answer alone.")
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The answer as Markdown, on stdout.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The answer as JSON, on stdout.")] = False,
    timings: Annotated[
        bool, typer.Option("--timings", help="Where the time went, on stderr and as timings.json.")
    ] = False,
    *,
    options: Options,
) -> None:
    """The answer of each model on one screen; everything else, with figures, under RUN/results."""
    from ibstats.checks import check_factorial
    from ibstats.report import answer, files, tables
    from ibstats.report.render import json as document
    from ibstats.report.render import markdown as text
    from ibstats.report.render import terminal

    if full + markdown + as_json > 1:
        raise IbstatsError("--full, --markdown and --json exclude each other; give one of them")
    with keeping(Timings()), stage("other"):
        with stage("open"):
            store, settings = options.open(run), options.settings()
            check_factorial(store, settings.experiment)
        made = files.report(store, settings, options.machine())
        if timings:
            _say_timings(store.results.timings, taken())
    if full:
        show(tables.factorial_parts(made.numbers))
        say("")
        say_places(made.places)
        return
    found = made.answer(files.next_command(store))
    if markdown:
        print(text.render(found.parts()), end="")
    elif as_json:
        print(document.render(found.parts()), end="")
    else:
        screen = Console(width=min(Console().width, COLUMNS), markup=False, emoji=False)
        height = partial(terminal.height, width=screen.width)
        terminal.show(answer.shortened(found, height, LINES).parts(), screen)


def _say_timings(file: Path, spent: dict[str, float]) -> None:
    """Seconds and share of each stage on stderr, and the seconds in a file."""
    write_whole(file, json.dumps(spent, indent=1) + "\n")
    for name in [name for name in ANALYSING if name in spent]:
        share = spent[name] / sum(spent.values())
        log.print(f"{name:12}{spent[name]:8.1f} s  {share:4.0%}  {ANALYSING[name]}")
    log.print(f"{'all':12}{sum(spent.values()):8.1f} s", soft_wrap=True)


@analysing()
def methods(
    run: Run,
    latex: Annotated[
        bool, typer.Option("--latex", help="LaTeX with \\cite, instead of Markdown with [@key].")
    ] = False,
    *,
    options: Options,
) -> None:
    """The methods paragraphs of a paper, of what was computed, then BibTeX of all that they cite."""
    from ibstats.report.methods import methods
    from ibstats.results.kept import obtain

    store = options.open(run)
    told = methods(store, obtain(store, options.settings(), options.machine()))
    print(told.latex() if latex else told.markdown())
    print(told.bibtex, end="")


@analysing()
def publish(
    run: Run,
    folder: Annotated[Path, typer.Option("--to", help="Folder to make.", show_default=False)],
    licence: Annotated[
        str,
        typer.Option(
            "--license",
            help="Licence of the samples: an SPDX identifier such as CC-BY-4.0, or https://...",
            show_default=False,
        ),
    ],
    creator: Annotated[str, typer.Option(help="Person or group that publishes.")] = "",
    *,
    options: Options,
) -> None:
    """A folder for a dataset hub: Parquet, a card with methods and numbers, Croissant and RO-Crate metadata."""
    from ibstats import publishing

    terms = publishing.Terms.of(licence, creator)
    store = options.open(run)

    def each(pieces: list[publishing.Piece]) -> Iterable[publishing.Piece]:
        """Pieces with progress on stderr."""
        return followed(pieces, "publishing", len(pieces), "pieces", options.own.progress)

    outcome = publishing.publish(store, folder, terms, options.settings(), options.machine(), each)
    said = {"made": "published to", "done": "published already:"}
    say(f"{said[outcome]} {folder}")
    say(f"next: look at {folder}/README.md, then `hf upload NAME {folder} --repo-type dataset`")


@analysing()
def export(
    run: Run,
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            help="csv, json, netcdf; tables for a paper: latex, markdown, html, my_tables.py:Class.",
        ),
    ],
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
        say(str(file))


@analysing()
def figures(
    run: Run,
    kind: Format = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder; default RUN/results/figures.")
    ] = None,
    columns: Columns = 1,
    *,
    options: Options,
) -> None:
    """All figures: cells, probes, waterfalls, effects, interactions, positions, contact sheets; arms of an ablation."""
    from ibstats.report import files
    from schemas.io.layout import ResultsFolder

    store = options.open(run)
    where = folder or ResultsFolder(store.path).figures
    made = files.draw_all(store, options.settings(), where, kind, options.machine(), columns)
    say(f"{len(made)} files in {where}")


@analysing(without=["margin"])
def ablations(run: Run, kind: Format = None, columns: Columns = 1, *, options: Options) -> None:
    """Every ablation (or that of --experiment): arms, paired changes, inflection point; tables, LaTeX, figures."""
    from ibstats.report import files, tables

    store = options.open(run)
    made = files.report_ablations(store, options.settings(), options.machine(), kind, columns)
    for one in made:
        show(tables.ablation_parts(one.numbers))
    say_places(made[0].places)


@analysing(without=["margin", "experiment", "results"])
def repro(
    runs: Annotated[list[str], typer.Argument(help="Run directories or URLs.", show_default=False)],
    file: Annotated[Path | None, typer.Option("--out", help="Write the table as CSV too.")] = None,
    *,
    options: Options,
) -> None:
    """The paper's claims beside the results of these runs: reproduced, not reproduced or not comparable, and why."""
    from ibstats.report.tables import claims as shown
    from ibstats.results import claims, findings
    from ibstats.store import open_store

    stores = [open_store(run) for run in runs]
    pool = findings.evidence(stores, options.settings(), options.machine())
    found = [findings.examine(claim, pool) for claim in claims.claims()]
    show([shown.claims(found)])
    if file is not None:
        say(f"table: {findings.write_csv(found, file)}")


@analysing("diversity", "quality", without=["results"])
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN [RUN...]",
            help="Run directories or URLs, first the one compared with; or one run of several models.",
        ),
    ],
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for CSV, JSON and the forest figure.")
    ] = None,
    *,
    options: Options,
) -> None:
    """Runs with the first of them, or models of one, paired by prompt: differences and equivalence."""
    from ibstats.report import comparing
    from ibstats.report.tables.runs import runs as tables
    from ibstats.results import runs as across

    stores = [options.open(run) for run in runs]
    found = across.compare(*stores, settings=options.settings(), machine=options.machine())
    show(tables(found))
    if folder is not None:
        say_places(comparing.write(found, folder))


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
    show(comparison(found, limit))
