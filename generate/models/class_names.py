"""Texts for class-conditional models: the names of ImageNet's classes, or their numbers."""

from __future__ import annotations

import difflib
import functools

from generate.errors import ModelError


@functools.cache
def class_names() -> tuple[str, ...]:
    """The names of ImageNet's 1000 classes, in the order of their numbers, as torchvision has them."""
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.IMAGENET1K_V2.meta["categories"])


def class_of(text: str) -> int:
    """The number of the class that a text names, by its name or its number.

    A name is looked for as it is written, then in lower case: 'Cardigan' is a dog, 'cardigan' a
    garment. Raises ModelError for a name of no class.

    >>> class_of("goldfish"), class_of("1"), class_of(" Goldfish")
    (1, 1, 1)
    """
    name, names = text.strip(), class_names()
    if name.isascii() and name.isdigit() and int(name) < len(names):
        return int(name)
    if name in names:
        return names.index(name)
    name, names = name.lower(), tuple(known.lower() for known in names)
    if name in names:
        return names.index(name)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    raise ModelError(
        f"'{text}' names no class of ImageNet{hint}: this model draws classes, so each prompt is the "
        "name of one, such as 'goldfish', or its number, 0 to 999."
    )
