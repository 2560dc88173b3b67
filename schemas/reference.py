"""Reference pages of the documentation, written from the contract itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from schemas.analysis import Config, Resampling
from schemas.io import layout
from schemas.results import ResultRow
from schemas.sealed import MergedRecord, SealRecord
from schemas.store import BlockRecord, RunRecord
from schemas.study import (
    ArgmaxWindow,
    Calibration,
    CrossedNoise,
    Enhancement,
    Factorial,
    ModelChoice,
    Order,
    ParaphraseLengths,
    PromptSource,
    Study,
    SubsetMethods,
    SubsetRatio,
)
from schemas.variables import COORDINATES, VARIABLES, Variable

STORE = """# Store format

This page is written from `schemas/store.py` and `schemas/variables.py` by `make schemas`; the JSON
Schemas of all records lie in `schemas/`.

{layout}

`data.zarr` opens with xarray alone. A block is one condition x some prompts x all samples; its
arrays are written first, its ledger record last, so a reader that believes the ledger never sees
half a block.

`ibgenerate seal` puts the records of a finished run into tables, of thousands of records of one
Dataset each, in the order of condition, then block; `.npz`, columns by name. `seal.json` names the
tables and holds the digests of the samples. It is created exclusively, once they are there; only
then the records go. From then on it is the ledger: a record beside it means nothing, and no block
can be made or repaired until `ibgenerate unseal` has put the records back.

`ibgenerate seal --merge` also makes the objects of neighbouring small blocks of a condition into
one: of up to 64 MB of images, 4 MB of anything else, before compression. It is plain Zarr as
before: the same arrays with larger chunks, an image still a chunk a prompt in its shard. The keys
of merged objects begin with a number (`tokens/0.3.0.0.0`), those of blocks with `c`, so that both
lie side by side. Merged objects come first, read back and compared; then `seal.json` is replaced by
one that names what was merged, which is the switch for `ibstats`; then each `zarr.json`, which is
the switch for readers without our code; last, the objects of the blocks go. No object with samples
is ever replaced, in a bucket neither. `ibgenerate unseal` goes the same way back: each block gets
its objects again, byte for byte with the same zstd; with another, its record names the new ones.
Who has the run open meanwhile is told so, and opens it again; plain Zarr reads objects that are
gone as fill values, so close it there before.

## What is checked, and by what

Whoever reads a file that numbers depend on looks at its digest. What is damaged is told in one line
that names the file, and never read as other numbers; `verify` of both programs looks at all of it.

`run.json`, ledger records, `rescored.json` and its pieces, calibration
: hold their own `sha256`. `verify --repair` drops what can be made again.

Pieces of the prompts
: have length and sha256 in `run.json`, and are looked at whenever one is read, and before a block is
  written. A run reads those that it needs. They are restored from a copy.

Ledger of a sealed run
: `seal.json` holds its own `sha256`, and length and sha256 of every table under `sealed`. A table is
  looked at when a record of it is read. Without `seal.json`, or a table, the records are nowhere:
  they are restored from a copy.

Merged objects
: have length and sha256 in the file of their Dataset under `sealed`, whose own are in `seal.json`,
  and are looked at as those of blocks are. Blocks of a damaged one are made again after `unseal`
  and `verify --repair`.

What `create` wrote into `data.zarr`
: has the length and sha256 of each file in `run.json`. All of it is looked at before a block is
  written, and what is read whenever it is read. No block holds it: it is restored from a copy.

Objects of a block, and of a rescored piece
: have length and sha256 in the record of the block or piece. Lengths are compared by one listing
  when a run is opened, digests when an object is read. `ibgenerate verify --repair` drops the block
  or piece, and `ibgenerate run` or `rescore` makes it again.

Tables under `results`
: have shape, dtype and CRC-32C in the `.json` beside, looked at once a process. Damaged, they are
  measured again.

Embedded texts and analyses under `results`
: hold a sha256 in themselves, an analysis as the comment of its zip. Damaged, they are made again.

An absent object is damage, never its fill value. Many absent ones are told as a copy that did not
finish. The hierarchy of a run, or of a rescoring, comes into place in one step and is never
replaced; its record is written after it.

A rescoring is laid out like a run of its own: `data.zarr` and `rescored.json`, then one record
`pieces/c<cond>-p<prompt>.json` a condition and prompt, written after the objects that it names.

## Variables

{variables}

Optional ones are absent where the family or the study has none, or where samples made elsewhere
come without them; what is absent is never filled in. Where a model predicts scale after scale
(family `scales`), `row col` is one row of the positions of all scales, coarsest first and in raster
order within a scale, and `token_step` is the scale of each, from 0. Where a model draws several
grids token by token, these are its `scales` in that row. The codes that a condition of such a model
may use are counted and kept by stratum: a `stratum` is a scale, or, where a code is several tokens
(`tokens_per_code` of the model), one of them at a scale. `tokens` is uint32, filled with 4294967295,
where the codebook has more than 65535 codes. Where prompts have unequal numbers of samples,
`sample_count` says how many there are; the rest of a prompt holds the fill of each variable and
means nothing.

