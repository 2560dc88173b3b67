"""Why an interval lacks a bound: said in the note of each such row, and once below the tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.results import ResultRow

REASON = (
    "a bound that is missing would rest on resamples of one repeated prompt: too few prompts, "
    "or too few that differ"
)


def with_reason(row: ResultRow) -> ResultRow:
    """The row, with a note where its studentized interval is open on one side or both."""
    bounded = row.low is not None and row.high is not None
    if row.estimate is None or row.interval_method != "studentized" or bounded:
        return row
    return row.model_copy(update={"note": f"{row.note}; {REASON}" if row.note else REASON})


def remark(row: ResultRow) -> str:
    """The note of a row without that reason."""
    return (row.note or "").removesuffix(REASON).removesuffix("; ")


def open_intervals(rows: Iterable[ResultRow]) -> str:
    """What a dash in an interval of these rows means; empty if there is none."""
    return (
        f"– in an interval: {REASON}"
        if any(row.note and remark(row) != row.note for row in rows)
        else ""
    )
