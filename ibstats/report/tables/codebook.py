"""Tables of how codebooks are used, a line a run and model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ibstats.quantities import quantity
from ibstats.report.table import Cell, Column, Count, Interval, Missing, Number, Part, Table, Text
from ibstats.statistics.codebook import MOST_GROUPS, N_RESAMPLES, NO_MATTER, Codes, Estimate
from ibstats.statistics.unseen import MOST_UNSEEN

USE = ("perplexity", "codes_used", "utilisation", "unseen_by_unit", "codes_expected")
"""What says how much of a codebook is used."""
BITS = (
    "capacity",
    "codebook_entropy",
    "collision_entropy",
    "entropy_given_position",
    "neighbour_information",
    "total_correlation",
)
FIDELITY = ("recovery", "psnr")

JACKKNIFED = (
    "plug-in entropies, jackknifed over images (over prompts where a run has several; over "
    f"{MOST_GROUPS} groups of them where there are more), with 95 % t intervals"
)
WEAK = (
    f"greyed out: rests on codes that were not seen (their mass is above {MOST_UNSEEN}), or has not "
    "settled: from half of the images to all it moves by more than half its half-width, and by more "
    f"than {NO_MATTER} bits; not to be relied on, read the collision entropies"
)

NO_LEVELS = "its ids have no digits"
NOT_MEASURED = "nobody decoded these codes"


def tables(codes: Mapping[str, Codes], how: str) -> list[Part]:
    """Use of the codebook, bits and fidelity, digits, and codes by number of images.

    `codes` by what a line is called; `how` says in words what budget they have in common.
    """
    made: list[Part] = [_use(codes, how), _bits(codes)]
    if any(one.recovered is not None for one in codes.values()):
        made.append(_fidelity(codes))
    if any(one.levels for one in codes.values()):
        made.append(_digits(codes))
    made.append(_rarefaction(codes))
    return made


def _cell(estimate: Estimate, digits: int = 3, reason: str = "undefined") -> Cell:
    if math.isnan(estimate.value):
        return Missing(reason)
    return Interval(estimate.value, estimate.low, estimate.high, digits, weak=estimate.weak)


def _with_weak(notes: Sequence[str], rows: Sequence[tuple[Cell, ...]]) -> tuple[str, ...]:
    """The notes of a table, and why cells of it are greyed out, where some are."""
    cells = [cell for row in rows for cell in row]
    if any(isinstance(cell, Interval) and cell.weak for cell in cells):
        return (*notes, WEAK)
    return tuple(notes)


def _heads(names: tuple[str, ...], kinds: Mapping[str, type[Cell]]) -> list[Column]:
    return [Column(quantity(name).short, kinds.get(name, Interval)) for name in names]


def _use(codes: Mapping[str, Codes], how: str) -> Table:
    kinds: dict[str, type[Cell]] = dict.fromkeys(USE[1:], Number)
    kinds["codes_used"] = Count
    columns = [Column("run"), Column("images", Count), Column("tokens", Count)]
    columns += [Column("codes", Count), *_heads(USE, kinds)]
    rows = []
    for name, one in codes.items():
        row = (
            Text(name),
            Count(one.n_images),
            Count(one.n_tokens),
            Count(one.n_codes),
            _cell(one.perplexity, 1),
            Count(one.used),
            Number(one.used / one.n_codes),
            Number(one.unseen),
            Number(one.expected_in_all, 1),
        )
        rows.append(row)
    notes = (
        how,
        "codes used and their share are of so many tokens, and grow with them; the mass not seen is "
        "that of codes which a single image shows (a single prompt, where a run has several); Chao's "
        "bound is of codes that ever more images would show at least",
    )
    title = "Use of the codebook"
    return Table("codebook-use", title, tuple(columns), tuple(rows), notes=_with_weak(notes, rows))


def _bits(codes: Mapping[str, Codes]) -> Table:
    columns = (Column("run"), *_heads(BITS, {"capacity": Number}))
    rows = []
    for name, one in codes.items():
        row = (
            Text(name),
            Number(one.capacity, 2),
            _cell(one.entropy),
            _cell(one.collision_entropy, reason="too few tokens agree"),
            _cell(one.entropy_given_position),
            _cell(one.neighbour_information),
            _cell(one.total_correlation, reason=NO_LEVELS),
        )
        rows.append(row)
    notes = _with_weak([f"bits of a token; {JACKKNIFED}"], rows)
    return Table("codebook-bits", "Bits of a token", columns, tuple(rows), notes=notes)


def _fidelity(codes: Mapping[str, Codes]) -> Table:
    columns = (Column("run"), *_heads(FIDELITY, {}))
    rows = []
    for name, one in codes.items():
        row = (
            Text(name),
            _cell(one.recovery, reason=NOT_MEASURED),
            _cell(one.decibels, 2, reason=NOT_MEASURED),
        )
        rows.append(row)
    notes = (
        f"recovered: the mean over images, with the 95 % interval of means over prompts, {N_RESAMPLES} "
        "resamples, seed 0; PSNR: of the error of all pixels together, jackknifed over images with "
        "95 % t intervals",
    )
    return Table("codebook-fidelity", "Reconstruction", columns, tuple(rows), notes=notes)


def _digits(codes: Mapping[str, Codes]) -> Table:
    columns = (
        Column("run"),
        Column("digit", Count),
        Column("levels", Count),
        Column("most", Number),
        Column("H(digit)", Interval),
    )
    rows = []
    for name, one in codes.items():
        for number, (level, found) in enumerate(zip(one.levels, one.digit_entropies, strict=True)):
            most = Number(math.log2(level), 2)
            rows.append((Text(name), Count(number), Count(level), most, _cell(found)))
    notes = _with_weak([f"digit 0 is the most significant of an id; {JACKKNIFED}"], rows)
    return Table("codebook-digits", "Bits of the digits", columns, tuple(rows), notes=notes)


def _rarefaction(codes: Mapping[str, Codes]) -> Table:
    """Codes that fewer images show: a line a number of images of any run."""
    sizes: set[int] = set()
    for one in codes.values():
        sizes.update(2**power for power in range(0, one.n_images.bit_length(), 2))
        sizes.add(one.n_images)
    columns = (Column("images", Count), *(Column(name, Number) for name in codes))
    rows = []
    for size in sorted(sizes):
        row: list[Cell] = [Count(size)]
        for one in codes.values():
            if size > one.n_images:
                row.append(Missing("not so many images"))
            else:
                row.append(Number(float(one.expected([size])[0]), 1))
        rows.append(tuple(row))
    notes = ("expected over all choices of so many images",)
    title = "Codes seen by number of images"
    return Table("codebook-rarefaction", title, columns, tuple(rows), notes=notes)
