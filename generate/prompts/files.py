"""Prompt files: JSONL with one record a line, and CSV with one prompt a row."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from generate.errors import StudyError, said
from schemas.io.files import file_sha256, write_whole
from schemas.study import Prompt

_WORDING = re.compile(r"(short|medium|long)(_\d+)?")
CSV_COLUMNS = (
    "id (optional), text, and short_1, short_2, ..., medium_1, ..., long_1, ... (each optional)"
)


def read_prompts(path: Path) -> list[Prompt]:
    """Prompt records of a .jsonl or .csv file; ids are unique.

    JSONL: one object a line, as in `schemas/prompt.schema.json`. CSV: a header, then one prompt a
    row; the columns are `id` (without it, rows are numbered after the name of the file), `text`,
    and one column for each paraphrase, `short_1`, `medium_1`, `long_1` and so on; empty cells of
    those are no paraphrase. Raises `StudyError` for other columns, and for what cannot be read; the
    message names the line.
    """
    if not path.is_file():
        raise StudyError(
            f"prompt file {path} does not exist; give a .jsonl or .csv file, 'general' for the "
            "shipped set or 'trio' for the trio's grammar."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8.") from None
    read = _csv_records if path.suffix == ".csv" else _jsonl_records
    prompts = list(read(text, path))
    if not prompts:
        raise StudyError(
            f"prompt file {path} is empty; it needs one JSON object with `id` and `text` a line."
        )
    refuse_repeated_ids(prompts, str(path))
    return prompts


def read_column(path: Path, column: str) -> list[str]:
    """One column of a .csv file, top to bottom; `StudyError` if it is not there."""
    reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
    columns = list(reader.fieldnames or [])
    if column not in columns:
        raise StudyError(f"{path} has no column '{column}'; its columns are {', '.join(columns)}.")
    return [row[column] or "" for row in reader]


def refuse_repeated_ids(prompts: Sequence[Prompt], where: str) -> None:
    """Raise `StudyError` if two prompts have one id; `where` they are from is in the message."""
    counts = Counter(prompt.id for prompt in prompts)
    for name, count in counts.items():
        if count > 1:
            raise StudyError(
                f"{where} uses prompt id '{name}' more than once; ids name prompts in the store."
            )


def write_prompts(prompts: Sequence[Prompt], path: Path) -> str:
    """Write a .jsonl file, whole or not at all; gives its sha256.

    What a record leaves at its default is left out of its line.
    """
    lines = [prompt.model_dump_json(exclude_defaults=True) + "\n" for prompt in prompts]
    write_whole(path, "".join(lines))
    return file_sha256(path)


def _jsonl_records(text: str, path: Path) -> Iterator[Prompt]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                yield Prompt.model_validate_json(line)
            except ValidationError as error:
                raise StudyError(_problem(error, where)) from None


def _csv_records(text: str, path: Path) -> Iterator[Prompt]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    _check_columns(list(reader.fieldnames or []), path)
    for number, row in enumerate(reader, start=1):
        where = f"{path}, row {number}"
        if None in row:
            raise StudyError(
                f"{where} has more cells than the header has columns: quote texts that hold a "
                "comma."
            )
        name = row.get("id") or numbered(path.name, number)
        yield record(name, row["text"] or "", where, _paraphrases(row))


def _check_columns(columns: Sequence[str], path: Path) -> None:
    """Refuse a header without `text`, and columns that mean nothing."""
    if "text" not in columns:
        raise StudyError(
            f"{path} has no column 'text'; its columns are {', '.join(columns)}. Allowed: "
            f"{CSV_COLUMNS}."
        )
    for name in columns:
        if name not in ("id", "text") and not _WORDING.fullmatch(name or ""):
            raise StudyError(
                f"{path} has a column '{name}' that is unknown; allowed: {CSV_COLUMNS}."
            )


def _paraphrases(row: Mapping[str, str | None]) -> dict[str, list[str]]:
    """Paraphrases in a row by length class, from the left."""
    found: dict[str, list[str]] = {}
    for name, cell in row.items():
        match = _WORDING.fullmatch(name)
        if match and cell and cell.strip():
            found.setdefault(match[1], []).append(cell)
    return found


def numbered(source: str, number: int) -> str:
    """Id of a prompt whose source gives it none: what the source is called, and the row.

    >>> numbered("my prompts.csv", 7)
    'my-prompts-00007'
    """
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).stem).strip("-")[:48] or "prompt"
    return f"{name}-{number:05d}"


def record(name: str, text: str, where: str, paraphrases: dict[str, Any] | None = None) -> Prompt:
    """A prompt record from its id, text and paraphrases by length class.

    Raises `StudyError` with `where` it comes from if it is none.
    """
    try:
        return Prompt.model_validate({"id": name, "text": text, "paraphrases": paraphrases or {}})
    except ValidationError as error:
        raise StudyError(_problem(error, where)) from None


def _problem(error: ValidationError, where: str) -> str:
    """The first thing wrong with a record, in one line."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "record"
    fields = f"fields are {', '.join(Prompt.model_fields)}"
    if first["type"] == "string_too_short":
        return f"{where}: {field} is empty; write a text, or leave the record out."
    if first["type"] in ("extra_forbidden", "missing", "json_invalid"):
        return f"{where}: {field}: {first['msg']}; {fields}."
    return f"{where}: {field} is {first['input']!r}: {said(first)}; {fields}."
