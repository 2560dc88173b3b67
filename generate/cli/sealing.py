"""Commands on the ledger of a finished run: `seal`, `unseal`."""

from __future__ import annotations

from generate.cli.console import out
from generate.cli.options import RunArgument


def seal(run_dir: RunArgument) -> None:
    """Put the records of a finished run into a few tables, so that it opens at once.

    A run of a million blocks has a million small files; sealed it has a few hundred. Samples and
    digest stay what they are. It can be killed at any moment and called again. `unseal` undoes it.
    """
    from generate.store import sealing
    from generate.store.samples import SampleStore

    store = SampleStore.open(run_dir, check=False)
    found = sealing.seal(store)
    n_records = sum(piece.stop - piece.start for piece in found.pieces)
    out.print(
        f"{run_dir}: sealed, {n_records} records in {len(found.pieces)} tables; digest "
        f"{found.snapshots['*/*'][:16]}"
    )


def unseal(run_dir: RunArgument) -> None:
    """Give a sealed run a record a block again, so that blocks can be repaired.

    It can be killed at any moment and called again. A run that is not sealed stays as it is.
    """
    from generate.store import sealing
    from generate.store.samples import SampleStore

    n_records = sealing.unseal(SampleStore.open(run_dir, check=False))
    out.print(f"{run_dir}: not sealed, {n_records} records put back")
