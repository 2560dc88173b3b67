"""Where commands print: answers to stdout, what happens meanwhile to stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Column, Table

from generate.run.display import Follower, display
from schemas.errors import broken_off
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
        broken_off()
        log.print("interrupted; committed blocks are kept: run the same command to go on.")
        raise typer.Exit(INTERRUPTED) from None


def print_table(table: Table) -> None:
    """Print a table to stdout with every word whole.

    Each column gets what its longest word takes, and the first ones what is left, since the library
    shrinks columns below their words. Where the screen is too narrow for that, each row is a block
    of lines, a cell a line.
    """
    least = [_widest(column, whole=False) for column in table.columns]
    room = out.width - 1 - BETWEEN * len(least) - sum(least)
    if room >= 0:
        for column, width in zip(table.columns, least, strict=True):
            more = min(room, _widest(column, whole=True) - width)
            column.width = width + more
            room -= more
        out.print(table)
        return
    if table.title:
        out.print(table.title)
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        for column, cell in zip(table.columns, cells, strict=True):
            if cell:
                out.print(f"{column.header}: {cell}")
        out.print()


def _widest(column: Column, *, whole: bool) -> int:
    """Characters of the longest cell of a column, or of its longest word; its header is one too."""
    texts = [str(cell) for cell in (column.header, *column.cells)]
    if not whole:
        texts = " ".join(texts).split()
    return max(map(len, texts), default=0)


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
