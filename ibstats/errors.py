"""Errors of `ibstats`: one line that names the thing, the value seen, what is allowed and the likely repair."""

from __future__ import annotations

from collections.abc import Iterable


class IbstatsError(ValueError):
    """Anything a user can mend. The command line prints it as one line; other exceptions keep their traceback."""


class StoreNotFound(IbstatsError):
    """The path does not exist."""


class NotAStore(IbstatsError):
    """The path exists but holds no finished run."""


class ForeignStore(IbstatsError):
    """`run.json` belongs to another kind of data."""


class UnsupportedVersion(IbstatsError):
    """The store was written under a major version this program does not read."""


class CorruptStore(IbstatsError):
    """A metadata file of the store cannot be parsed."""


class CorruptBlock(IbstatsError):
    """A stored object does not agree with its ledger record."""


class StoreContractError(IbstatsError):
    """A variable is missing or has the wrong dims, dtype or values."""


class IncompleteStore(IbstatsError):
    """The ledger lacks blocks that the question needs."""


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
