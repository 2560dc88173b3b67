"""The study file: read it, and say in one line what is wrong with it."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from generate.errors import StudyError, one_line, said
from schemas.io.yaml_text import read_yaml
from schemas.study import Study

BUILT_IN = {"trio": "study.yaml", "trio-ablations": "ablations.yaml"}
"""Studies that ship with the package, by name, and their files in `generate.trio`."""

KIND_DEPTH = 2
"""Where the location of an error in an experiment holds its kind, which no key of the file spells."""


def load_study(source: str) -> tuple[Study, Path]:
    """A study, and the folder that its paths are relative to.

    `source` is the name of a shipped study or the path of a YAML file. Raises `StudyError` if there
    is none, or if it is no study; the message names the first key that is wrong.

    >>> study, folder = load_study("trio")
    >>> study.samples
    10
    """
    if source in BUILT_IN:
        path = Path(str(resources.files("generate.trio"))) / BUILT_IN[source]
    else:
        path = Path(source)
    if not path.is_file():
        raise StudyError(
            f"study file {path} does not exist; give a YAML file, or {', '.join(BUILT_IN)} for a "
            "shipped one."
        )
    try:
        document = read_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is not YAML: {one_line(error)}") from None
    if not isinstance(document, dict):
        raise StudyError(
            f"{path} holds a {type(document).__name__}, but a study is a mapping of "
            f"{', '.join(Study.model_fields)}."
        )
    try:
        return Study.model_validate(document), path.parent
    except ValidationError as error:
        raise StudyError(f"{path}: {one_line(describe(error, Study))}") from None


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """The first validation error of a `model` in one line: the key, the fault, what is allowed.

    The key is written as in the file, with dots; for an unknown one the nearest known is named.
    """
    first = error.errors()[0]
    location = first["loc"]
    key = _key(location)
    if first["type"] == "extra_forbidden":
        allowed = _fields_at(model, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        return f"unknown key '{key}'{hint}; allowed here: {', '.join(allowed)}."
    if first["type"] == "missing":
        return f"key '{key}' is missing."
    hint = ""
    if key in ("prompts", "calibration"):
        hint = f" Write {{source: {first['input']}}}."
    return f"'{key}' is {first['input']!r}: {said(first)}.{hint}"


def _key(location: tuple[int | str, ...]) -> str:
    """A location of pydantic as the file spells it, with dots."""
    parts = list(map(str, location))
    if location[:1] == ("experiments",):
        del parts[KIND_DEPTH : KIND_DEPTH + 1]
    return ".".join(parts)


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Field names of the nested model that a location of pydantic points at."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            current = current.model_fields[str(part)].annotation
        elif get_origin(current) in (dict, list):
            current = get_args(current)[-1]
        else:
            current = _of_kind(current, part)
    models = _models_in(current)
    if not models:
        return []
    return list(models[-1].model_fields)


def _of_kind(union: Any, kind: int | str) -> type[BaseModel]:
    """The model of a kind, in a union of models by kind."""
    for model in _models_in(union):
        if kind in get_args(model.model_fields["kind"].annotation):
            return model
    raise LookupError(f"no model of kind {kind!r}")


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models an annotation is made of, in their order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    models = []
    for part in get_args(annotation):
        models += _models_in(part)
    return models