## Coordinates

{coordinates}

Each factor of an experiment has a coordinate of its name along `condition`: the level of the
condition, empty where it has none. Factors, levels and the baseline stand in `run.json`; names of
conditions are free and never parsed.

## `run.json`

{run}

## The ledger record of a block

{block}

## `seal.json`

{seal}

## What says how a Dataset was merged

{merged}
"""

RESULTS = """# Results format

This page is written from `schemas/results.py` by `make schemas`. Every exported number, in CSV and
JSON alike, is a row of these columns; empty means undefined or not applicable, never zero. A CSV
has one column more, the last: `snapshot`, the digest of the ledger records that all its numbers
were computed from, which a JSON document states once. There `at` reads `factor=level; ...`. Names
of columns change with the first number of the schema's version alone.

{rows}
"""


SETTINGS = """# Keys of study and settings files

This page is written from `schemas/study.py` and `schemas/analysis.py` by `make schemas`. Unknown
keys are refused; a study holds every default in `run.json`.

## `study.yaml`

What `ibgenerate run` is given.

{study}

{parts}

## `settings.yaml`

What `--config` of an analysing command of `ibstats` is given; in Python, `ibstats.Config`. Options
of the command line win over it.

{config}

### `resampling`

{resampling}
"""

STUDY_PARTS: dict[str, type[BaseModel]] = {
    "A model, under `models`": ModelChoice,
    "`prompts`": PromptSource,
    "`calibration`": Calibration,
    "An experiment of kind `factorial`": Factorial,
    "An experiment of kind `crossed_noise`": CrossedNoise,
    "An experiment of kind `order`": Order,
    "An experiment of kind `subset_ratio`": SubsetRatio,
    "An experiment of kind `argmax_window`": ArgmaxWindow,
    "An experiment of kind `paraphrase_length`": ParaphraseLengths,
    "An experiment of kind `subset_method`": SubsetMethods,
    "An experiment of kind `enhancement`": Enhancement,
}
"""Models of what stands inside a study, by heading."""


def pages() -> dict[str, str]:
    """Markdown by file name."""
    return {
        "store-format.md": STORE.format(
            layout=_layout(),
            variables=_variables(VARIABLES),
            coordinates=_variables(COORDINATES),
            run=_fields(RunRecord),
            block=_fields(BlockRecord),
            seal=_fields(SealRecord),
            merged=_fields(MergedRecord),
        ),
        "results-format.md": RESULTS.format(rows=_fields(ResultRow)),
        "settings.md": SETTINGS.format(
            study=_fields(Study),
            parts=_study_parts(),
            config=_fields(Config),
            resampling=_fields(Resampling),
        ),
    }


def _study_parts() -> str:
    """A heading and a table for each model of what stands inside a study."""
    parts = []
    for heading, model in STUDY_PARTS.items():
        parts.append(f"### {heading}\n\n{_fields(model)}")
    return "\n\n".join(parts)


def _layout() -> str:
    """What lies where in a run, as `schemas.io.layout` says at its head."""
    lines = (layout.__doc__ or "").splitlines()
    return "\n".join(f"    {line}" for line in lines if line.startswith("RUN/"))


def _variables(variables: Mapping[str, Variable]) -> str:
    lines = ["| name | dims | dtype | unit | meaning |", "|---|---|---|---|---|"]
    for name, variable in variables.items():
        shown = f"`{name}`"
        if variable.optional:
            shown += " (optional)"
        dims, meaning = " ".join(variable.dims), _cell(variable.long_name)
        lines.append(f"| {shown} | {dims} | {variable.dtype} | {variable.units} | {meaning} |")
    return "\n".join(lines)


def _fields(model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    lines = ["| field | type | meaning |", "|---|---|---|"]
    for name, field in schema["properties"].items():
        meaning = field.get("description", "")
        if "default" in field and field["default"] not in (None, "", [], {}):
            meaning = f"{meaning} Default `{json.dumps(field['default'])}`.".strip()
        lines.append(f"| `{name}` | {_type(field)} | {_cell(meaning)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text inside a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _type(field: Mapping[str, object]) -> str:
    """A JSON Schema type in a few words."""
    if "$ref" in field:
        return str(field["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in field:
        options: Any = field["anyOf"]
        return " or ".join(_type(option) for option in options)
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        values: Any = field["enum"]
        return " or ".join(f"`{value}`" for value in values)
    if field.get("type") == "array":
        items: Any = field.get("items")
        return "list" if items is None else f"list of {_type(items)}"
    return str(field.get("type", "any")).replace("null", "none")
