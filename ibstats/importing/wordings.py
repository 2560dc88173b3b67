"""Which text each sample was made from, where that is not always the prompt itself: paraphrases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ibstats.errors import IbstatsError, unknown
from ibstats.importing.conditions import Meaning
from ibstats.importing.layout import Cell
from ibstats.importing.prompts import Prompts, table_rows
from schemas.io.template import column

WORDING = "prompt_type"
"""A factor of the wording."""
ORIGINAL, OTHER = "original", "other"
"""Kinds of a text: the prompt itself, or another wording of it."""


@dataclass(frozen=True)
class Wordings:
    """The texts of a run, and the one that each sample was made from."""

    texts: list[str]
    owners: list[int]
    """Number of the prompt that each text words."""
    index: NDArray[np.int32]
    """Number of the text of each sample, `(condition, prompt, sample)`; -1 where there is none."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Give them as the store has them, by the names of its variables and coordinates."""
        kinds = [OTHER] * len(self.texts)
        kinds[: self.index.shape[1]] = [ORIGINAL] * self.index.shape[1]
        return {
            "text": column("text", self.texts),
            "text_prompt": column("text_prompt", self.owners),
            "text_kind": column("text_kind", kinds),
            "text_index": self.index,
        }


def original(prompts: Prompts, conditions: Sequence[str], counts: Mapping[Cell, int]) -> Wordings:
    """Give the wordings of a run whose samples are all made from their prompts.

    `counts` are the samples of each condition and prompt.
    """
    n_samples = max(counts.values())
    index = np.full((len(conditions), len(prompts.labels), n_samples), -1, dtype=np.int32)
    for number, condition in enumerate(conditions):
        for row, label in enumerate(prompts.labels):
            index[number, row, : counts[condition, label]] = row
    texts = [record.text for record in prompts.records]
    return Wordings(texts, list(range(len(texts))), index)


def own_texts(prompts: Prompts, design: Meaning, counts: Mapping[Cell, int]) -> Wordings | None:
    """Give `original`, or None where nobody says which texts samples were made from.

    So it is where the texts of the prompts are not known, and where a factor of the wording says
    that samples have others.
    """
    reworded = any(factor.name == WORDING for factor in design.factors)
    if reworded or not prompts.known:
        return None
    return original(prompts, design.conditions, counts)


def wordings_of(
    file: str,
    prompts: Prompts,
    conditions: Sequence[str],
    counts: Mapping[Cell, int],
    names: Mapping[Cell, Sequence[str]],
) -> Wordings:
    """Give the wordings that a CSV or JSONL file names; other samples have their prompt's own text.

    Its rows have `condition`, `prompt` and `text`, and `sample` where the samples of the prompt in
    the condition differ; `names` are those of the samples of each, in order. Raises IbstatsError
    where the texts of the prompts are not known, for rows that lack one of these, that name what is
    not there, or that give a sample two texts.
    """
    if not prompts.known:
        raise IbstatsError(
            f"'{file}' says which wordings made the samples, but not of what: give the texts of the "
            "prompts too (`prompts`, --prompts)"
        )
    made = original(prompts, conditions, counts)
    numbers: dict[tuple[int, str], int] = {}
    for owner, text in enumerate(made.texts):
        numbers[owner, text] = owner
    given = np.zeros(made.index.shape, bool)
    for row in table_rows(Path(file), ("condition", "prompt", "text"), "texts"):
        cell = row["condition"], row["prompt"]
        if cell[0] not in conditions:
            raise unknown(f"condition in '{file}'", cell[0], conditions)
        if cell[1] not in prompts.labels:
            raise unknown(f"prompt in '{file}'", cell[1], prompts.labels[:5])
        place = conditions.index(cell[0]), prompts.labels.index(cell[1])
        samples = slice(0, counts[cell])
        if row.get("sample"):
            if row["sample"] not in names[cell]:
                raise unknown(f"sample of {cell} in '{file}'", row["sample"], names[cell])
            first = names[cell].index(row["sample"])
            samples = slice(first, first + 1)
        if given[(*place, samples)].any():
            raise IbstatsError(
                f"'{file}' gives a sample of prompt '{cell[1]}' in condition '{cell[0]}' two texts"
            )
        given[(*place, samples)] = True
        key = place[1], row["text"]
        if key not in numbers:
            numbers[key] = len(made.texts)
            made.texts.append(row["text"])
            made.owners.append(place[1])
        made.index[(*place, samples)] = numbers[key]
    return made
