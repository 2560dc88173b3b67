"""Prompt files: JSONL with one record a line, and CSV with one prompt a row."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from generate.errors import StudyError, said
from schemas.study import Prompt

_WORDING = re.compile(r"(short|medium|long)(_\d+)?")
CSV_COLUMNS = (
    "id (optional), text, and short_1, short_2, ..., medium_1, ..., long_1, ... (each optional)"
)


def read_prompts(path: Path) -> list[Prompt]:
    """Prompt records of a .jsonl or .csv file; ids are unique.

    JSONL: one object a line, as in `schemas/prompt.schema.json`. CSV: a header, then one prompt a row; the columns
    are `id` (without it, rows are numbered after the name of the file), `text`, and one column for each paraphrase,
    `short_1`, `medium_1`, `long_1` and so on; empty cells of those are no paraphrase. Other columns are refused.
    """
    if not path.is_file():
        raise StudyError(
            f"prompt file {path} does not exist; give a .jsonl or .csv file, 'general' for the shipped set or 'trio' "
            "for the trio's grammar."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8.") from None
    records = _csv_records(text, path) if path.suffix == ".csv" else _jsonl_records(text, path)
    prompts = list(records)
    if not prompts:
        raise StudyError(
            f"prompt file {path} is empty; it needs one JSON object with `id` and `text` a line."
        )
    refuse_repeated_ids(prompts, str(path))
    return prompts


def read_column(path: Path, column: str) -> list[str]:
    """One column of a .csv file, top to bottom."""
    reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
    columns = list(reader.fieldnames or [])
    if column not in columns:
        raise StudyError(f"{path} has no column '{column}'; its columns are {', '.join(columns)}.")
    return [row[column] or "" for row in reader]


def refuse_repeated_ids(prompts: Sequence[Prompt], where: str) -> None:
    """Raise if two prompts have one id."""
    repeated = [name for name, count in Counter(p.id for p in prompts).items() if count > 1]
    if repeated:
        raise StudyError(
            f"{where} uses prompt id '{repeated[0]}' more than once; ids name prompts in the store."
        )


def write_prompts(prompts: Sequence[Prompt], path: Path) -> str:
    """Write a .jsonl file, whole or not at all; its sha256."""
    lines = [prompt.model_dump_json(exclude_defaults=True) + "\n" for prompt in prompts]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text("".join(lines), encoding="utf-8")
    unfinished.replace(path)
    return file_sha256(path)


def file_sha256(path: Path) -> str:
    """sha256 of a file, byte for byte."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
    columns = list(reader.fieldnames or [])
    unknown = [
        name
        for name in columns
        if name not in ("id", "text") and not _WORDING.fullmatch(name or "")
    ]
    if "text" not in columns:
        raise StudyError(
            f"{path} has no column 'text'; its columns are {', '.join(columns)}. Allowed: {CSV_COLUMNS}."
        )
    if unknown:
        raise StudyError(
            f"{path} has a column '{unknown[0]}' that is unknown; allowed: {CSV_COLUMNS}."
        )
    for number, row in enumerate(reader, start=1):
        where = f"{path}, row {number}"
        if None in row:
            raise StudyError(
                f"{where} has more cells than the header has columns: quote texts that hold a comma."
            )
        paraphrases: dict[str, list[str]] = {}
        for name, cell in row.items():
            if (match := _WORDING.fullmatch(name)) and (cell or "").strip():
                paraphrases.setdefault(match[1], []).append(cell)
        yield record(
            row.get("id") or numbered(path.name, number), row["text"] or "", where, paraphrases
        )


def numbered(source: str, number: int) -> str:
    """Id of a prompt whose source gives it none: what the source is called, and the row."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).stem).strip("-")[:48] or "prompt"
    return f"{name}-{number:05d}"


def record(name: str, text: str, where: str, paraphrases: dict[str, Any] | None = None) -> Prompt:
    """A prompt record from its parts; raises with `where` it comes from."""
    try:
        return Prompt.model_validate({"id": name, "text": text, "paraphrases": paraphrases or {}})
    except ValidationError as error:
        raise StudyError(_problem(error, where)) from None


def _problem(error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "record"
    if first["type"] == "string_too_short":
        return f"{where}: {field} is empty; write a text, or leave the record out."
    if first["type"] in ("extra_forbidden", "missing", "json_invalid"):
        return f"{where}: {field}: {first['msg']}; fields are {', '.join(Prompt.model_fields)}."
    return f"{where}: {field} is {first['input']!r}: {said(first)}; fields are {', '.join(Prompt.model_fields)}."
