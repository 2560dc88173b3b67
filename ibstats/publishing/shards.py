"""Samples as rows of Parquet files, as the hub's `datasets` reads them; a block in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from ibstats.extras import need
from ibstats.publishing.publication import Shard, place
from ibstats.report.page.strips import png
from ibstats.selection import Selection
from schemas.io.files import file_sha256

if TYPE_CHECKING:
    import pyarrow

Piece = tuple[int, slice]
"""A condition and some prompts, by position."""
Each = Callable[[list[Piece]], Iterable[Piece]]
"""Goes over pieces, for instance with a bar."""

SHARD_BYTES = 500_000_000
"""Size at which another file is begun."""

NEEDS = {"image": "image", "tokens": "tokens", "text": "text_index"}
"""Columns that a run may lack, and the variable of the store that each is made of."""

COLUMNS: dict[str, str] = {
    "image": "the image, as PNG",
    "tokens": "code of each grid position, rows of columns",
    "prompt": "text of the prompt; its id where nobody knows the text",
    "prompt_id": "id of the prompt",
    "text": "wording that the model was given for this sample",
    "condition": "name of the condition",
    "sample": "number of the sample, from 0",
    "model": "name of the model",
    "experiment": "name of the experiment",
}
"""Columns in order, and what they hold; a column that a run has nothing for is left out."""

IMAGE = {"_type": "Image"}
STRING = {"dtype": "string", "_type": "Value"}
NUMBER = {"dtype": "int32", "_type": "Value"}
"""How `datasets` names kinds of columns."""


def columns(selection: Selection) -> list[str]:
    """Give the names of the columns that a selection has, in order."""
    found = list(COLUMNS)
    for column, variable in NEEDS.items():
        if not selection.has(variable):
            found.remove(column)
    return found


def write_shards(
    selection: Selection, folder: Path, each: Each = iter, most_bytes: int = SHARD_BYTES
) -> Iterator[Shard]:
    """Write every sample of a selection into Parquet files under a folder; each as it is done.

    `each` goes over the pieces that are written, for instance with a bar. A file that has reached
    `most_bytes` is closed after the piece that it got last. Raises MissingPackages without pyarrow,
    and what reading the run raises: IncompleteStore, CorruptBlock.
    """
    need("publishing", "pyarrow")
    from pyarrow.parquet import ParquetWriter

    schema = _schema(selection)
    blocks = map(partial(_loaded, selection), each(_pieces(selection)))
    following = next(blocks, None)
    number = 0
    while following is not None:
        path = f"{place(selection)}/part-{number:05d}.parquet"
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        n_rows, is_full = 0, False
        with file.open("wb") as stream, ParquetWriter(stream, schema) as writer:
            while following is not None and not is_full:
                rows = _rows(selection, following)
                writer.write_batch(_batch(rows, schema))
                n_rows += len(rows["sample"])
                is_full = stream.tell() >= most_bytes
                following = next(blocks, None)
        yield Shard(selection, path, n_rows, file.stat().st_size, file_sha256(file))
        number += 1


def _schema(selection: Selection) -> pyarrow.Schema:
    """Names and types of the columns, with what tells `datasets` that one of them holds images."""
    import pyarrow

    types: dict[str, Any] = dict.fromkeys(columns(selection), pyarrow.string())
    kinds: dict[str, Any] = dict.fromkeys(types, STRING)
    types["sample"], kinds["sample"] = pyarrow.int32(), NUMBER
    if "image" in types:
        types["image"] = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
        kinds["image"] = IMAGE
    if "tokens" in types:
        dtype = str(selection.dataset["tokens"].dtype)
        types["tokens"] = pyarrow.list_(pyarrow.list_(pyarrow.type_for_alias(dtype)))
        kinds["tokens"] = _list_of(_list_of({"dtype": dtype, "_type": "Value"}))
    told = json.dumps({"info": {"features": kinds}})
    return pyarrow.schema(types).with_metadata({"huggingface": told})


def _list_of(kind: dict[str, Any]) -> dict[str, Any]:
    return {"feature": kind, "_type": "Sequence"}


def _pieces(selection: Selection) -> list[Piece]:
    """All pieces: of a condition, as many prompts as a chunk of the store holds."""
    sizes = selection.dataset.sizes
    step = selection.store.run.experiments[selection.experiment].block_prompts
    found = []
    for condition in range(sizes["condition"]):
        for start in range(0, sizes["prompt"], step):
            found.append((condition, slice(start, start + step)))
    return found


def _loaded(selection: Selection, piece: Piece) -> xr.Dataset:
    """The samples of a piece, in memory."""
    condition, prompts = piece
    wanted = list(filter(selection.has, NEEDS.values()))
    return selection.dataset[wanted].isel(condition=condition, prompt=prompts).load()


def _rows(selection: Selection, block: xr.Dataset) -> dict[str, list[Any]]:
    """The values of each column, prompt by prompt."""
    texts = {prompt.id: prompt.text for prompt in selection.store.prompts}
    condition = str(block["condition"].item())
    rows: dict[str, list[Any]] = {name: [] for name in columns(selection)}
    for number, prompt in enumerate(map(str, block["prompt"].values)):
        here = block.isel(prompt=number)
        n_samples = here.sizes["sample"]
        rows["prompt"] += [texts[prompt]] * n_samples
        rows["prompt_id"] += [prompt] * n_samples
        rows["condition"] += [condition] * n_samples
        rows["sample"] += range(n_samples)
        rows["model"] += [selection.model] * n_samples
        rows["experiment"] += [selection.experiment] * n_samples
        if "tokens" in rows:
            rows["tokens"] += here["tokens"].values.tolist()
        if "text" in rows:
            rows["text"] += selection.dataset["text"].values[here["text_index"].values].tolist()
        if "image" in rows:
            for sample, image in enumerate(here["image"].values):
                path = f"{condition}/{prompt}/{sample}.png"
                rows["image"].append({"bytes": png(image), "path": path})
    return rows


def _batch(rows: dict[str, list[Any]], schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    import pyarrow

    arrays = [pyarrow.array(rows[field.name], field.type) for field in schema]
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)
