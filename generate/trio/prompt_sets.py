"""Prompt sets from the caption grammar: study and calibration prompts never share a meaning."""

import hashlib
from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from generate.trio.captions import LENGTHS, Meaning, all_captions
from generate.trio.scenes import ATTRIBUTES

SPLITS = ("study", "calibration")
PARAPHRASES = 5  # per length
LARGEST_SET = 2000  # of some 5,700 meanings in each split
ALWAYS_NAMED = ("shape", "colour")
NAMED_PROBABILITY = 0.65  # of every other attribute, as in training


class PromptRecord(TypedDict):
    """One prompt, as a line of a prompt file has it.

    `text` is a medium wording. `paraphrases` has up to five more of the same meaning for each of
    `LENGTHS`, different in each; `attributes` is the meaning, which leaves open what it does not
    name.
    """

    id: str
    text: str
    paraphrases: dict[str, list[str]]
    attributes: dict[str, str]


def prompt_set(split: str, count: int, seed: int) -> list[PromptRecord]:
    """`count` prompts of distinct meaning; a larger count from the same seed continues the list.

    The split ("study" or "calibration") of a meaning is fixed by its hash, and so are its id and
    its texts: they depend neither on `seed` nor on `count`. Raises ValueError for another split, or
    for more than `LARGEST_SET` prompts.

    >>> prompt_set("study", 1, seed=0)[0]["attributes"]["shape"] in ATTRIBUTES["shape"]
    True
    """
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}; use one of {', '.join(SPLITS)}.")
    if not 0 <= count <= LARGEST_SET:
        raise ValueError(f"Asked for {count} prompts; ask for 0 to {LARGEST_SET}.")
    rng = np.random.default_rng(seed)
    records: dict[str, PromptRecord] = {}
    while len(records) < count:
        meaning = _draw_meaning(rng)
        if split_of(meaning) == split:
            record = _record(meaning, split)
            records.setdefault(record["id"], record)
    return list(records.values())


def split_of(meaning: Meaning) -> str:
    """The split a meaning belongs to, "study" or "calibration".

    A hash of the meaning decides, so about half of all go to each, and never one to both.
    """
    return SPLITS[_digest(meaning)[0] % len(SPLITS)]


def _draw_meaning(rng: np.random.Generator) -> dict[str, str]:
    """A value for every attribute, some of them left open."""
    drawn = [values[rng.integers(len(values))] for values in ATTRIBUTES.values()]
    named = rng.random(len(ATTRIBUTES)) < NAMED_PROBABILITY
    meaning = {}
    for name, value, kept in zip(ATTRIBUTES, drawn, named, strict=True):
        if kept or name in ALWAYS_NAMED:
            meaning[name] = value
    return meaning


def _record(meaning: Mapping[str, str], split: str) -> PromptRecord:
    digest = _digest(meaning)
    rng = np.random.default_rng(int.from_bytes(digest))
    paraphrases, original = {}, ""
    for length in LENGTHS:
        texts = rng.permutation(all_captions(meaning, length)).tolist()
        if length == "medium":
            original = texts.pop()
        paraphrases[length] = texts[:PARAPHRASES]
    return PromptRecord(
        id=f"{split}-{digest.hex()[:10]}",
        text=original,
        paraphrases=paraphrases,
        attributes=dict(meaning),
    )


def _digest(meaning: Meaning) -> bytes:
    text = ";".join(f"{attribute}={meaning.get(attribute, '')}" for attribute in ATTRIBUTES)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
