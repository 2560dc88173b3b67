"""What a renderer of the user's is: `ibstats export RUN --format my_tables.py:Class`."""

from __future__ import annotations

import abc
from typing import ClassVar

from ibstats.report.table import Table


class Renderer(abc.ABC):
    """Turns each table for a paper into the text of a file of its own.

    A subclass sets `ending`, that of its files, without the dot, and defines `render`. Cells say
    what they are (`ibstats.report.table`); `ibstats.report.render.plain.text` gives one in words.

    >>> from ibstats.report.render import plain
    >>> from ibstats.report.table import Column, Count, Table, Text
    >>> class Lines(Renderer):
    ...     def render(self, table):
    ...         lines = []
    ...         for row in table.rows:
    ...             lines.append(": ".join(map(plain.text, row)))
    ...         return "\\n".join(lines)
    >>> columns = Column("model"), Column("codes", Count)
    >>> Lines().render(Table("t", "Codes", columns, ((Text("trio-ar"), Count(256)),)))
    'trio-ar: 256'
    """

    ending: ClassVar[str] = "txt"

    @abc.abstractmethod
    def render(self, table: Table) -> str:
        """The text of a file, of one table.

        Its intervals have the decimals that they bear. Words in it are plain text, which a renderer
        escapes in its own way.
        """
