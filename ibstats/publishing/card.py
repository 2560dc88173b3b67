"""The card of a publication: what there is, how it was made, what was found, how to read it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from operator import attrgetter

import yaml

from ibstats.publishing.publication import Publication, Shard, config_name, place
from ibstats.publishing.shards import COLUMNS, columns
from ibstats.report.answer import answer
from ibstats.report.methods import methods
from ibstats.report.render import markdown
from ibstats.report.table import Cell, Column, Count, Table, Text
from ibstats.results.lookup import Numbers
from schemas.version import __version__

TAGS = ("ibstats", "text-to-image", "diversity", "latent-tokens")

SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")
"""What the hub calls numbers of rows, a power of ten each from below a thousand on."""


def card(publication: Publication, shards: Sequence[Shard]) -> str:
    """Give the card as Markdown, with the head in YAML that the hub reads."""
    numbers = Numbers(publication.document)
    told = methods(publication.store, publication.document)
    parts = [
        _head(publication, shards),
        f"# {markdown.escape(publication.name)}",
        markdown.escape(publication.description),
        "## What there is",
        markdown.render([_selections(publication), *_conditions(publication)]).rstrip(),
        *map(markdown.escape, _remarks(publication)),
        "## How to read it",
        _reading(publication),
        markdown.render([_columns(publication)]).rstrip(),
        markdown.render(answer(numbers).parts()).rstrip(),
        "## Methods",
        told.markdown().rstrip(),
        "## What to cite",
        f"```bibtex\n{told.bibtex.rstrip()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _head(publication: Publication, shards: Sequence[Shard]) -> str:
    """What the hub reads: licence, size, and where the files of each configuration lie."""
    configs: list[dict[str, object]] = []
    for selection in publication.selections:
        name = config_name(selection)
        configs.append({"config_name": name, "data_files": f"{place(selection)}/*.parquet"})
    configs[0]["default"] = True
    n_rows = sum(map(attrgetter("rows"), shards))
    head: dict[str, object] = {
        **publication.terms.head(),
        "pretty_name": publication.name,
        "tags": list(TAGS),
        "size_categories": [size_category(n_rows)],
        "configs": configs,
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---"


def size_category(n_rows: int) -> str:
    """Give what the hub calls so many rows.

    >>> size_category(999), size_category(1000), size_category(2_000_000)
    ('n<1K', '1K<n<10K', '1M<n<10M')
    """
    beyond_hundreds = len(str(n_rows)) - 3
    return SIZES[min(max(beyond_hundreds, 0), len(SIZES) - 1)]


def _selections(publication: Publication) -> Table:
    """A line a selection: its configuration, and how much it holds."""
    columns = (
        Column("configuration"),
        Column("prompts", Count),
        Column("conditions", Count),
        Column("samples each", Count),
        Column("images"),
        Column("tokens"),
        Column("licence of the weights"),
    )
    rows: list[tuple[Cell, ...]] = []
    for selection in publication.selections:
        identity, sizes = selection.identity, selection.dataset.sizes
        counts = (selection.n_prompts, sizes["condition"], selection.n_samples)
        images = tokens = "none"
        if selection.has("image"):
            images = f"{sizes['y']} x {sizes['x']}"
        if selection.has("tokens"):
            tokens = f"{sizes['row']} x {sizes['col']} of {identity.codebook_size} codes"
        texts = (images, tokens, identity.licence or "not known")
        rows.append((Text(config_name(selection)), *map(Count, counts), *map(Text, texts)))
    return Table("selections", "", columns, tuple(rows))


def _conditions(publication: Publication) -> Iterator[Table]:
    """A table an experiment: its conditions, with the levels of their factors."""
    for experiment, plan in publication.store.run.experiments.items():
        factors = [factor.name for factor in plan.factors]
        rows = []
        for condition in plan.conditions:
            levels = dict.fromkeys(factors, "") | plan.levels.get(condition, {})
            called = condition
            if condition == plan.baseline:
                called = f"{condition} (baseline)"
            rows.append((Text(called), *map(Text, levels.values())))
        heads = ("condition", *factors)
        yield Table(
            experiment, f"Conditions of {experiment}", tuple(map(Column, heads)), tuple(rows)
        )


def _remarks(publication: Publication) -> Iterator[str]:
    """What is left out, and the digests by which the samples can be told again."""
    for selection in publication.selections:
        if selection.left_out:
            yield f"{selection.left_out}."
        n_planned = publication.store.run.n_prompts
        if selection.n_prompts < n_planned:
            yield (
                f"{config_name(selection)} has {selection.n_prompts} of {n_planned} prompts: the "
                "others are not complete."
            )
    yield (
        f"Snapshot of the run {publication.store.snapshot()}, analysis "
        f"{publication.document.analysis_sha256}, made by ibstats {__version__}. Digests of all "
        "files are in ro-crate-metadata.json; run.json is the record of the run, results.json "
        "holds every number of the analysis."
    )


def _reading(publication: Publication) -> str:
    """How to load a configuration, and how to make a run of it again."""
    first = publication.selections[0]
    plan = publication.store.run.experiments[first.experiment]
    again = ["ibstats", "import", place(first), "--model", first.model]
    if first.has("tokens"):
        again += ["--codebook", str(first.identity.codebook_size)]
    if plan.baseline is not None:
        again += ["--baseline", plan.baseline]
    again += ["--out", f"runs/{publication.name}"]
    return "\n".join(
        [
            "```python",
            "from datasets import load_dataset",
            "",
            "folder = ...  # this folder, or its name on the hub",
            f'rows = load_dataset(folder, "{config_name(first)}", split="train")',
            "```",
            "",
            f"    {shlex.join(again)}",
        ]
    )


def _columns(publication: Publication) -> Table:
    """What the columns of the rows hold."""
    found: set[str] = set()
    for selection in publication.selections:
        found.update(columns(selection))
    rows = []
    for name, about in COLUMNS.items():
        if name in found:
            rows.append((Text(name), Text(about)))
    return Table("columns", "", (Column("column"), Column("what it holds")), tuple(rows))
