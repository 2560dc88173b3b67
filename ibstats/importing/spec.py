"""What is to be imported: where images and tokens lie, and what the conditions mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from ibstats.errors import IbstatsError
from ibstats.importing.allowed import RANGE
from schemas.study import Name, Strict

ARRAYS = ("token_surprisal", "token_entropy", "token_step", "path_surprisal", "joint_surprisal")
"""Variables of the store that may be imported beside tokens: (row, col) a sample, (step,) the last
two.
"""

FAMILIES = ("autoregressive", "scales", "masked", "diffusion")
"""Families whose path is known to statistics."""


class Spec(Strict):
    """What is to be imported; only a pattern of images or of tokens must be given.

    A pattern is a path inside the folder whose fields stand in braces, for instance
    `{condition}/{prompt}/{sample}.png`. A file of arrays may be followed by a name in it,
    `{condition}/{prompt}.npz:tokens`; without `{sample}` it holds all samples of its prompt.

    >>> Spec(images="{condition}/{prompt}/{sample}.png").model
    'imported'
    """

    name: Name = "imported"
    """Name of the run."""
    model: Name = "imported"
    """Name of the model in results."""
    family: str = ""
    """autoregressive, scales, masked, diffusion or another word; empty if unknown."""
    folder: str = "."
    """Where the files lie, relative to the spec."""
    images: str | None = None
    """Pattern of the images: PNG, JPEG, WebP, NPY, NPZ or Zarr (8-bit RGB)."""
    tokens: str | None = None
    """Pattern of the token grids: NPY, NPZ or Zarr, (row, col) or (sample, row, col)."""
    arrays: dict[str, str] = Field(
        default={},
        description="Patterns of token_surprisal, token_entropy, token_step, path_surprisal and "
        "joint_surprisal.",
    )
    path_given: Literal["state", "candidates"] = "state"
    """What path_surprisal is conditional on: the state, or also the candidate tokens."""
    codebook: int = Field(default=0, ge=0, description="Codes that a token can have.")
    allowed_codes: dict[str, list[int] | str] = Field(
        default={},
        description="By condition, the codes it may use, where these are not all: ids, a range "
        "`0..1023` with both ends, or a .npy or text file of ids, relative to the spec.",
    )
    steps: int = Field(default=0, ge=0, description="Steps of a traversal; 0 for those of arrays.")
    grid: tuple[int, int] | None = None
    """Rows and columns of tokens that are stored flat."""
    prompts: str | None = None
    """A CSV or JSONL file with `id` and `text`, relative to the spec."""
    texts: str | None = None
    """A CSV or JSONL file with `condition`, `prompt`, `text` and maybe `sample`, relative to the
    spec: the wordings that samples were made from, where these are not the prompts themselves.
    """
    conditions: dict[str, dict[str, str]] = Field(
        default={}, description="Level of each factor by condition; by default those of the files."
    )
    factors: dict[Name, tuple[str, str]] = Field(
        default={}, description="Low and high level of each factor; by default as found."
    )
    baseline: str | None = None
    """The condition that the others are compared with."""

    @model_validator(mode="after")
    def _holds_something(self) -> Spec:
        """Refuse a spec without samples, variables that cannot be imported, a misspelt family."""
        if self.images is None and self.tokens is None:
            raise ValueError("name a pattern of images (--layout) or of tokens (--tokens)")
        for name in self.arrays:
            if name not in ARRAYS:
                raise ValueError(f"arrays cannot hold {name!r}; known: {', '.join(ARRAYS)}")
        if self.arrays and self.tokens is None:
            raise ValueError("arrays describe tokens; name their pattern too")
        near = get_close_matches(self.family, FAMILIES, 1)
        if near and self.family not in FAMILIES:
            raise ValueError(
                f"family {self.family!r} is hardly another than {near[0]!r}: write that"
            )
        return self

    @property
    def patterns(self) -> dict[str, str]:
        """The pattern of each variable of the store, in the order in which they are read.

        Images first, then tokens, then what describes them.
        """
        found = {"image": self.images, "tokens": self.tokens, **self.arrays}
        return {name: pattern for name, pattern in found.items() if pattern is not None}


def asked(source: Path, given: Mapping[str, Any]) -> tuple[Spec, Path]:
    """Give the spec of a folder with settings, or that in a YAML file, and the folder of samples.

    `given` are fields of the spec, None where nothing was given; they win over what a file says.
    Raises IbstatsError, in one line, for what cannot be read and for a spec that means nothing.
    """
    changes = {name: value for name, value in given.items() if value is not None}
    if source.is_file():
        return read_spec(source, changes)
    if not source.is_dir():
        raise IbstatsError(f"no folder and no spec '{source}'; give what holds the samples")
    name = as_name(source.resolve().name, "imported")
    return made_spec({"name": name, **changes}, f"'{source}'"), source


def read_spec(file: Path, changes: dict[str, Any] | None = None) -> tuple[Spec, Path]:
    """Give the spec in a YAML file, and the folder that it names.

    `changes` win over what the file says. Raises IbstatsError, in one line, for a file that cannot
    be read and for a spec that means nothing.
    """
    try:
        given = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise IbstatsError(f"'{file}' is no spec of an import ({reason})") from None
    if not isinstance(given, dict):
        raise IbstatsError(f"'{file}' must hold `key: value` lines, for instance images: PATTERN")
    spec = made_spec({**given, **(changes or {})}, str(file))
    there: dict[str, Any] = {}
    if spec.prompts is not None and "prompts" not in (changes or {}):
        there["prompts"] = str(file.parent / spec.prompts)
    if spec.texts is not None:
        there["texts"] = str(file.parent / spec.texts)
    codes = dict(spec.allowed_codes)
    for condition, ids in codes.items():
        if isinstance(ids, str) and RANGE.fullmatch(ids) is None:
            codes[condition] = str(file.parent / ids)
    there["allowed_codes"] = codes
    return spec.model_copy(update=there), file.parent / spec.folder


def made_spec(given: dict[str, Any], where: str) -> Spec:
    """Give the spec of these fields.

    Raises IbstatsError, in one line, that begins with `where` they come from.
    """
    try:
        return Spec.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        if field:
            said = f"{field} is {first['input']!r}: {said}"
        raise IbstatsError(f"{where}: {said}") from None


def as_name(text: str, otherwise: str) -> str:
    """Give the text as a name of the store, or `otherwise` where nothing of it can be one.

    >>> as_name("a red cat", "p"), as_name("\\u732b", "p")
    ('a-red-cat', 'p')
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    return name[:64] or otherwise
