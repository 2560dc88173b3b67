"""Rows that are read as they are asked for, and otherwise are a sequence like any other."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

from typing_extensions import override

Row = TypeVar("Row")


class Rows(Sequence[Row]):
    """A sequence of rows, of which a subclass says how many there are and reads one."""

    @abc.abstractmethod
    def row(self, number: int) -> Row:
        """Give a row by its number, from 0, which is one of those that there are.

        It is read now; what is raised where it cannot be is for the subclass to say.
        """

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    @override
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self.row(number) for number in range(*index.indices(len(self)))]
        number = index
        if number < 0:
            number += len(self)
        if not 0 <= number < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self.row(number)

    @override
    def __iter__(self) -> Iterator[Row]:
        for number in range(len(self)):
            yield self.row(number)
