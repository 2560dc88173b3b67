"""Cells in words without style: what every renderer of text shows of them."""

from __future__ import annotations

from ibstats.report.table import Cell, Count, Interval, Missing, Number, P, Text, stars
from ibstats.results import words


def text(cell: Cell, *, folded: bool = False) -> str:
    """A cell in words; `folded` puts an interval on a line below its estimate.

    >>> text(Interval(-0.25, -0.5, 0.0, 2, word="drop"))
    '-0.25 [-0.50, 0.00] drop'
    """
    match cell:
        case Text(said):
            return said
        case Count(value):
            return words.number(value, 0)
        case Number(value, digits):
            return words.number(value, digits)
        case P(value):
            return words.p_value(value)
        case Missing():
            return words.DASH
        case Interval():
            return _interval(cell, folded=folded)


def _interval(cell: Interval, *, folded: bool) -> str:
    estimate = words.number(cell.estimate, cell.digits)
    bounds = words.bracket(cell.low, cell.high, cell.digits)
    if cell.degenerate:
        bounds = "degenerate"
    marks = _joined(stars(cell.p), words.WEAK if cell.weak else "")
    if folded:
        return f"{_joined(cell.sign, estimate, marks, cell.word)}\n{bounds}"
    return _joined(cell.sign, estimate, bounds, marks, cell.word)


def _joined(*parts: str) -> str:
    """Those parts that are not empty, with spaces between them."""
    return " ".join(filter(None, parts))
