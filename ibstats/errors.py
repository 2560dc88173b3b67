"""Errors of `ibstats`: one line that names the thing, the value seen, what is allowed and the likely repair."""

from __future__ import annotations

from collections.abc import Iterable

from schemas import errors

IbstatsError = errors.UserError
"""Anything a user can mend. The command line prints it as one line; others keep their traceback."""
StoreNotFound = errors.StoreNotFound
NotAStore = errors.NotAStore
ForeignStore = errors.ForeignStore
UnsupportedVersion = errors.UnsupportedVersion
CorruptStore = errors.CorruptStore
CorruptBlock = errors.CorruptBlock
StoreContractError = errors.StoreContractError
IncompleteStore = errors.IncompleteStore


class Unmeasurable(IbstatsError):
    """Something cannot be measured on these images here, while other things may be."""


class MissingWeights(Unmeasurable):
    """It needs a weight file that is not on this machine."""


class MissingPackages(Unmeasurable):
    """It needs a package that is not installed."""


class MissingImages(Unmeasurable):
    """It needs images that are not beside the tokens."""


def unknown(kind: str, name: object, known: Iterable[str]) -> IbstatsError:
    """The error for a name outside a closed list."""
    return IbstatsError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
