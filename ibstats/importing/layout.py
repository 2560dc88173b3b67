"""A layout: a path with fields in braces, and the files of a folder that match it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ibstats.errors import IbstatsError

FIELD = re.compile(r"\{([A-Za-z_]\w*)\}|\*")
OURS = ("condition", "prompt", "sample")
"""Fields with a meaning of their own; any other one is a factor."""
Cell = tuple[str, str]
"""A condition and a prompt, as the files name them."""
KEYED = (".npz", ".zarr")
"""Endings of what may hold several arrays, whose name then follows, as in `{prompt}.npz:tokens`."""


@dataclass(frozen=True)
class Layout:
    """A pattern of paths: `{condition}/{prompt}/{sample}.png`, `*` for anything within a name.

    >>> layout = layout_of("{condition}/{prompt}-{sample}.*")
    >>> layout.match("greedy/a-cat-3.png")
    {'condition': 'greedy', 'prompt': 'a-cat', 'sample': '3'}
    """

    text: str
    """The pattern as given."""
    key: str
    """Name of the array in an NPZ file or a Zarr group; empty for its only one."""
    expression: re.Pattern[str]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, in the order of the path.

        A field that stands there twice is named once.
        """
        return tuple(self.expression.groupindex)

    @property
    def factors(self) -> tuple[str, ...]:
        """Fields that are factors: those without a meaning of their own.

        A condition is then made of their levels.
        """
        return tuple(name for name in self.fields if name not in OURS)

    @property
    def per_sample(self) -> bool:
        """Whether a file holds one sample.

        Otherwise it holds all samples of its prompt in its condition.
        """
        return "sample" in self.fields

    def match(self, path: str) -> dict[str, str] | None:
        """Give the value of each field in a path.

        The path is relative to the folder, with `/`. None if it does not match.
        """
        found = self.expression.fullmatch(path)
        return None if found is None else found.groupdict()


def layout_of(text: str) -> Layout:
    """Give the layout of a pattern.

    Raises IbstatsError for one without `{prompt}`, and for one that names both `{condition}` and
    factors.
    """
    path, key = text, ""
    if any(f"{suffix}:" in text for suffix in KEYED):
        path, _, key = text.rpartition(":")
    parts, last = [], 0
    seen: set[str] = set()
    for found in FIELD.finditer(path):
        parts.append(re.escape(path[last : found.start()]))
        parts.append(_expression(found[1], seen))
        last = found.end()
    parts.append(re.escape(path[last:]))
    layout = Layout(text, key, re.compile("".join(parts)))
    if "prompt" not in layout.fields:
        raise IbstatsError(
            f"layout '{text}' does not name {{prompt}}; it reads like "
            "'{condition}/{prompt}/{sample}.png'"
        )
    if "condition" in layout.fields and layout.factors:
        raise IbstatsError(
            f"layout '{text}' names {{condition}} and {{{layout.factors[0]}}}; a condition is "
            "named, or made of factors, not both"
        )
    return layout


def _expression(field: str | None, seen: set[str]) -> str:
    """Give the expression of a field: what stands there once must stand there each time."""
    if field is None:
        return "[^/]*"
    if field in seen:
        return f"(?P={field})"
    seen.add(field)
    return f"(?P<{field}>[^/]+)"


def natural(names: Iterable[str]) -> list[str]:
    """Give the names in the order that people expect: numbers by their value.

    >>> natural(["10", "9", "b2", "b10"])
    ['9', '10', 'b2', 'b10']
    """
    return sorted(names, key=_natural_key)


def _natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = []
    for part in re.split(r"([0-9]+)", name):
        if part.isascii() and part.isdigit():
            parts.append((0, int(part), ""))
        elif part:
            parts.append((1, 0, part))
    return parts, name
