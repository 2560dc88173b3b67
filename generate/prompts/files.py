"""Prompt files: JSONL with one record a line, and CSV or TSV with one prompt a row."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from generate.errors import StudyError, one_line, said
from schemas.io.files import file_sha256, write_whole
from schemas.study import Prompt

DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""What separates the cells of a table, by the suffix of its file."""
LINES = (".jsonl", ".ndjson")
"""Suffixes of files of one record a line."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WORDING = re.compile(r"(short|medium|long)(_\d+)?")
QUOTING = "close every quote, and write a quote inside a text twice"
CSV_COLUMNS = (
    "id (optional), text, and short_1, short_2, ..., medium_1, ..., long_1, ... (each optional)"
)


def read_prompts(path: Path) -> list[Prompt]:
    """Prompt records of a .jsonl, .csv or .tsv file; ids are unique.

    JSONL: one object a line, as in `schemas/prompt.schema.json`. CSV: a header, then one prompt a
    row, and TSV alike with tabs; the columns are `id` (without it, rows are numbered after the name
    of the file), `text`, and one column for each paraphrase, `short_1`, `medium_1`, `long_1` and so on; empty cells of
    those are no paraphrase. Raises `StudyError` for other columns or suffixes, for a quote that is
    not closed or takes further rows into a text, and for what cannot be read; the message names the
    line.
    """
    if not path.is_file():
        raise StudyError(
            f"prompt file {path} does not exist; give a .jsonl or .csv file (`ibgenerate prompts "
            "build` makes one), 'general' for the shipped set or 'trio' for the trio's grammar."
        )
    suffix = path.suffix.lower()
    if suffix not in DELIMITERS and suffix not in LINES:
        raise StudyError(
            f"prompt file {path} ends in '{path.suffix}', which is unknown; allowed: "
            f"{', '.join([*LINES, *DELIMITERS])}."
        )
    read = _table_records if suffix in DELIMITERS else _jsonl_records
    prompts = list(read(_text_of(path), path))
    if not prompts:
        raise StudyError(
            f"prompt file {path} is empty; it needs one JSON object with `id` and `text` a line."
        )
    refuse_repeated_ids(prompts, str(path))
    return prompts


def _text_of(path: Path) -> str:
    """The content of a file of text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8.") from None


def read_column(path: Path, column: str) -> list[str]:
    """One column of a .csv or .tsv file, top to bottom; `StudyError` if it is not there."""
    columns, rows = _table(_text_of(path), path)
    if column not in columns:
        raise StudyError(f"{path} has no column '{column}'; its columns are {', '.join(columns)}.")
    return [row[column] or "" for row in rows]


def _table(text: str, path: Path) -> tuple[list[str], Iterator[dict[str, str | None]]]:
    """The columns of a table, and its rows one by one."""
    delimiter = DELIMITERS.get(path.suffix.lower(), ",")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = list(reader.fieldnames or [])
    except csv.Error as error:
        raise StudyError(f"{path}, line 1 cannot be read ({error}); {QUOTING}.") from None
    for name, count in Counter(columns).items():
        if count > 1:
            raise StudyError(f"{path} has {count} columns '{name}'; give each a name of its own.")
    return columns, _rows(reader, columns, path)


def _rows(
    reader: csv.DictReader[str], columns: Sequence[str], path: Path
) -> Iterator[dict[str, str | None]]:
    """The rows of a table; refuses one that has swallowed those after it."""
    while True:
        line = reader.line_num + 1
        try:
            row: Any = next(reader, None)
        except csv.Error as error:
            raise StudyError(
                f"{path}, the row that begins in line {line} cannot be read ({error}); {QUOTING}."
            ) from None
        if row is None:
            return
        for cell in row.values():
            if isinstance(cell, str) and _holds_a_row(
                cell, columns, reader.reader.dialect.delimiter
            ):
                raise StudyError(
                    f"{path}: a text that begins in line {line} goes on over lines that look like "
                    f"rows ('{one_line(cell, 60)}'); {QUOTING}."
                )
        yield row


def _holds_a_row(cell: str, columns: Sequence[str], delimiter: str) -> bool:
    """Whether a later line of a cell has as many cells as the table, an id in the place of the id."""
    if len(columns) < 2:
        return False
    place = 0
    if "id" in columns:
        place = list(columns).index("id")
    for line in cell.splitlines()[1:]:
        cells = line.split(delimiter)
        if len(cells) == len(columns) and _ID.fullmatch(cells[place].strip()):
            return True
    return False


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


def _table_records(text: str, path: Path) -> Iterator[Prompt]:
    columns, rows = _table(text, path)
    _check_columns(columns, path)
    for number, row in enumerate(rows, start=1):
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
