"""Packages that only some parts of a program need: named in one line, with the extras that bring them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def lacking(what: str, packages: Iterable[str], extras: Mapping[str, str]) -> str:
    """The line that says which packages something needs and how to install them.

    `extras` has, by package, the smallest extra of the installation that brings it.

    >>> lacking("this command", ["torch"], {"torch": "distances"})
    "this command needs torch; pip install 'ibstats[distances]'"
    """
    names = list(packages)
    wanted = ",".join(sorted({extras[name] for name in names}))
    return f"{what} needs {', '.join(names)}; pip install 'ibstats[{wanted}]'"


def package_of(error: ModuleNotFoundError) -> str:
    """The package whose import failed, by its first name; empty where the error names none.

    >>> package_of(ModuleNotFoundError(name="torch.nn"))
    'torch'
    """
    return (error.name or "").split(".")[0]
