"""Prompt sets a study can name: the trio's grammar, a shipped set, a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

from generate.errors import StudyError
from generate.prompts.files import read_prompts
from generate.prompts.wording import normalised
from generate.trio.prompt_sets import prompt_set
from schemas.io.files import file_sha256
from schemas.study import Prompt, PromptSource

TRIO = "trio"
DEFAULT_TRIO_PROMPTS = 100
SHIPPED = {
    "general": "varied scenes",
    "imagenet": "names of ImageNet's classes, for class-conditional models",
}
"""Prompt sets that ship as files beside this module, and what they are.

The files are `<name>-study.jsonl` and `<name>-calibration.jsonl`. Of the two classes that are called
cardigan, dog and garment, neither is in `imagenet`.
"""

Split = Literal["study", "calibration"]


def split_named(name: str) -> Split:
    """The split of a name; raises `StudyError` if there is none.

    >>> split_named("study")
    'study'
    """
    if name == "study":
        return "study"
    if name == "calibration":
        return "calibration"
    raise StudyError(f"split is '{name}'; give study or calibration.")


def load_prompts(source: PromptSource, split: Split, base: Path) -> list[Prompt]:
    """Prompts of a source, in order; relative paths start from `base`.

    The two splits of the trio's grammar, and of a shipped set, share no meaning; a file serves
    whichever split names it. Raises `StudyError` if the source cannot be read or holds fewer
    prompts than it is asked for.

    >>> prompts = load_prompts(PromptSource(source="trio", n=2), "study", Path())
    >>> len(prompts)
    2
    """
    if source.source == TRIO:
        records = prompt_set(split, source.n or DEFAULT_TRIO_PROMPTS, seed=0)
        return [Prompt.model_validate(record) for record in records]
    prompts = read_prompts(source_file(source, split, base))
    if source.n is not None and source.n > len(prompts):
        raise StudyError(
            f"{source.source} holds {len(prompts)} prompts, but n is {source.n}: lower it or add "
            "prompts."
        )
    return prompts[: source.n]


def load_set(name: str, split: Split) -> list[Prompt]:
    """All prompts of a set by its name, or of a file by its path from the current folder.

    Of the trio, which has any number, the first 100.
    """
    return load_prompts(PromptSource(source=name), split, Path())


def source_file(source: PromptSource, split: Split, base: Path) -> Path:
    """The file behind a source other than the trio; relative paths start from `base`."""
    name = source.source
    if name in SHIPPED:
        return Path(str(resources.files(__package__))) / f"{name}-{split}.jsonl"
    return base / name


def source_digest(source: PromptSource, split: Split, base: Path) -> dict[str, str]:
    """sha256 of the file behind a source, by the name the study gives it.

    Empty for the trio, which has no file.
    """
    name = source.source
    if name == TRIO:
        return {}
    if name in SHIPPED:
        name = f"{name} ({split})"
    return {name: file_sha256(source_file(source, split, base))}


def overlap(study: Sequence[Prompt], calibration: Sequence[Prompt]) -> list[str]:
    """Ids of calibration prompts that share an id or a text with those of the study.

    Texts are compared without case and punctuation.
    """
    ids = {prompt.id for prompt in study}
    texts = comparable_texts(study)
    shared = []
    for prompt in calibration:
        if prompt.id in ids or not texts.isdisjoint(comparable_texts([prompt])):
            shared.append(prompt.id)
    return shared


def doubled(prompts: Sequence[Prompt]) -> list[tuple[str, str]]:
    """Ids of prompts that have the text of one before, and of that one.

    Texts are compared without case and punctuation.

    >>> doubled([Prompt(id="cat", text="A cat."), Prompt(id="again", text="a cat")])
    [('again', 'cat')]
    """
    first: dict[str, str] = {}
    found = []
    for prompt in prompts:
        owner = first.setdefault(normalised(prompt.text), prompt.id)
        if owner != prompt.id:
            found.append((prompt.id, owner))
    return found


def comparable_texts(prompts: Sequence[Prompt]) -> set[str]:
    """All texts of the prompts, paraphrases too, as they are compared for duplicates.

    >>> comparable_texts([Prompt(id="cat", text="A cat.")])
    {'a cat'}
    """
    found = set()
    for prompt in prompts:
        variants = prompt.paraphrases
        for text in (prompt.text, *variants.short, *variants.medium, *variants.long):
            found.add(normalised(text))
    return found


def prompts_digest(prompts: Sequence[Prompt]) -> str:
    """sha256 of a prompt set: ids, texts, paraphrases and attributes, in their order."""
    records = [prompt.model_dump() for prompt in prompts]
    canonical = json.dumps(records, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
