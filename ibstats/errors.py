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
    """Something cannot be measured on these images here, while other things may be.

    An analysis that did not ask for it by name leaves it out, with the message as a note.
    """


class MissingWeights(Unmeasurable):
    """It needs a weight file that is not on this machine.

    The message says how to get it or where to name it.
    """


class MissingPackages(Unmeasurable):
    """It needs a package that is not installed.

    The message names the extra of the installation that brings it.
    """


class MissingImages(Unmeasurable):
    """It needs images that are not beside the tokens.

    Measure where they are, and copy the results along; tokens are analysed without them.
    """


def unknown(kind: str, name: object, known: Iterable[str]) -> IbstatsError:
    """The error for a name outside a closed list, which it lists.

    >>> print(unknown("metric", "ssmi", ["ssim", "pixel"]))
    unknown metric 'ssmi'; known: ssim, pixel
    """
    return IbstatsError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
