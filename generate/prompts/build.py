"""Make a prompt file: base prompts from a source, paraphrases from a provider, a record of both."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from generate.errors import StudyError
from generate.prompts import hub
from generate.prompts.files import (
    numbered,
    read_column,
    read_prompts,
    record,
    refuse_repeated_ids,
    write_prompts,
)
from generate.prompts.sources import SHIPPED, TRIO, Split, comparable_texts, load_prompts, load_set
from generate.prompts.wording import normalised, words
from schemas.io.files import write_whole
from schemas.study import Prompt, PromptSource

Item = TypeVar("Item")

HUB = "hf:"
SOURCES = (TRIO, *SHIPPED, *hub.KNOWN, f"{HUB}OWNER/NAME", "a .jsonl file", "a .csv file")


@dataclass(frozen=True)
class Asked:
    """Which base prompts a set is built from.

    `column`, `hub_split`, `config` and `revision` say where captions lie in a table (None: the
    source's own). With a `seed` prompts are drawn at random, without it from the top. Prompts of
    more than `max_words` words are passed over.
    """

    source: str
    n: int | None = None
    split: Split = "study"
    column: str | None = None
    hub_split: str | None = None
    config: str | None = None
    revision: str | None = None
    seed: int | None = None
    max_words: int | None = None


@dataclass
class PassedOver:
    """Numbers of texts of a source that were not taken, by reason.

    >>> str(PassedOver(repeated=2, too_long=1))
    '2 repeated, 1 too long'
    """

    empty: int = 0
    repeated: int = 0
    too_long: int = 0
    excluded: int = 0

    def __str__(self) -> str:
        reasons = []
        for reason, n in vars(self).items():
            if n:
                reasons.append(f"{n} {reason.replace('_', ' ')}")
        return ", ".join(reasons) or "none"


def collect(asked: Asked, *, exclude: Sequence[Prompt] = ()) -> tuple[list[Prompt], PassedOver]:
    """Base prompts of a source, and what was passed over.

    None shares an id or a text with those of `exclude`; captions that repeat one another but for
    case and punctuation are taken once. Raises `StudyError` if fewer than are asked for are found.

    >>> prompts, passed = collect(Asked("general", n=3))
    >>> len(prompts)
    3
    """
    passed = PassedOver()
    chosen: list[Prompt] = []
    seen: set[str] = set()
    ids = {prompt.id for prompt in exclude}
    texts = comparable_texts(exclude)
    for prompt in _candidates(asked, passed):
        key = normalised(prompt.text)
        if key in seen:
            passed.repeated += 1
        elif asked.max_words is not None and len(words(prompt.text)) > asked.max_words:
            passed.too_long += 1
        elif prompt.id in ids or not texts.isdisjoint(comparable_texts([prompt])):
            passed.excluded += 1
        else:
            seen.add(key)
            chosen.append(prompt)
        if asked.n is not None and len(chosen) == asked.n:
            break
    if not chosen or (asked.n is not None and len(chosen) < asked.n):
        raise StudyError(
            f"{asked.source} gives {len(chosen)} prompts, {asked.n or 'some'} are asked for "
            f"(passed over: {passed}); lower --n, raise --max-words or exclude fewer."
        )
    refuse_repeated_ids(chosen, asked.source)
    return chosen, passed


def _candidates(asked: Asked, passed: PassedOver) -> Iterator[Prompt]:
    """Prompts of a source, before any is passed over but those without text."""
    source, path = asked.source, Path(asked.source)
    if source in hub.KNOWN or source.startswith(HUB):
        captions = hub.read(_captions(asked), seed=asked.seed)
        yield from _numbered(captions, source.removeprefix(HUB), passed)
        return
    if path.suffix not in (".jsonl", ".csv") and source not in (TRIO, *SHIPPED):
        raise StudyError(f"source '{source}' is unknown; give one of {', '.join(SOURCES)}.")
    _refuse_options_of_tables(asked)
    if asked.column is not None:
        texts = read_column(path, asked.column)
        yield from _numbered(_shuffled(texts, asked.seed), path.stem, passed)
    elif source == TRIO:
        if asked.seed is not None:
            raise StudyError(
                "--seed is not for the trio, whose prompts are drawn already: leave it out."
            )
        yield from load_prompts(PromptSource(source=TRIO, n=asked.n), asked.split, Path())
    elif source in SHIPPED:
        yield from _shuffled(load_set(source, asked.split), asked.seed)
    else:
        yield from _shuffled(read_prompts(path), asked.seed)


def _refuse_options_of_tables(asked: Asked) -> None:
    """Refuse options of tables of captions for a source that is none; a .csv file has columns."""
    of_tables = {
        "--column": asked.column,
        "--hub-split": asked.hub_split,
        "--config": asked.config,
        "--revision": asked.revision,
    }
    if Path(asked.source).suffix == ".csv":
        del of_tables["--column"]
    for option, value in of_tables.items():
        if value is not None:
            known = ", ".join(hub.KNOWN)
            raise StudyError(
                f"{option} is for captions of a table (hf:, {known}, .csv), not {asked.source}."
            )


def _captions(asked: Asked) -> hub.Captions:
    """The table of captions that is asked for."""
    if asked.source in hub.KNOWN:
        return hub.known(
            asked.source,
            column=asked.column,
            split=asked.hub_split,
            config=asked.config,
            revision=asked.revision,
        )
    if asked.column is None:
        raise StudyError(f"name the column of the captions in {asked.source} with --column.")
    return hub.Captions(
        repository=asked.source.removeprefix(HUB),
        split=asked.hub_split or "train",
        column=asked.column,
        config=asked.config,
        revision=asked.revision,
    )


def _numbered(texts: Iterable[str], where: str, passed: PassedOver) -> Iterator[Prompt]:
    """Prompts of texts by their rows in a table; rows without text are counted."""
    for number, text in enumerate(texts, start=1):
        if text.strip():
            yield record(numbered(where, number), text, f"{where}, row {number}")
        else:
            passed.empty += 1


def _shuffled(items: list[Item], seed: int | None) -> list[Item]:
    if seed is None:
        return items
    return random.Random(seed).sample(items, len(items))


def write(prompts: Sequence[Prompt], out: Path, made: dict[str, object]) -> str:
    """Write a prompt set and, beside it, `<name>.record.json`; gives the sha256 of the set.

    The record holds `made`, which says how the set was made, the number of prompts and the sha256.
    """
    digest = write_prompts(prompts, out)
    document = {**made, "n_prompts": len(prompts), "sha256": digest}
    write_whole(out.with_suffix(".record.json"), json.dumps(document, indent=1) + "\n")
    return digest
