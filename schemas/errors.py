"""What a user can mend: one base for both programs, and the errors of reading and writing a run.

A message is one line that names the thing, the value seen, what is allowed and the likely repair. The command lines
print it as it is and end with a non-zero status; any other exception keeps its traceback.
"""

from __future__ import annotations


class UserError(ValueError):
    """Anything a user can mend."""


class StoreError(UserError):
    """A run is not what the command needs."""


class StoreNotFound(StoreError):
    """The path does not exist."""


class NotAStore(StoreError):
    """The path exists but holds no finished run."""


class ForeignStore(StoreError):
    """`run.json` belongs to another kind of data."""


class UnsupportedVersion(StoreError):
    """The store was written under a major version this program does not read."""


class CorruptStore(StoreError):
    """A metadata file of the store cannot be parsed, or is not the one that was written."""


class CorruptBlock(StoreError):
    """A stored object does not agree with its ledger record."""


class StoreContractError(StoreError):
    """A variable is missing or has the wrong dims, dtype or values."""


class IncompleteStore(StoreError):
    """The ledger lacks blocks that the question needs."""
