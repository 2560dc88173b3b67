"""`ibgenerate`: make a store of samples from a study file."""

from __future__ import annotations

import sys
import traceback
import warnings
from typing import Annotated, Any

import typer
from rich.text import Text

from generate.cli import encode, models, prompts, rescore, run, sealing, status
from generate.cli.console import log
from generate.errors import GenerateError, one_line
from generate.extras import EXTRAS
from schemas.errors import internal, out_of_memory
from schemas.extras import lacking, package_of
from schemas.io.cluster import ClusterError
from schemas.io.refused import refusal
from schemas.version import __version__

COMMANDS = (
    run.run,
    run.create,
    run.calibrate,
    status.status,
    status.verify,
    sealing.seal,
    sealing.unseal,
    rescore.rescore,
    encode.encode,
    models.models,
    models.inspect,
    models.check,
    models.convert,
)
"""In the order of `ibgenerate --help`."""

AS_PYTHON = warnings.showwarning
"""How Python shows a warning: with the line of code that gave it."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=__doc__,
)
app.add_typer(prompts.app, name="prompts")
for command in COMMANDS:
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        print(f"ibgenerate {__version__}")
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
    """Run a command; an error a user can repair ends in one line and status 1."""
    warnings.showwarning = _warn
    try:
        app()
    except (GenerateError, ClusterError, OSError) as error:
        line = refusal(error) if isinstance(error, OSError) else str(error)
        if line is None:
            raise
        _refuse(line)
    except ModuleNotFoundError as error:
        package = package_of(error)
        if package not in EXTRAS:
            raise
        _refuse(lacking("this command", [package], EXTRAS))
    except MemoryError as error:
        _refuse(out_of_memory(error))
    except Exception as error:
        traceback.print_exc()
        _refuse(internal("ibgenerate", error))


def _warn(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """What a user should know on one line; warnings to programmers as Python has them."""
    if category is UserWarning:
        log.print(Text("warning:", "bold yellow"), one_line(message), soft_wrap=True)
    else:
        AS_PYTHON(message, category, *place, **more)


def _refuse(line: str) -> None:
    """End with one line and status 1."""
    log.print(Text("error:", "bold red"), line, soft_wrap=True)
    sys.exit(1)
