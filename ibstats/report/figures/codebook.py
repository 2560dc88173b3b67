"""Figures of how codebooks are used: codes by tokens and by rank, digits, reconstruction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ibstats.report.figures.canvas import canvas, legend_of, look
from ibstats.statistics.codebook import Codes, Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEIGHT = 2.6
"""Inches of a figure."""


def figures(codes: Mapping[str, Codes]) -> Iterator[tuple[str, Figure]]:
    """Name and figure: the rarefaction curves, the codes by their rank, digits, reconstruction.

    `codes` by what a curve is called. Digits and reconstruction are drawn where some codes have
    them.
    """
    yield "codebook-rarefaction", _rarefaction(codes)
    yield "codebook-ranks", _ranks(codes)
    with_digits = {name: one for name, one in codes.items() if one.levels}
    if with_digits:
        yield "codebook-digits", _digits(with_digits)
    restored = {name: one for name, one in codes.items() if one.squared_error is not None}
    if restored:
        yield "codebook-reconstruction", _reconstruction(restored)


def _rarefaction(codes: Mapping[str, Codes]) -> Figure:
    figure, panels = canvas(HEIGHT)
    panel = panels[0, 0]
    for number, (name, one) in enumerate(codes.items()):
        colour, marker = look(number)
        sizes, found = one.curve()
        tokens = sizes * one.n_positions
        panel.plot(tokens, found, color=colour, marker=marker, markersize=2.5, label=name)
        panel.axhline(one.expected_in_all, color=colour, linewidth=0.6, linestyle=":")
    panel.set_xscale("log")
    panel.set_ylim(bottom=0)
    panel.set_xlabel("tokens")
    panel.set_ylabel("codes seen (dotted: Chao's bound)")
    legend_of(figure, panel)
    return figure


def _ranks(codes: Mapping[str, Codes]) -> Figure:
    figure, panels = canvas(HEIGHT)
    panel = panels[0, 0]
    for number, (name, one) in enumerate(codes.items()):
        colour, _ = look(number)
        share = np.sort(one.counts[one.counts > 0])[::-1] / one.n_tokens
        panel.plot(np.arange(1, len(share) + 1), share, color=colour, label=name)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("rank of the code")
    panel.set_ylabel("share of the tokens")
    legend_of(figure, panel)
    return figure


def _digits(codes: Mapping[str, Codes]) -> Figure:
    """Share of its most that each digit has, and beside it the share that the code has."""
    figure, panels = canvas(HEIGHT)
    panel = panels[0, 0]
    for number, (name, one) in enumerate(codes.items()):
        colour, marker = look(number)
        shares = []
        for level, found in zip(one.levels, one.digit_entropies, strict=True):
            shares.append(found.value / math.log2(level))
        panel.plot(range(len(shares)), shares, color=colour, marker=marker, label=name)
        panel.axhline(one.entropy.value / one.capacity, color=colour, linewidth=0.6, linestyle=":")
    panel.set_ylim(0, 1.05)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.set_xlabel("digit, most significant first")
    panel.set_ylabel("H / most (dotted: whole code)")
    legend_of(figure, panel)
    return figure


def _reconstruction(codes: Mapping[str, Codes]) -> Figure:
    """PSNR against H(Z), with their intervals."""
    figure, panels = canvas(HEIGHT)
    panel = panels[0, 0]
    for number, (name, one) in enumerate(codes.items()):
        colour, marker = look(number)
        x, y = one.entropy, one.decibels
        panel.errorbar(
            [x.value],
            [y.value],
            xerr=_whiskers(x),
            yerr=_whiskers(y),
            color=colour,
            marker=marker,
            markersize=4,
            label=name,
        )
    panel.set_xlabel("H(Z), bit")
    panel.set_ylabel("PSNR, dB")
    legend_of(figure, panel)
    return figure


def _whiskers(one: Estimate) -> list[list[float]] | None:
    if one.low is None or one.high is None:
        return None
    return [[max(0.0, one.value - one.low)], [max(0.0, one.high - one.value)]]
