"""The store: its variables, `run.json`, and the ledger record of one block.

RUN/run.json                                           identity and configuration, written last by `create`
RUN/data.zarr/<model>/<experiment>/                    one labelled Dataset each, Zarr v3
RUN/ledger/<model>/<experiment>/c<cond>-b<block>.json  one record per finished block; the authority
RUN/claims/..., RUN/failed/...                         blocks in progress, blocks that failed
RUN/calibration/<model>.json                           code usage behind the codebook subsets
RUN/rescored/...                                       weights of further paths, see `schemas/rescored.py`
RUN/results/                                           written by `ibstats`, never by `generate`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from schemas.provenance import Hardware, ModelIdentity, Software
from schemas.study import Name, Prompt, Strict, Study

SCHEMA = "ibstats-samples"
VERSION = "1.0"


@dataclass(frozen=True)
class Variable:
    """One array of an experiment's Dataset."""

    dims: tuple[str, ...]
    dtype: str
    units: str
    long_name: str
    fill: int | float | bool | str
    optional: bool = False
    per_block: bool = False
    """Written block by block; the others are written once by `create`."""


_SAMPLE = ("condition", "prompt", "sample")
_TOKEN = (*_SAMPLE, "row", "col")

VARIABLES: dict[str, Variable] = {
    "image": Variable(
        (*_SAMPLE, "y", "x", "channel"),
        "uint8",
        "1",
        "decoded image, 8-bit RGB",
        0,
        optional=True,
        per_block=True,
    ),
    "tokens": Variable(
        _TOKEN, "uint16", "1", "code of each grid position", 65535, per_block=True
    ),  # uint32 with fill 2**32 - 1 where the codebook has more than 65535 entries
    "token_surprisal": Variable(
        _TOKEN,
        "float32",
        "bit",
        "-log2 p of the token, in the law it was drawn from before argmax",
        float("nan"),
        per_block=True,
    ),
    "token_entropy": Variable(
        _TOKEN,
        "float32",
        "bit",
        "entropy of the law the token was drawn from, before argmax",
        float("nan"),
        per_block=True,
    ),
    "token_step": Variable(
        _TOKEN,
        "uint16",
        "1",
        "step of the last change of the position (absent where the order is fixed)",
        65535,
        optional=True,
        per_block=True,
    ),
    "path_surprisal": Variable(
        (*_SAMPLE, "step"),
        "float32",
        "bit",
        "-log2 q(S_t | given, s_t) of the positions changed at each step; attribute `given`: state or candidates",
        float("nan"),
        optional=True,
        per_block=True,
    ),
    "joint_surprisal": Variable(
        (*_SAMPLE, "step"),
        "float32",
        "bit",
        "-log2 q(S_t, z_S | s_t) of the positions changed at each step and their tokens",
        float("nan"),
        optional=True,
        per_block=True,
    ),
    "complete": Variable(
        ("condition", "prompt"),
        "bool",
        "1",
        "block committed (a copy of the ledger, never the authority)",
        False,
        per_block=True,
    ),
    "text_tokens": Variable(
        ("text",), "int32", "1", "tokens of the text that reach the model, -1 if unknown", -1
    ),
    "text_cut": Variable(
        ("text",), "bool", "1", "the model does not see the end of the text", False
    ),
    "text_index": Variable(_SAMPLE, "int32", "1", "row of `text` given to the model", -1),
    "path_key": Variable(_SAMPLE, "uint64", "1", "Philox key of the path noise", 0),
    "execution_key": Variable(_SAMPLE, "uint64", "1", "Philox key of the execution noise", 0),
    "codebook_keep": Variable(
        ("condition", "code"), "bool", "1", "codes the condition may use", True
    ),
    "calibration_count": Variable(
        ("code",), "int64", "1", "uses of the code on the calibration prompts", 0
    ),
}
"""Data variables by name."""

COORDINATES: dict[str, Variable] = {
    "condition": Variable(("condition",), "string", "1", "name of the condition", ""),
    "sampling": Variable(("condition",), "string", "1", "argmax or stochastic", ""),
    "prompt_type": Variable(("condition",), "string", "1", "original or paraphrase", ""),
    "codebook": Variable(("condition",), "string", "1", "subset or full", ""),
    "keep_ratio": Variable(("condition",), "float64", "1", "share of the codebook kept", 1.0),
    "subset_method": Variable(
        ("condition",), "string", "1", "how kept codes were chosen, empty for full", ""
    ),
    "argmax_window": Variable(
        ("condition",), "string", "1", "share of the steps under argmax, 'from:to'", ""
    ),
    "paraphrase_length": Variable(
        ("condition",), "string", "1", "length class of the paraphrases", ""
    ),
    "n_paraphrases": Variable(
        ("condition",),
        "int32",
        "1",
        "paraphrases the samples are spread over, 0 for the original",
        0,
        optional=True,
    ),
    "subset_draw": Variable(
        ("condition",), "int32", "1", "number of the random subset, from 0", 0, optional=True
    ),
    "subset_counts": Variable(
        ("condition",),
        "string",
        "1",
        "sha256 of the calibration counts that chose the codes kept",
        "",
        optional=True,
    ),
    "prompt": Variable(("prompt",), "string", "1", "prompt id", ""),
    "prompt_attributes": Variable(
        ("prompt",), "string", "1", "asserted attributes as JSON, '{}' if unknown", "{}"
    ),
    "text": Variable(("text",), "string", "1", "prompt or paraphrase", ""),
    "text_prompt": Variable(("text",), "int32", "1", "index of the prompt the text belongs to", -1),
    "text_kind": Variable(("text",), "string", "1", "original, short, medium or long", ""),
}
"""Coordinates by name. Dims without one here (`sample row col step code y x channel`) are positions from 0."""


