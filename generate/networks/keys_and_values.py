"""The keys and values that a network keeps of a sequence while it samples."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class KeysAndValues:
    """How many there are of one row of a batch.

    `heads` are those of the keys, which may be fewer than those of the queries, `head_dim` numbers
    each; `length` places of the sequence are kept in each of the `layers`.
    """

    layers: int
    heads: int
    head_dim: int
    length: int

    def shape(self, rows: int) -> tuple[int, int, int, int, int]:
        """Shape (layer, row, head, place, head_dim) of the keys of so many rows.

        That of their values is the same.
        """
        return self.layers, rows, self.heads, self.length, self.head_dim

    @property
    def numbers(self) -> int:
        """Numbers of a row, keys and values together.

        >>> KeysAndValues(layers=2, heads=4, head_dim=8, length=10).numbers
        1280
        """
        return 2 * math.prod(self.shape(1))
