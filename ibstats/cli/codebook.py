"""How the codebooks of runs are used, at equal budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ibstats.cli.console import Format, say, show


def codebook(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Runs of `ibgenerate encode` or `run`: directories or URLs.", show_default=False
        ),
    ],
    tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of each run; default the fewest of any run."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the images drawn for equal budgets.")] = 0,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Write tables (CSV) and figures here.")
    ] = None,
    kind: Format = None,
) -> None:
    """Use of codebooks at equal tokens: entropies, digits, codes seen and not seen, reconstruction."""
    from ibstats.report import codebooks
    from ibstats.results.runs import run_names
    from ibstats.store import open_store

    stores = [open_store(run) for run in runs]
    codes, parts = codebooks.codebook(stores, run_names(stores), n_tokens=tokens, seed=seed)
    show(parts)
    if folder is not None:
        made = codebooks.write(codes, parts, folder, kind)
        say(f"{len(made)} files in {folder}")
