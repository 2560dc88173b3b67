"""Read prompt sets from the trio's grammar or from a file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from generate.errors import StudyError
from schemas.study import Prompt, PromptSource

TRIO = "trio"
DEFAULT_TRIO_PROMPTS = 100


def load_prompts(source: PromptSource, split: Literal["study", "calibration"], base: Path) -> list[Prompt]:
    """Prompts of a source, in order; relative paths are resolved against `base`.

    The trio's grammar keeps the meanings of the two splits apart by construction; a file serves whichever
    split names it.
    """
    if source.source == TRIO:
        from generate.trio.prompt_sets import prompt_set

        records = prompt_set(split, source.n or DEFAULT_TRIO_PROMPTS, seed=0)
        return [Prompt.model_validate(record) for record in records]
    prompts = read_jsonl(base / source.source)
    if source.n is not None and source.n > len(prompts):
        raise StudyError(f"{source.source} holds {len(prompts)} prompts, but n is {source.n}: lower it or add prompts.")
    return prompts[: source.n]


def read_jsonl(path: Path) -> list[Prompt]:
    """Prompt records of a file, one JSON object a line."""
    if not path.is_file():
        raise StudyError(f"prompt file {path} does not exist; give a .jsonl file, or 'trio' for the trio's grammar.")
    prompts = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            prompts.append(_record(line, f"{path}, line {number}"))
    if not prompts:
        raise StudyError(f"prompt file {path} is empty; it needs one JSON object with `id` and `text` a line.")
    repeated = [name for name, count in Counter(p.id for p in prompts).items() if count > 1]
    if repeated:
        raise StudyError(f"{path} uses prompt id '{repeated[0]}' more than once; ids name prompts in the store.")
    return prompts


def _record(line: str, where: str) -> Prompt:
    try:
        return Prompt.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "record"
        raise StudyError(f"{where}: {field}: {first['msg']}; fields are {', '.join(Prompt.model_fields)}.") from None


def overlap(study: Sequence[Prompt], calibration: Sequence[Prompt]) -> list[str]:
    """Ids of calibration prompts that share a text, or an id, with the study's."""
    ids = {prompt.id for prompt in study}
    texts = {text for prompt in study for text in _texts(prompt)}
    return [prompt.id for prompt in calibration if prompt.id in ids or texts & set(_texts(prompt))]


def _texts(prompt: Prompt) -> list[str]:
    variants = prompt.paraphrases
    return [prompt.text, *variants.short, *variants.medium, *variants.long]


def prompts_digest(prompts: Sequence[Prompt]) -> str:
    """sha256 of a prompt set: ids, texts and paraphrases."""
    canonical = json.dumps([prompt.model_dump() for prompt in prompts], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
