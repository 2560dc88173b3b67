"""What each model sees of each text of a study: how many tokens, whether it was cut, which texts are one to it."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from generate.study.plan import Plan
from generate.study.probes import paraphrases
from schemas.study import Prompt


@dataclass(frozen=True)
class Reading:
    """What a model sees of a text: the token ids that reach it, without padding, and whether the rest was cut off."""

    tokens: tuple[int, ...]
    cut: bool


Text = tuple[str, int, str]
"""A text, the index of its prompt, and its kind: original, short, medium or long."""


def texts(prompts: Sequence[Prompt]) -> list[Text]:
    """All texts of the prompts, in the order of the store."""
    return [
        (text, index, kind)
        for index, prompt in enumerate(prompts)
        for text, kind in _of_prompt(prompt)
    ]


def _of_prompt(prompt: Prompt) -> Iterator[tuple[str, str]]:
    yield prompt.text, "original"
    for kind in ("short", "medium", "long"):
        for text in paraphrases(prompt, kind):
            yield text, kind


def readings(plan: Plan) -> dict[str, list[Reading]]:
    """Reading of every text by every model that can tell, by its label; warns of texts that are one to a model."""
    from generate.models import model_class

    all_texts = texts(plan.prompts)
    found = {}
    for label, choice in zip(plan.models, plan.study.models, strict=True):
        adapter = model_class(choice.model)
        read = adapter.read(adapter.options(choice.options), [text for text, _, _ in all_texts])
        if read is not None:
            found[label] = read
            _warn_of_twins(label, plan.prompts, all_texts, read)
    return found


def twins(all_texts: Sequence[Text], read: Sequence[Reading]) -> list[tuple[int, str, str]]:
    """Pairs of different wordings of one prompt that reach a model as the same tokens: its index and the two texts."""
    alike: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for (text, index, _), reading in zip(all_texts, read, strict=True):
        alike.setdefault((index, reading.tokens), []).append(text)
    return [
        (index, one, other)
        for (index, _), group in alike.items()
        for one, other in itertools.combinations(group, 2)
        if one != other
    ]


def _warn_of_twins(
    label: str, prompts: Sequence[Prompt], all_texts: Sequence[Text], read: Sequence[Reading]
) -> None:
    """Warn if wordings of one prompt reach the model as the same tokens, so that they are not paraphrases to it."""
    found = twins(all_texts, read)
    if found:
        index, text, _ = found[0]
        n_cut = sum(reading.cut for reading in read)
        warnings.warn(
            f"{len(found)} pairs of wordings are the same to model '{label}' ({n_cut} texts are cut); the first is of "
            f"prompt '{prompts[index].id}': '{text[:60]}'. Shorten or replace one of each, or read the paraphrase "
            "probe with that in mind.",
            stacklevel=2,
        )
