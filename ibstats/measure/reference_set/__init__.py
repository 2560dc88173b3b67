"""Reference sets: images that generated ones are compared with, as statistics of their features.

`build` in `making` makes the file of one.
"""

from ibstats.measure.reference_set.file import (
    SHIPPED,
    LoadedSet,
    check,
    declared,
    read,
    write,
)
from ibstats.measure.reference_set.sources import RESIZE, images_of, parsed_size, prepare
from schemas.moved import attributes

__all__ = [
    "RESIZE",
    "SHIPPED",
    "LoadedSet",
    "check",
    "declared",
    "images_of",
    "parsed_size",
    "prepare",
    "read",
    "write",
]

__getattr__ = attributes(__name__)
