"""What a user can mend: one base for both programs, and the errors of reading and writing a run.

A message is one line that names the thing, the value seen, what is allowed and the likely repair.
The command lines print it as it is and end with a non-zero status; any other exception keeps its
traceback, and a line that says whose error it is.
"""

from __future__ import annotations

import logging

from schemas.user_code import raised_in


class UserError(ValueError):
    """Anything a user can mend.

    `ibstats.IbstatsError` and `generate.errors.GenerateError` are this class.
    """


class StoreError(UserError):
    """A run is not what the command needs.

    Those below say in which way, so that a caller can tell them apart.
    """


class StoreNotFound(StoreError):
    """The path does not exist."""


class NotAStore(StoreError):
    """The path exists but holds no finished run.

    It is another folder, or a run whose creation was interrupted before `run.json`, its last step.
    """


class ForeignStore(StoreError):
    """`run.json` belongs to another kind of data."""


class UnsupportedVersion(StoreError):
    """The store was written under a major version this program does not read.

    A minor version that is newer is read with a warning.
    """


class CorruptStore(StoreError):
    """A file of metadata, or a record, is not the one that was written.

    It cannot be parsed, does not follow its schema, or has another checksum than its own.
    """


class CorruptBlock(StoreError):
    """A stored object does not agree with its ledger record.

    `ibgenerate verify --repair` drops such blocks, and the next run makes them again.
    """


class StoreContractError(StoreError):
    """A variable is missing or has the wrong dims, dtype or values.

    Raised where a run is read, and before anything wrong would be written.
    """


class DiskError(StoreError):
    """A disk or a share failed, or became read-only; everything committed is kept."""


class DiskFullError(DiskError):
    """The disk or a quota is full; everything committed is kept."""


class IncompleteStore(StoreError):
    """The ledger lacks blocks that the question needs.

    Finish the run, or allow a part of it (`allow_partial`).
    """


def broken_off() -> None:
    """Have nothing said of reads that Ctrl-C broke off, of which the loop behind Zarr complains."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)


def internal(program: str, error: BaseException) -> str:
    """Say whose an unforeseen error is, and what to do; it stands below a traceback.

    The program's own, to be reported, or that of code of the user's, to be mended there.

    >>> internal("ibstats", RuntimeError("a slip")).split(":")[0]
    'this is an error of ibstats itself, not of your input'
    """
    place = raised_in(error)
    if place is not None:
        return (
            f"it came up in {place}, or in what is called there: the lines above say what; "
            "mend it there. What was finished is kept."
        )
    return (
        f"this is an error of {program} itself, not of your input: please report it, with the "
        "lines above and the command, as an issue of its repository. What was finished is kept."
    )


def out_of_memory(error: BaseException) -> str:
    """Say that the memory of this machine does not suffice, in one line.

    >>> out_of_memory(MemoryError("Unable to allocate 7 TiB"))
    'there is not enough memory (Unable to allocate 7 TiB): ask for less, or use a larger machine.'
    """
    reason = " ".join(str(error).split()) or "no more could be had"
    return f"there is not enough memory ({reason}): ask for less, or use a larger machine."
