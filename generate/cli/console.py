"""Where commands print: answers to stdout, what happens meanwhile to stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Table

from generate.run.display import Follower, display
from schemas.progress import Shown

# Names of files, models and prompts may hold brackets: no text is read as markup.
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
log = Console(stderr=True, highlight=False, markup=False, emoji=False)

BETWEEN = 3
"""Columns of the screen that a column of a table takes besides its text."""

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended, as shells have it."""


@contextmanager
def shown(asked: Shown = Shown.auto) -> Iterator[Follower]:
    """Progress on stderr; Ctrl-C ends with a line instead of a traceback."""
    try:
        with display(log, asked) as bars:
            yield bars
    except KeyboardInterrupt:
        log.print("interrupted; committed blocks are kept: run the same command to go on.")
        raise typer.Exit(INTERRUPTED) from None


def print_table(table: Table) -> None:
    """Print a table to stdout with every word whole.

    Where the screen is too narrow for that, each row is a block of lines, a cell a line.
    """
    for column in table.columns:
        column.overflow = "fold"
    if _least_width(table) <= out.width:
        out.print(table)
        return
    if table.title:
        out.print(table.title)
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        for column, cell in zip(table.columns, cells, strict=True):
            if cell:
                out.print(f"{column.header}: {cell}")
        out.print()


def _least_width(table: Table) -> int:
    """Columns of the screen that a table needs, rules included, for every word to be whole."""
    width = 1
    for column in table.columns:
        words = " ".join(map(str, [column.header, *column.cells])).split()
        column.min_width = max(map(len, words), default=0)
        width += column.min_width + BETWEEN
    return width


def scaled(number: float, unit: str) -> str:
    """A number of a unit with a decimal prefix, to three digits.

    >>> scaled(1234567, "B")
    '1.23 MB'
    """
    prefixes = ["", "k", "M", "G", "T", "P", "E"]
    while number >= 1000 and len(prefixes) > 1:
        number /= 1000
        prefixes.pop(0)
    return f"{number:.3g} {prefixes[0]}{unit}"
