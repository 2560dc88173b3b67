"""Rows of Parquet files become a run: a row is a picture, a token grid or both, with its prompt."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ibstats.errors import IbstatsError
from ibstats.extras import need
from ibstats.importing.layout import Cell, natural
from ibstats.importing.prompts import texts_of
from ibstats.importing.recorder import Recorder
from ibstats.importing.survey import ONLY

PARQUET = ".parquet"
"""Ending of the files."""
AT_ONCE = 256
"""Rows that are read at a time."""
SAMPLES = {"image": "images", "tokens": "tokens"}
"""Columns that hold samples, and what `Recorder.add` calls them."""
ID = "prompt_id"
"""Column that names the prompt, where `prompt` is its text; without it the text is the name."""

MODEL = "imported"
"""Name of the model where nobody gives one."""

Row = dict[str, Any]


def row_files(source: Path) -> list[Path]:
    """Give the Parquet files that a source is: a file, or a folder that holds some and no others.

    In natural order of their names; empty where it is something else.
    """
    if source.suffix.lower() == PARQUET:
        return [source]
    if not source.is_dir():
        return []
    names = natural(file.name for file in source.iterdir() if not file.name.startswith("."))
    if not names or not all(name.lower().endswith(PARQUET) for name in names):
        return []
    return [source / name for name in names]


def told(files: Sequence[Path]) -> Iterator[str]:
    """Say what the rows of Parquet files hold, for people, without reading a picture.

    Raises IbstatsError for a file that cannot be read or lacks a column.
    """
    counts: Counter[Cell] = Counter()
    held: set[str] = set()
    for file in files:
        columns = _columns(file)
        held.update(columns)
        wanted = [name for name in columns if name not in SAMPLES]
        for rows in _batches(file, wanted):
            counts.update(map(_cell, rows))
    if not counts:
        raise IbstatsError(f"'{files[0]}' holds no rows")
    conditions, prompts = map(set, zip(*counts, strict=True))
    fewest, most = min(counts.values()), max(counts.values())
    each = f"{most} samples each"
    if fewest < most:
        each = f"{fewest} to {most} samples each"
    total = counts.total()
    yield f"{len(conditions)} conditions x {len(prompts)} prompts, {each}: {total} rows in all"
    yield f"columns: {', '.join(sorted(held))}"
    yield f"conditions: {', '.join(natural(conditions))}"


def import_rows(
    files: Sequence[Path],
    out: Path,
    given: Mapping[str, Any] | None = None,
    *,
    drop_incomplete: bool = False,
) -> Path:
    """Make a run of the rows of Parquet files; its path.

    `given` are `model`, `codebook`, `baseline` and `prompts` (a file of texts) as an import takes
    them; None is as if it lacked, and texts are those of the rows. One that was killed goes on
    where it stopped. Raises IbstatsError as `told`, `texts_in`, `record_rows` and `Recorder` do.
    """
    asked = {name: value for name, value in (given or {}).items() if value is not None}
    texts = texts_of(asked.get("prompts")) or texts_in(files)
    with Recorder(
        out,
        model=asked.get("model", MODEL),
        codebook_size=asked.get("codebook", 0),
        baseline=asked.get("baseline"),
        prompts=texts or None,
        drop_incomplete=drop_incomplete,
    ) as recorder:
        record_rows(files, recorder)
    return out


def texts_in(files: Sequence[Path]) -> dict[str, str]:
    """Give the texts of the prompts by their ids; empty where a file has no column `prompt_id`.

    Raises IbstatsError for an id that has two texts.
    """
    found: dict[str, str] = {}
    for file in files:
        if ID not in _columns(file):
            return {}
        for rows in _batches(file, [ID, "prompt"]):
            for row in rows:
                name, text = str(row[ID]), str(row["prompt"])
                if found.setdefault(name, text) != text:
                    raise IbstatsError(
                        f"'{file}' has two texts of the prompt_id '{name}': '{found[name]}' and "
                        f"'{text}'; give each its own"
                    )
    return found


def record_rows(files: Sequence[Path], recorder: Recorder) -> None:
    """Record every row of Parquet files: `image`, `tokens` or both, of `prompt` in `condition`.

    An `image` is the bytes of a picture, or a mapping that holds them under `bytes`, as data sets
    of the hub have it; `tokens` are nested or flat lists; `condition` may lack where there is only
    one; `prompt_id`, where there is one, is the name of the prompt. Rows of a prompt in a condition
    are its samples, in order; those that an interrupted recording holds are passed over. Raises
    IbstatsError for a file that cannot be read, a column that lacks, a row without a picture, and
    all that `Recorder.add` raises.
    """
    numbers: Counter[Cell] = Counter()
    for file in files:
        for rows in _batches(file, _columns(file)):
            for cell, group in groupby(rows, key=_cell):
                together = list(group)
                given: dict[str, Any] = {}
                for column, called in SAMPLES.items():
                    if column in together[0]:
                        given[called] = [_sample(column, row, file) for row in together]
                if "tokens" in given:
                    given["tokens"] = np.array(given["tokens"])
                condition, prompt = cell
                first = numbers[cell]
                recorder.add(prompt=prompt, condition=condition, sample=first, **given)
                numbers[cell] += len(together)


def _columns(file: Path) -> list[str]:
    """The columns of a file that are imported."""
    need("reading Parquet files", "pyarrow")
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        names = read_schema(file).names
    except (ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise IbstatsError(f"'{file}' is no readable Parquet file ({reason})") from None
    found = [name for name in (*SAMPLES, "prompt", ID, "condition") if name in names]
    if "prompt" not in found or not set(SAMPLES) & set(found):
        raise IbstatsError(
            f"'{file}' has the columns {', '.join(names)}; an import takes `prompt`, with `image` "
            "or `tokens` and, where there are several, `condition`: rename them"
        )
    return found


def _batches(file: Path, columns: Sequence[str]) -> Iterator[list[Row]]:
    """The rows of a file, some at a time."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file) as table:
            for batch in table.iter_batches(AT_ONCE, columns=list(columns)):
                yield batch.to_pylist()
    except (ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise IbstatsError(f"'{file}' cannot be read ({reason})") from None


def _cell(row: Row) -> Cell:
    return str(row.get("condition") or ONLY), str(row.get(ID, row["prompt"]))


def _sample(column: str, row: Row, file: Path) -> Any:
    """A picture, or the tokens as they are."""
    value = row[column]
    if column != "image":
        return value
    from PIL import Image

    content = value
    if isinstance(value, dict):
        content = value.get("bytes")
    if not isinstance(content, bytes):
        raise IbstatsError(
            f"'{file}' has a row of prompt '{row['prompt']}' whose `image` holds no bytes of a "
            "picture; a data set that only names files is exported with its pictures first"
        )
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise IbstatsError(
            f"'{file}' has an `image` of prompt '{row['prompt']}' that is not readable ({error})"
        ) from None
    return picture
