"""Numbers of results in words: how they are written, how intervals were made, why one is open.

Every table, figure caption and sentence takes its words here, so a fact is said in one way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ibstats.quantities import quantity
from ibstats.results.lookup import distinct

if TYPE_CHECKING:
    from schemas.results import ResultRow

DASH = "–"
"""What stands for a number that is undefined or was not measured."""

MARKS = (
    "* p Holm < .05, ** < .01, *** < .001, two-sided over prompts, of the law that made the "
    "intervals, which are unadjusted"
)
"""What the marks behind a number mean."""

REASON = (
    "a bound that is missing would rest on resamples of one repeated prompt: too few prompts, "
    "or too few that differ"
)
"""Why an interval is open, as the note of a row says it."""

WEAK = "†"
"""What stands behind a number that cannot be leaned on, where it is greyed out, and at its note."""

SMALLEST_P = 1e-4
"""Smaller p values are only said to be smaller."""


def number(value: float | None, digits: int = 4) -> str:
    """A number with fixed decimals, a dash where undefined.

    >>> number(0.25, 2), number(-0.0001, 2), number(None)
    ('0.25', '0.00', '–')
    """
    if value is None:
        return DASH
    return f"{value:z.{digits}f}"


def bracket(low: float | None, high: float | None, digits: int = 4) -> str:
    """An interval in brackets, a dash for a missing bound; empty where both are missing.

    >>> bracket(0.1, None, 2)
    '[0.10, –]'
    """
    if low is None and high is None:
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def interval(row: ResultRow, digits: int = 4) -> str:
    """The estimate of a row with its interval, or `degenerate` where nothing varied over prompts.

    `digits` are the decimals of the estimate and of both bounds.
    """
    estimate = number(row.estimate, digits)
    if row.degenerate:
        return f"{estimate} degenerate"
    return f"{estimate} {bracket(row.low, row.high, digits)}".rstrip()


def decimals(low: float | None, high: float | None, least: int = 2, most: int = 4) -> int:
    """Decimals that show an interval to two digits, between `least` and `most`.

    Three where it has no width, or none of its bounds is known.

    >>> decimals(0.25, 0.75), decimals(0.011, 0.013), decimals(0.5, 0.5)
    (2, 4, 3)
    """
    if low is None or high is None or low == high:
        return 3
    return min(max(1 - math.floor(math.log10(high - low)), least), most)


def percent(row: ResultRow) -> str:
    """A share with its interval, in percent.

    Without brackets where there is no interval, or one of width 0; a dash where it is undefined.
    """
    if row.estimate is None:
        return DASH
    if row.degenerate or row.low is None or row.high is None:
        return f"{row.estimate:.0%}"
    return f"{row.estimate:.0%} [{row.low:.0%}, {row.high:.0%}]"


def p_value(p: float | None) -> str:
    """A p value with four decimals, never written as zero; a dash where there was no test.

    >>> p_value(0.0312), p_value(3e-9)
    ('0.0312', '<.0001')
    """
    if p is not None and p < SMALLEST_P:
        return "<.0001"
    return number(p)


def extent(rows: Iterable[ResultRow], field: str) -> str:
    """A count that rows state, such as `n_prompts`, or the least and the most where they differ.

    Empty where no row states it.
    """
    return counts(distinct(rows, field))


def images(rows: Sequence[ResultRow]) -> str:
    """Images of a prompt that rows are of, or the least and the most; empty where no row states it.

    >>> from schemas.results import ResultRow
    >>> row = dict(model="m", experiment="e", section="diversity", term="", quantity="ssim")
    >>> row |= dict(units="1", estimate=0.5, n_prompts=6, n_images=2, n_images_most=3)
    >>> images([ResultRow(**row)])
    '2 to 3'
    """
    return counts([*distinct(rows, "n_images"), *distinct(rows, "n_images_most")])


def counts(found: Sequence[int]) -> str:
    """A count, or the least and the most where several differ; empty without any.

    >>> counts([3, 3]), counts([12, 3])
    ('3', '3 to 12')
    """
    if not found:
        return ""
    least, most = min(found), max(found)
    if least == most:
        return str(least)
    return f"{least} to {most}"


def margins(found: Iterable[float]) -> str:
    """Say within what changes count as equal: one margin, or from the least to the most.

    >>> margins([0.0276, 0.0332, 0.03]), margins([0.05])
    ('±0.028 to ±0.033', '±0.05')
    """
    ordered = sorted(found)
    ends = [f"±{margin:.2g}" for margin in (ordered[0], ordered[-1])]
    return " to ".join(dict.fromkeys(ends))


def snapshot(digest: str) -> str:
    """A snapshot as it is written everywhere, by its first sixteen digits."""
    return digest[:16]


def better(name: str) -> str:
    """Which end of a quantity is good, in words; empty where neither is.

    >>> better("fid")
    'smaller is better'
    """
    end = quantity(name).better
    if not end:
        return ""
    return f"{end} is better"


METHODS = {
    "studentized": "studentized bootstrap",
    "guarded": "outermost of studentized bootstrap, transformed t and t",
    "symmetric": "symmetric studentized bootstrap",
    "bca": "bca bootstrap",
    "percentile": "percentile bootstrap",
    "t": "t (where ties leave the bootstrap no bound)",
    "hall": "transformed t and t (where ties leave the bootstrap no bound)",
    "agreement": "what agreement by chance leaves (where all prompts are alike)",
}
"""How an interval was made, in a caption."""


def made(rows: Sequence[ResultRow]) -> str:
    """How the intervals of some rows were made, for the caption of their table or figure.

    Level, method, what was resampled, number of resamples and seed; of rows that differ in their
    counts, the least and the most. Empty where no row has an interval.
    """
    found = [row for row in rows if row.interval_method]
    if not found:
        return ""
    one = found[0]
    level = how = ""
    if one.level:
        level = f"{one.level:.0%} "
    if one.n_resamples:
        how = f", {one.n_resamples} resamples, seed {one.seed}"
    named = distinct(found, "interval_method")
    methods = " or ".join(METHODS.get(name, name) for name in named)
    units = f"{extent(found, 'n_prompts')} prompts"
    if one.n_units:
        units = f"{extent(found, 'n_units')} blocks of {units}"
    said = f"{level}intervals: {methods} over {units}"
    return f"{said} with {images(found)} images each{how}."


def made_briefly(rows: Sequence[ResultRow]) -> str:
    """How the intervals of some rows were made, in a line: level, method, prompts, seed.

    See `made` for the whole of it. Empty where no row has an interval.
    """
    found = [row for row in rows if row.interval_method]
    if not found:
        return ""
    methods = [METHODS.get(name, name) for name in distinct(found, "interval_method")[:1]]
    level = f"{found[0].level:.0%} " if found[0].level else ""
    return f"{level}intervals: {methods[0]} over {extent(found, 'n_prompts')} prompts"


def is_open(row: ResultRow) -> bool:
    """Whether a studentized interval lacks a bound.

    Such a bound would rest on resamples of one repeated prompt; other methods always give both.
    """
    bounded = row.low is not None and row.high is not None
    return row.estimate is not None and row.interval_method == "studentized" and not bounded


def with_reason(row: ResultRow) -> ResultRow:
    """The row, with a note where its studentized interval is open on one side or both.

    Rows of exported results carry it, so that a CSV explains itself.
    """
    if not is_open(row):
        return row
    note = REASON
    if row.note:
        note = f"{row.note}; {REASON}"
    return row.model_copy(update={"note": note})


def remark(row: ResultRow) -> str:
    """The note of a row without the reason of an open interval; empty if it has no other.

    Tables give the reason once, below, and the rest of the note where it belongs.
    """
    note = row.note or ""
    if not is_open(row):
        return note
    return note.removesuffix(REASON).removesuffix("; ")


def remarks(rows: Iterable[ResultRow]) -> list[str]:
    """The different notes of some rows, in order, each as `remark` says it.

    Rows without a note of their own add nothing; the note of a number that cannot be leaned on has
    the mark that stands behind it.
    """
    found: dict[str, None] = {}
    for row in rows:
        note = remark(row)
        if note and row.weak:
            note = f"{WEAK} {note}"
        found[note] = None
    found.pop("", None)
    return list(found)


def open_intervals(rows: Iterable[ResultRow]) -> str:
    """What a dash in an interval of these rows means; empty if no interval is open.

    One sentence for a whole table.
    """
    if any(map(is_open, rows)):
        return f"{DASH} in an interval: {REASON}"
    return ""


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def times(effect: str) -> str:
    """An effect, its factors joined by a multiplication sign; a colon before a space is one in words.

    >>> times("sampling:codebook"), times("random: synergy")
    ('sampling × codebook', 'random: synergy')
    """
    return re.sub(r":(?! )", " × ", effect)
