"""Tables as CSV: one line a row, numbers in full, an interval in columns of its own."""

from __future__ import annotations

import csv
import io

from ibstats.report.table import Cell, Column, Count, Interval, Missing, Number, P, Table, Text

BOUNDS = ("low", "high", "degenerate", "word", "weak")
"""What follows an estimate."""


def render(table: Table) -> str:
    """The table as CSV text with a head line; a missing number is an empty field.

    >>> from ibstats.report.table import Column, Table, Text
    >>> columns = (Column("model"), Column("diversity", Interval))
    >>> table = Table("t", "T", columns, ((Text("a"), Interval(0.5, 0.25, 0.75)),))
    >>> print(render(table), end="")
    model,diversity,diversity low,diversity high,diversity degenerate,diversity word,diversity weak
    a,0.5,0.25,0.75,False,,False
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head: list[str] = []
    for column in table.columns:
        head += _heads(column)
    writer.writerow(head)
    for row in table.rows:
        fields: list[object] = []
        for column, cell in zip(table.columns, row, strict=True):
            fields += _fields(column, cell)
        writer.writerow(fields)
    return stream.getvalue()


def _heads(column: Column) -> list[str]:
    if column.kind is not Interval:
        return [column.head]
    return [column.head, *(f"{column.head} {bound}" for bound in BOUNDS)]


def _fields(column: Column, cell: Cell) -> list[object]:
    """Fields of a cell, as many as its column has."""
    width = len(_heads(column))
    return [*_values(cell), *[""] * width][:width]


def _values(cell: Cell) -> list[object]:
    match cell:
        case Text(said):
            return [said]
        case Count(value) | Number(value) | P(value):
            return [value]
        case Missing():
            return [""]
        case Interval():
            return [cell.estimate, cell.low, cell.high, cell.degenerate, cell.word, cell.weak]
