"""Prompt sets a study can name: the trio's grammar, the shipped general set, a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

from generate.errors import StudyError
from generate.prompts.files import file_sha256, read_prompts
from generate.prompts.wording import normalised
from schemas.study import Prompt, PromptSource

TRIO = "trio"
DEFAULT_TRIO_PROMPTS = 100
SHIPPED = {"general": "generate.prompts"}
"""Prompt sets that ship as files, `<name>-study.jsonl` and `<name>-calibration.jsonl`, and the package they are in."""

Split = Literal["study", "calibration"]


def load_prompts(source: PromptSource, split: Split, base: Path) -> list[Prompt]:
    """Prompts of a source, in order; relative paths are resolved against `base`.

    The two splits of the trio's grammar, and of a shipped set, share no meaning; a file serves whichever split names
    it.
    """
    if source.source == TRIO:
        from generate.trio.prompt_sets import prompt_set

        records = prompt_set(split, source.n or DEFAULT_TRIO_PROMPTS, seed=0)
        return [Prompt.model_validate(record) for record in records]
    prompts = read_prompts(source_file(source, split, base))
    if source.n is not None and source.n > len(prompts):
        raise StudyError(
            f"{source.source} holds {len(prompts)} prompts, but n is {source.n}: lower it or add prompts."
        )
    return prompts[: source.n]


def source_file(source: PromptSource, split: Split, base: Path) -> Path:
    """The file behind a source other than the trio."""
    if source.source in SHIPPED:
        return Path(str(resources.files(SHIPPED[source.source]))) / f"{source.source}-{split}.jsonl"
    return base / source.source


def source_digest(source: PromptSource, split: Split, base: Path) -> dict[str, str]:
    """sha256 of the file behind a source, by the name the study gives it; empty for the trio, which has none."""
    if source.source == TRIO:
        return {}
    name = f"{source.source} ({split})" if source.source in SHIPPED else source.source
    return {name: file_sha256(source_file(source, split, base))}


def overlap(study: Sequence[Prompt], calibration: Sequence[Prompt]) -> list[str]:
    """Ids of calibration prompts that share an id with the study's, or a text but for case and punctuation."""
    ids = {prompt.id for prompt in study}
    texts = comparable_texts(study)
    return [p.id for p in calibration if p.id in ids or not texts.isdisjoint(comparable_texts([p]))]


def comparable_texts(prompts: Sequence[Prompt]) -> set[str]:
    """All texts of the prompts, paraphrases too, without what makes no difference between duplicates."""
    return {
        normalised(text)
        for prompt in prompts
        for variants in (prompt.paraphrases,)
        for text in (prompt.text, *variants.short, *variants.medium, *variants.long)
    }


def prompts_digest(prompts: Sequence[Prompt]) -> str:
    """sha256 of a prompt set: ids, texts and paraphrases."""
    canonical = json.dumps(
        [prompt.model_dump() for prompt in prompts], sort_keys=True, ensure_ascii=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()
