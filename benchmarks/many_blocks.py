"""A sealed run of up to a million blocks: how fast it is opened, looked at and analysed, in how much memory.

    python -m benchmarks.many_blocks [--blocks 10000 100000 1000000] [--keep FOLDER] [--write]

The records are made from that of one block, which the program itself samples. They are of ten experiments, of which
the first has all its objects, so that it can be analysed; those of the others are not there, which nobody who does not
ask for them notices. Every figure is of a process of its own, after its imports. At last the blocks of the first
experiment are merged, of the smallest run alone, and every step is timed on it again. `--write` puts the table into
`docs/limits.md`.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.growing import Taken, put_into_docs, table, taken, write_prompts
from generate.run.blocks import make_block
from generate.run.loading import load
from generate.run.preparing import prepare
from generate.store import merging
from generate.store.samples import SampleStore
from generate.store.sealing import Snapshots, quiet, write_table
from generate.study.planning import Plan, plan
from schemas.io import layout
from schemas.io.sealed import PIECE
from schemas.provenance import now
from schemas.sealed import LedgerPiece, SealRecord
from schemas.store import Block, BlockRecord, StoredObject, blocks_of, sealed, snapshot_lines
from schemas.study import Study

EXPERIMENTS, CONDITIONS, SAMPLES = 10, 8, 2
FIRST = "e0"
"""The experiment whose objects are there."""
NAME = "many blocks"
"""What marks the place of the table in the docs."""

OPEN = "store = ibstats.open_store(path)"
LOOK = "store = ibstats.open_store(path); store.snapshot(); store.complete('toy', 'e0')"
STATUS = "generate_app(['status', path], standalone_mode=False)"
DESCRIBE = "ibstats_app(['describe', path], standalone_mode=False)"
ANALYSE = "analyse(path, Config(parts=('information',), experiment='e0'))"
STEPS = {
    "open": OPEN,
    "open, digest, what is complete": LOOK,
    "`ibgenerate status`": STATUS,
    "`ibstats describe`": DESCRIBE,
    "token statistics of one experiment": ANALYSE,
}
"""What is timed, by what the table calls it."""

WARM = 'ibstats.open_store(path).dataset("toy", "e0").load()'
"""What each process has done before it is timed, on the smallest run."""


def study(folder: Path, n_blocks: int) -> Plan:
    """A study of so many blocks of one prompt each."""
    write_prompts(folder, n_blocks // EXPERIMENTS // CONDITIONS)
    asked = {
        "name": "many",
        "models": [
            {"model": "toy-masked", "label": "toy", "options": {"positions": 16, "codes": 64}}
        ],
        "prompts": {"source": "prompts.jsonl"},
        "calibration": {"source": "calibration.jsonl", "n": 50, "samples": 2},
        "experiments": {f"e{number}": {"kind": "factorial"} for number in range(EXPERIMENTS)},
        "samples": SAMPLES,
        "images": False,
        "block_prompts": 1,
    }
    return plan(Study.model_validate(asked), folder)


def copies(first: BlockRecord, blocks: Sequence[Block]) -> Iterator[BlockRecord]:
    """The record of one block as that of others: the same bytes under other names."""
    ours = f"{first.model}/{first.experiment}/"
    for block in blocks:
        objects = []
        for stored in first.objects:
            name = stored.key.removeprefix(ours).replace(
                f"/c.{first.condition}.{first.block}", f"/c.{block.condition}.{block.index}"
            )
            key = f"{block.model}/{block.experiment}/{name}"
            objects.append(
                StoredObject.model_construct(key=key, bytes=stored.bytes, sha256=stored.sha256)
            )
        yield first.model_copy(
            update={
                "experiment": block.experiment,
                "condition": block.condition,
                "block": block.index,
                "prompt_start": block.start,
                "prompt_stop": block.stop,
                "objects": objects,
            }
        )


def make(folder: Path, n_blocks: int) -> Path:
    """A sealed run of so many blocks, all of which are that of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    laid_out = study(folder, n_blocks)
    store = prepare(laid_out, folder / "run")
    block = next(iter(store.run.blocks()))
    make_block(laid_out, store, load(laid_out, "toy", "cpu"), block, device="cpu")
    record = store.ledger.read(block)
    assert record is not None
    contents = [
        (folder / "run" / layout.data_key(stored.key)).read_bytes() for stored in record.objects
    ]
    blocks = list(blocks_of("toy", FIRST, store.run.experiments[FIRST]))
    blocks.sort(key=lambda block: (block.condition, block.index))
    pieces, lines = [], []
    for start in range(0, len(blocks), PIECE):
        made = list(copies(record, blocks[start : start + PIECE]))
        write_objects(folder / "run", made, contents)
        lines += snapshot_lines(made)
        pieces.append(write_table(store.folder, made, start))
    snapshots = Snapshots()
    for experiment in sorted(store.run.experiments):
        under = f"toy/{experiment}/"
        snapshots.add("toy", experiment, [line.replace(f"toy/{FIRST}/", under) for line in lines])
        if experiment != FIRST:
            pieces += same_tables(store, pieces[: math.ceil(len(blocks) / PIECE)], experiment)
    seal = SealRecord(
        run_id=store.run.run_id,
        config_sha256=store.run.config_sha256,
        sealed=now(),
        pieces=pieces,
        snapshots=snapshots.digests(),
    )
    store.folder.create(layout.SEAL, sealed(seal))
    store.folder.discard(list(store.folder.sizes("ledger")))
    return folder / "run"