def token_dtype(codebook_size: int) -> tuple[str, int]:
    """dtype of `tokens` and its fill, which is never a legal token."""
    return ("uint16", 2**16 - 1) if codebook_size <= 2**16 - 1 else ("uint32", 2**32 - 1)


def block_name(condition: int, block: int) -> str:
    """Name of a block in ledger, claims and failures."""
    return f"c{condition:04d}-b{block:06d}"


def _inside(key: str) -> str:
    path = PurePosixPath(key)
    if path.is_absolute() or ".." in path.parts or "\\" in key:
        raise ValueError(f"key {key!r} points outside the store")
    return key


Key = Annotated[str, AfterValidator(_inside)]
"""Name of a stored object, which cannot lead out of the store."""


class StoredObject(Strict):
    """One stored file of a block; `key` is relative to `data.zarr`."""

    key: Key
    bytes: int
    sha256: str


class BlockRecord(Strict):
    """The commit of one block: one condition x prompts `[prompt_start, prompt_stop)` x all samples."""

    schema_version: str = VERSION
    run_id: str
    config_sha256: str
    model: Name
    experiment: Name
    condition: int
    block: int
    prompt_start: int
    prompt_stop: int
    objects: list[StoredObject]
    """Every file of the block, with its length and sha256."""
    content_sha256: list[str]
    """Digest of the decoded arrays of each prompt: equal for equal samples, whoever made them and in which blocks."""
    attempt: str
    """Random name of the attempt that made the block."""
    started: str
    finished: str
    software: Software
    hardware: Hardware
    sha256: str = Field(
        default="", description="Digest of all the above, against damage to the record itself."
    )


class FailureRecord(Strict):
    """A block that could not be made."""

    schema_version: str = VERSION
    model: str
    experiment: str
    condition: int
    block: int
    attempts: int
    error: str
    traceback: str
    host: str
    time: str


class ExperimentPlan(Strict):
    """Shape of one Dataset and of its blocks."""

    conditions: list[str] = Field(min_length=1)
    n_prompts: int = Field(ge=1)
    n_samples: int = Field(ge=1)
    block_prompts: int = Field(ge=1)


class RunRecord(Strict):
    """`run.json`: what the run is. Never changes after `create`."""

    schema_name: Literal["ibstats-samples"] = "ibstats-samples"
    schema_version: str = VERSION
    run_id: str
    created: str
    study: Study
    """The study file, every default filled in."""
    prompts: list[Prompt]
    """Every prompt with its paraphrases, so that the run does not depend on the file they came from."""
    prompts_sha256: str
    prompt_files: dict[str, str] = Field(
        default={}, description="sha256 of the files prompts were read from."
    )
    models: dict[Name, ModelIdentity]
    """What fixes the law of each model's samples: weight digests, codebook, grid, sampling settings."""
    experiments: dict[Name, ExperimentPlan]
    calibration_sha256: dict[str, str]
    """Digest of the code counts per model."""
    config_sha256: str
    """Digest of study, prompts, models and calibration: two runs with the same one hold the same samples."""
    batch_sizes: dict[str, int] = Field(
        default={}, description="Samples per forward of each model."
    )
    """The study's, or what was found to fit; logits depend on it by rounding."""
    software: Software
    hardware: Hardware
    template: list[StoredObject] = Field(
        default=[], description="What `create` wrote into `data.zarr`."
    )
    sha256: str = Field(
        default="", description="Digest of all the above, against damage to the record itself."
    )


def seal(document: Mapping[str, Any]) -> str:
    """sha256 of a record as JSON gives it, but for its own `sha256`; independent of the order of its keys."""
    rest = {name: value for name, value in document.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def sealed(record: BlockRecord | RunRecord) -> bytes:
    """A record as JSON, with its digest."""
    document = record.model_dump(mode="json")
    return json.dumps(document | {"sha256": seal(document)}, indent=1).encode()


def is_whole(document: Mapping[str, Any]) -> bool:
    """Whether a record that was read is the one that was written; True where it carries no digest."""
    return document.get("sha256", "") in ("", seal(document))


def snapshot_digest(records: Iterable[BlockRecord]) -> str:
    """sha256 over the content of the given blocks, whatever their size and order: the version pin of an analysis."""
    lines = sorted(
        f"{r.model}/{r.experiment}/{r.condition}/{r.prompt_start + number} {digest}\n"
        for r in records
        for number, digest in enumerate(r.content_sha256)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
