"""What a run is: made of samples from anywhere, described, cited, verified."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ibstats.cli.console import Run, say, show
from ibstats.errors import IbstatsError
from ibstats.options import each_block
from schemas.progress import HELP, Shown


def import_samples(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of images or token grids, Parquet files, or a spec.", show_default=False
        ),
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
    progress: Annotated[Shown, typer.Option(help=HELP)] = Shown.auto,
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
    files = importing.row_files(source)
    if files:
        for name in ("images", "tokens"):
            if given.pop(name) is not None:
                raise IbstatsError("rows of Parquet files have columns, so they take no pattern")
        for line in importing.told(files):
            say(line)
        if run is None or dry_run:
            return
        importing.import_rows(files, run, given, drop_incomplete=drop_incomplete)
        say(f"imported to {run}")
        say(f"next: ibstats report {run}")
        return
    spec, folder = importing.asked(source, given)
    found = importing.survey(spec, folder, drop_incomplete=drop_incomplete)
    for line in found.lines():
        say(line)
    if run is None or dry_run:
        return
    said = {"made": "imported to", "done": "imported already:"}
    say(f"{said[importing.write(found, run, partial(each_block, asked=progress))]} {run}")
    say(f"next: ibstats report {run}")


def describe(run: Run) -> None:
    """What a run holds: models, experiments, prompts, samples and how much is complete."""
    from ibstats.report.tables.description import description
    from ibstats.store import open_store

    show(description(open_store(run)))


def cite_run(run: Run) -> None:
    """BibTeX of the software, the paper, the models of a run and the metrics reported of it."""
    from ibstats.citing import cite

    print(cite(run), end="")


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
            say(f"{key}: {problem}")
    n_kept, damaged = 0, 0
    for path, problem in sealed.kept_problems(store):
        n_kept += 1
        if problem:
            damaged += 1
            say(f"{path}: {problem}")
            if repair:
                sealed.drop(store, path)
    say(f"{checked} stored objects checked, {problems} with problems")
    say(f"{n_kept} tables and analyses checked, {damaged} with problems")
    if problems or (damaged and not repair):
        raise typer.Exit(1)


def clean(
    run: Run,
    everything: Annotated[
        bool, typer.Option("--all", help="Everything under results, distances and features too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")
    ] = False,
) -> None:
    """Remove kept analyses that the report does not rest on; distances and features stay."""
    from ibstats.results import cleaning
    from ibstats.store import open_store

    n_bytes = 0
    found = cleaning.unneeded(open_store(run), everything=everything)
    for path in found:
        n_bytes += cleaning.size(path)
        if dry_run:
            say(str(path))
        else:
            cleaning.remove(path)
    done = "would go" if dry_run else "removed"
    say(f"{len(found)} files and folders {done}, {n_bytes / 1e6:.1f} MB")
