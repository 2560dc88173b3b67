"""Errors a user can repair: each message is one line that says how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas import errors

GenerateError = errors.UserError
"""Base of all errors that end a command with one line instead of a traceback.

A message names the thing, the value seen, the value allowed and the likely repair; it starts
with the thing, in lower case, and ends with a full stop.
"""
StoreError = errors.StoreError
"""A run directory is not what the command needs."""
DiskError = errors.DiskError
"""A disk or a share failed; everything committed is kept."""
DiskFullError = errors.DiskFullError
"""The disk or a quota is full; everything committed is kept."""


class StudyError(GenerateError):
    """The study file, or what it names (prompts, windows, paraphrases), cannot be used."""


class ModelError(GenerateError):
    """A model is unknown, or cannot be loaded as asked."""


NAMES = (
    "may hold letters, digits, '.', '_' and '-' only, 64 at most, and starts with a letter or a "
    "digit"
)


def said(problem: Mapping[str, Any]) -> str:
    """What pydantic found wrong with a value, in the words of who writes YAML or JSON.

    `problem` is one of the entries of `ValidationError.errors()`.
    """
    match problem["type"]:
        case "dict_type" | "model_type":
            return "must be a mapping (`key: value`)"
        case "int_type":
            return "must be a whole number (`12`, without quotes)"
        case "float_type":
            return "must be a number (`0.5`, without quotes)"
        case "bool_type":
            return "must be true or false"
        case "string_type":
            return "must be a text or name (in quotes, if it reads like something else in YAML)"
        case "list_type":
            return "must be a list (`[a, b]`)"
        case "union_tag_invalid":
            kind, known = problem["ctx"]["tag"], problem["ctx"]["expected_tags"]
            return f"kind '{kind}' is unknown; known are {known}"
        case "string_pattern_mismatch" if problem["ctx"]["pattern"].startswith("^[A-Za-z0-9]["):
            return NAMES
    return str(problem["msg"])


def one_line(message: object, most: int | None = None) -> str:
    """A message of another library without its line breaks, cut to `most` characters.

    >>> one_line("expected ','\\n  in line 3")
    "expected ',' in line 3"
    """
    return " ".join(str(message).split())[:most]
