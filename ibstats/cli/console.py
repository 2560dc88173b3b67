"""Where commands print, and the arguments that several of them take."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from ibstats.report.table import Part

PAGE = 114
"""Columns of tables in a file or a pipe, which have no width of their own."""

COLUMNS, LINES = 80, 40
"""The most that an answer takes of a terminal."""

out = Console(markup=False, emoji=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = PAGE

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="Run directory, or a URL (s3://bucket/run).", show_default=False
    ),
]
Format = Annotated[
    list[str] | None, typer.Option("--format", help="png, pdf or svg; repeat for more.")
]
Columns = Annotated[
    int,
    typer.Option(
        min=1, max=2, help="Columns of a page that a figure spans: 3.4 inches for 1, 7.0 for 2."
    ),
]


def say(text: str) -> None:
    """One line of text taken literally: names of files, runs and models may hold brackets."""
    out.print(text, highlight=False, soft_wrap=True)


def show(parts: Sequence[Part]) -> None:
    """Tables and sentences on stdout, in order."""
    from ibstats.report.render import terminal

    terminal.show(parts, out)


def say_places(places: Mapping[str, str]) -> None:
    """Where files lie, by what lies in them, a line each."""
    for kind, where in places.items():
        say(f"{kind}: {where}")
