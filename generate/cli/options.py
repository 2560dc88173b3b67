"""Arguments and options that several commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from generate.errors import GenerateError, one_line
from schemas.io.yaml_text import read_yaml
from schemas.progress import HELP, Shown

StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study file (YAML), or 'trio' for the shipped one.")
]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Run directory, or a URL (s3://bucket/run).")
]
Out = Annotated[str, typer.Option("--out", help="Run directory, or a URL (s3://bucket/run).")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Progress = Annotated[Shown, typer.Option("--progress", help=HELP)]
Timings = Annotated[
    bool, typer.Option("--timings", help="Where the time went, by what blocks recorded.")
]


def read_mapping(option: str, path: Path | None) -> dict[str, Any]:
    """Settings in the YAML file of an option, none where it is not given.

    Raises `GenerateError` if the file cannot be read or holds anything else.
    """
    if path is None:
        return {}
    try:
        document = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise GenerateError(f"{option} {path} cannot be read: {one_line(error)}") from None
    if not isinstance(document, dict):
        raise GenerateError(
            f"{option} {path} holds a {type(document).__name__}, but must be a mapping."
        )
    return document


def settings_given(pairs: Sequence[str]) -> dict[str, Any]:
    """Settings of a model written `name=value`, values as in YAML.

    >>> settings_given(["temperature=0.5", "preset=fast"])
    {'temperature': 0.5, 'preset': 'fast'}
    """
    settings = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            settings[name] = read_yaml(value)
        except yaml.YAMLError as error:
            raise GenerateError(f"{pair!r} is no setting: {one_line(error)}") from None
    return settings