def same_tables(
    store: SampleStore, tables: Sequence[LedgerPiece], experiment: str
) -> Iterator[LedgerPiece]:
    """The tables of another experiment: no table holds the name of its own."""
    for piece in tables:
        key = layout.sealed_key(piece.model, experiment, piece.start, piece.sha256)
        store.folder.create(key, store.folder.read(piece.key))
        yield piece.model_copy(update={"experiment": experiment, "key": key})


def write_objects(root: Path, records: Sequence[BlockRecord], contents: Sequence[bytes]) -> None:
    """Write the objects of blocks, which are those of the first."""
    for record in records:
        for stored, content in zip(record.objects, contents, strict=True):
            (root / layout.data_key(stored.key)).write_bytes(content)


def sealed_and_unsealed(path: Path) -> str:
    """How long a real sealing takes: the records of the run put back, opened and sealed again."""
    from ibstats.store import open_store

    store = SampleStore.open(path, check=False)
    from generate.store.sealing import seal, unseal

    start = time.perf_counter()
    n_records = unseal(store)
    put_back = time.perf_counter()
    open_store(path)
    opened = time.perf_counter()
    seal(store)
    done = time.perf_counter()
    return (
        f"Of {n_records} records: `unseal` {put_back - start:.1f} s, opening with a file a record "
        f"{opened - put_back:.1f} s, `seal` {done - opened:.1f} s."
    )


def merge(store: SampleStore) -> None:
    """Merge the objects of the first experiment's blocks, as `ibgenerate seal --merge` does.

    Those of the other experiments are not there to be merged.
    """
    (first,) = (each for each in merging.to_merge(store) if each.experiment == FIRST)
    piece = merging.merge_dataset(store, first, quiet)
    assert store.ledger.seal is not None
    seal = store.ledger.seal.model_copy(update={"merged": [piece]})
    store.folder.replace(layout.SEAL, sealed(seal))
    merging.switch(store, store.ledger.seal, store.ledger.merged)


def before_and_after_merging(path: Path, before: Mapping[str, Taken]) -> str:
    """A table of the steps on a run whose blocks are merged, beside what they took `before`."""
    store = SampleStore.open(path, check=False)
    files, start = files_of_samples(store), time.perf_counter()
    merge(store)
    seconds = time.perf_counter() - start
    lines = ["| | a file a block | merged |", "|---|---|---|"]
    for name, code in STEPS.items():
        lines.append(f"| {name} | {before[name]} | {taken(code, path, WARM, path)} |")
    lines.append(f"| files of one experiment | {files} | {files_of_samples(store)} |")
    return "\n".join([*lines, "", f"Merging them took {seconds:.1f} s."])


def files_of_samples(store: SampleStore) -> str:
    """Files and bytes of the samples of the first experiment."""
    sizes = store.folder.sizes(layout.data_key(f"toy/{FIRST}")).values()
    return f"{len(sizes):,}, {sum(sizes) / 1e3:,.0f} kB"


def size_of(path: Path) -> str:
    """Files and bytes of what stands for the ledger, a block."""
    files = [
        file
        for name in ("sealed", "seal.json")
        for file in [path / name, *(path / name).rglob("*")]
    ]
    plain = [file for file in files if file.is_file()]
    n_bytes = sum(file.stat().st_size for file in plain)
    return f"{len(plain)} files, {n_bytes / 1e6:.1f} MB; run.json {(path / 'run.json').stat().st_size / 1e3:.0f} kB"


def main() -> None:
    """Make the runs, time each step on each, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--keep", type=Path, help="folder to keep the runs in")
    parser.add_argument("--write", action="store_true", help="put the table into docs/limits.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        found: dict[str, list[Taken]] = {name: [] for name in STEPS}
        said = []
        for n_blocks in given.blocks:
            path = folder / str(n_blocks) / "run"
            if not (path / layout.SEAL).exists():
                start = time.perf_counter()
                make(path.parent, n_blocks)
                print(f"{n_blocks} blocks made in {time.perf_counter() - start:.0f} s", flush=True)
            said.append(f"{n_blocks:,} blocks: {size_of(path)}")
            for name, code in STEPS.items():
                warm = folder / str(given.blocks[0]) / "run"
                found[name].append(taken(code, path, WARM, warm))
                print(n_blocks, name, found[name][-1], flush=True)
        smallest = folder / str(given.blocks[0]) / "run"
        said.append(sealed_and_unsealed(smallest))
        of_smallest = {name: measured[0] for name, measured in found.items()}
        of_merged = before_and_after_merging(smallest, of_smallest)
    notes = "\n".join(f"- {line}" for line in said)
    text = f"{table(given.blocks, 'blocks', found)}\n\n{notes}\n\n{of_merged}\n"
    print(text)
    if given.write:
        put_into_docs(NAME, text)


if __name__ == "__main__":
    main()
