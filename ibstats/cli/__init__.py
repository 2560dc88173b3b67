"""`ibstats`: the command line. Each command parses, calls one public function and prints where results went.

What a command runs is imported inside it, so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer
from rich.text import Text

from ibstats.cli import codebook, numbers, pages, reference, reports, runs
from ibstats.errors import IbstatsError
from ibstats.extras import extras_named
from ibstats.options import log
from schemas.analysis import SettingsError
from schemas.errors import internal, out_of_memory
from schemas.io.cluster import ClusterError
from schemas.io.refused import refusal
from schemas.version import __version__

COMMANDS: dict[str, Callable[..., None]] = {
    "import": runs.import_samples,
    "describe": runs.describe,
    "cite": runs.cite_run,
    "methods": reports.methods,
    "verify": runs.verify,
    "clean": runs.clean,
    "report": reports.report,
    "page": pages.page,
    "view": pages.view,
    "diversity": numbers.diversity,
    "entropy": numbers.entropy,
    "information": numbers.information,
    "effects": numbers.effects,
    "quality": numbers.quality,
    "strategy": numbers.strategy,
    "decompose": numbers.decompose,
    "codebook": codebook.codebook,
    "ablations": reports.ablations,
    "figures": reports.figures,
    "export": reports.export,
    "publish": reports.publish,
    "power": numbers.power,
    "repro": reports.repro,
    "compare": reports.compare,
    "diff": reports.diff,
    "reference": reference.reference,
}
"""In the order of `ibstats --help`."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Where the diversity of an image generator comes from.",
)
for name, command in COMMANDS.items():
    app.command(name)(command)


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
    except Exception as error:
        traceback.print_exc()
        _refuse(internal("ibstats", error))


def _refuse(line: str) -> None:
    """End with one line and status 1."""
    log.print(Text("error:", "bold red"), line, highlight=False, soft_wrap=True)
    sys.exit(1)
