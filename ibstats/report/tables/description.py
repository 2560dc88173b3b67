"""What a run holds, as a table."""

from __future__ import annotations

from ibstats.report.table import Cell, Column, Count, Paragraph, Part, Table, Text
from ibstats.results import words
from ibstats.store import Store

SNAPSHOTS = "snapshot: digest of the committed blocks; results carry that of their experiment, of all models"

COLUMNS = (
    Column("model"),
    Column("family"),
    Column("experiment"),
    Column("conditions", Count),
    Column("images each", Count),
    Column("grid"),
    Column("codes", Count),
    Column("complete"),
    Column("snapshot"),
)


def description(store: Store) -> list[Part]:
    """Identity of a run, and what each model and experiment holds.

    With the number of prompts that are complete in every condition.
    """
    record = store.run
    rows = []
    for model, identity in record.models.items():
        for experiment, plan in record.experiments.items():
            done = store.complete(model, experiment).all(axis=0)
            height, width = identity.grid
            row = (
                Text(model),
                Text(identity.family),
                Text(experiment),
                Count(len(plan.conditions)),
                _images_each(store, model, experiment),
                Text(f"{height}x{width}"),
                Count(identity.codebook_size),
                Text(f"{int(done.sum())}/{done.size} prompts"),
                Text(words.snapshot(store.snapshot(experiment=experiment))),
            )
            rows.append(row)
    origin, seed = "imported", ""
    if record.study is not None:
        origin = f"of study '{record.study.name}'"
        seed = f", seed {record.study.seed}"
    snapshot = words.snapshot(store.snapshot())
    return [
        Paragraph(f"run {record.run_id} {origin}, created {record.created}"),
        Paragraph(f"{record.n_prompts} prompts{seed}, snapshot of the run {snapshot}"),
        Table("description", "", COLUMNS, tuple(rows), notes=(SNAPSHOTS,)),
    ]


def _images_each(store: Store, model: str, experiment: str) -> Cell:
    """Images of a prompt in a condition: their number, or the fewest and the most."""
    most = store.run.experiments[experiment].n_samples
    if "sample_count" not in store.holds(model, experiment):
        return Count(most)
    counts = store.dataset(model, experiment, warn=False)["sample_count"]
    return Text(f"{int(counts.min())} to {most}")
