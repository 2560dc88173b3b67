"""The last results of something that takes long, by text."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")

MOST = 512
"""Texts whose results are kept."""


class Recent(Generic[Result]):
    """Results by text, the least recent of which goes first.

    It holds no function, so that a model that keeps one is let go with its last name: a cached
    method would refer back to its model, and keep the memory of a GPU until the next collection.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Result] = OrderedDict()

    def of(self, text: str, make: Callable[[str], Result]) -> Result:
        """The result of a text: the one kept, or what `make` gives.

        >>> lengths: Recent[int] = Recent()
        >>> lengths.of("cat", len), lengths.of("cat", lambda text: -1)
        (3, 3)
        """
        if text not in self._kept:
            self._kept[text] = make(text)
        self._kept.move_to_end(text)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return self._kept[text]
