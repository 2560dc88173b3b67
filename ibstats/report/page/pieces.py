"""Where the pieces of galleries go: into the page, thinned to fit, or beside it as files."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ibstats.report.page.gallery import Gallery, Piece
from schemas.io.files import write_whole

TRIED = 3
"""Prompts of a gallery whose sizes tell how many fit."""
HOPE = 1.1
"""How much more than was expected to fit is tried first."""
STEP = 0.98
"""What a share that was too large shrinks by, besides what it was too large by."""


@dataclass
class Inside:
    """Pieces as one text of base64; the page finds one by start and length."""

    parts: list[str] = field(default_factory=list)
    size: int = 0
    """Characters so far."""
    made: dict[str, str] = field(default_factory=dict)
    """Pieces by name, so that none is made twice."""

    def put(self, piece: Piece) -> tuple[int, int]:
        """Take a piece in; gives its start and length."""
        text = self._text(piece)
        start = self.size
        self.parts.append(text)
        self.size += len(text)
        return start, len(text)

    def need(self, gallery: Gallery, prompt: str) -> int:
        """Characters that the pieces of a prompt take."""
        return sum(len(self._text(piece)) for piece in gallery.pieces(prompt))

    def _text(self, piece: Piece) -> str:
        if piece.name not in self.made:
            self.made[piece.name] = b64encode(piece.make()).decode("ascii")
        return self.made[piece.name]


@dataclass(frozen=True)
class Beside:
    """Pieces as files in a folder beside the page, which is found by their names alone."""

    folder: Path

    def put(self, piece: Piece) -> str:
        """Write a piece; gives its name."""
        write_whole(self.folder / piece.name, piece.make())
        return piece.name


def named(piece: Piece) -> str:
    """The name of a piece that is made when it is asked for."""
    return piece.name


def fitting(galleries: Sequence[Gallery], inside: Inside, room: int) -> list[list[str]]:
    """Prompts of each gallery whose pieces fit into `room` characters.

    All, or the same share of every gallery, evenly spaced, at least one of each; of galleries that
    do not fit even so, the last ones are left out, as no prompts.
    """
    likely = 0.0
    for gallery in galleries:
        tried = evenly(gallery.prompts, min(TRIED, len(gallery.prompts)))
        sizes = [inside.need(gallery, prompt) for prompt in tried]
        likely += len(gallery.prompts) * sum(sizes) / len(sizes)
    share = 1.0
    if likely > HOPE * room:
        share = HOPE * room / likely
    n_galleries = len(galleries)
    while True:
        chosen = [_share(gallery, share) for gallery in galleries[:n_galleries]]
        used = 0
        for gallery, prompts in zip(galleries, chosen, strict=False):
            used += sum(inside.need(gallery, prompt) for prompt in prompts)
        if used <= room or not chosen:
            return chosen + [[] for _ in galleries[n_galleries:]]
        if max(map(len, chosen)) == 1:
            n_galleries -= 1
        share *= STEP * min(1.0, room / used)


def _share(gallery: Gallery, share: float) -> list[str]:
    n = len(gallery.prompts)
    return evenly(gallery.prompts, min(n, max(1, int(share * n))))


def evenly(names: Sequence[str], n: int) -> list[str]:
    """`n` of some names, evenly spaced from the first to the last.

    >>> evenly("abcdefghi", 3)
    ['a', 'e', 'i']
    """
    places = np.linspace(0, len(names) - 1, n).round().astype(int)
    return [names[place] for place in places]
