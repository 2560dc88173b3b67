"""Commands on the ledger and the objects of a finished run: `seal`, `unseal`."""

from __future__ import annotations

from typing import Annotated

import typer

from generate.cli.console import out
from generate.cli.options import RunArgument


def seal(
    run_dir: RunArgument,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge", help="Make the objects of neighbouring small blocks into large ones, too."
        ),
    ] = False,
) -> None:
    """Put the records of a finished run into a few tables, so that it opens at once.

    A run of a million blocks has a million records, a file each; sealed it has a few hundred
    tables. With `--merge` the samples of small blocks get a few large files as well, which takes
    the time of reading and writing each sample once, and room for them beside. Samples and digest
    stay what they are. It can be killed at any moment and called again. `unseal` undoes it.
    """
    from generate.store import sealing
    from generate.store.samples import SampleStore

    store = SampleStore.open(run_dir, check=False)
    found = sealing.seal(store, merge=merge)
    n_records = sum(piece.stop - piece.start for piece in found.pieces)
    out.print(
        f"{run_dir}: sealed, {n_records} records in {len(found.pieces)} tables; digest "
        f"{found.snapshots['*/*'][:16]}"
    )
    if merge and found.merged:
        n_objects = sum(len(each.objects) for each in store.ledger.merged.values())
        out.print(f"merged: {n_objects} objects in the place of those of the blocks")
    elif merge:
        out.print("nothing merged: the blocks of this run are large enough, or alone")


def unseal(run_dir: RunArgument) -> None:
    """Give a sealed run a record a block again, and its objects, so that blocks can be repaired.

    It can be killed at any moment and called again. A run that is not sealed stays as it is.
    """
    from generate.store import sealing
    from generate.store.samples import SampleStore

    n_records = sealing.unseal(SampleStore.open(run_dir, check=False))
    out.print(f"{run_dir}: not sealed, {n_records} records put back")
