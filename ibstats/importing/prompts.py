"""Prompts of imported samples: their ids in the store, and their texts where they are known."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ibstats.errors import IbstatsError
from ibstats.importing.layout import natural
from ibstats.importing.spec import as_name
from schemas.study import Prompt


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run, in their order."""

    labels: list[str]
    """As the files name them."""
    records: list[Prompt]
    """As the store names them; the label stands for a text that is not known."""
    known: bool
    """Whether the texts are known."""

    @property
    def sha256(self) -> str:
        """Digest of the records: ids and texts, in their order.

        64 hex digits.
        """
        lines = [record.model_dump_json() + "\n" for record in self.records]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def prompts_of(file: str | None, labels: Collection[str]) -> Prompts:
    """Give the prompts that files name, with the texts of a prompt file where there is one.

    They stand in the order of that file, else in natural order. It moves last digits of intervals,
    because a resample draws prompts by their places. A label that cannot be an id, for instance of
    another script, gets the number of its prompt. Raises IbstatsError for a file that cannot be
    read, or that lacks one of the prompts.
    """
    texts = texts_of(file)
    lacking = natural(label for label in labels if label not in texts)
    if file is not None and lacking:
        raise IbstatsError(
            f"'{file}' has no prompt '{lacking[0]}', which the files name; ids in it are for "
            f"instance {', '.join(list(texts)[:3]) or 'none'}"
        )
    ordered = [label for label in texts if label in labels] or natural(labels)
    return named(ordered, texts, known=file is not None)


def named(labels: Sequence[str], texts: Mapping[str, str], *, known: bool) -> Prompts:
    """Give prompts their ids in the store, and their texts by label where there are some.

    `known` says whether the texts are what the model was given. Raises IbstatsError for a text that
    cannot be stored.
    """
    records = []
    taken: set[str] = set()
    for number, label in enumerate(labels):
        name = as_name(label, f"prompt-{number:05d}")
        if name in taken:
            name = f"{name[:52]}-{number:05d}"
        taken.add(name)
        text = texts.get(label, label)
        try:
            records.append(Prompt(id=name, text=text))
        except ValidationError as error:
            raise IbstatsError(f"prompt '{label}': {error.errors()[0]['msg']}") from None
    return Prompts(list(labels), records, known)


def texts_of(file: str | None) -> dict[str, str]:
    """Give the texts of a CSV or JSONL file by their ids; none without a file.

    Raises IbstatsError for a file that cannot be read, lacks `id` or `text` in a row, or has two
    texts of an id.
    """
    if file is None:
        return {}
    found: dict[str, str] = {}
    for row in table_rows(Path(file), ("id", "text"), "prompt"):
        name, text = row["id"], row["text"]
        if found.setdefault(name, text) != text:
            raise IbstatsError(
                f"'{file}' has two texts of the id '{name}': '{found[name]}' and '{text}'; give "
                "each its own"
            )
    return found


def table_rows(file: Path, needed: Sequence[str], what: str) -> Iterator[dict[str, str]]:
    """Give the rows of a CSV or JSONL file as texts by column, `what` being in one of them.

    Raises IbstatsError for a file that cannot be read, or lacks one of the `needed` in a row.
    """
    try:
        content = file.read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(content, newline="")))
        if file.suffix.lower() != ".csv":
            rows = [json.loads(line) for line in content.split("\n") if line.strip()]
    except (OSError, ValueError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise IbstatsError(f"{what} file '{file}' cannot be read ({reason})") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not all(map(row.get, needed)):
            columns = ", ".join(f"`{name}`" for name in needed[:-1])
            raise IbstatsError(
                f"{what} {number} of '{file}' lacks {columns} or `{needed[-1]}`; give a .csv with "
                "these columns or a .jsonl with these keys"
            )
        yield {name: str(value) for name, value in row.items() if value is not None}
