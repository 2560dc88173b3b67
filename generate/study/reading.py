"""The texts of a study as a model sees them: how many tokens, whether one was cut, which are alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from generate.study.probes import paraphrases
from schemas.moved import attributes
from schemas.study import Prompt


@dataclass(frozen=True)
class Reading:
    """What a model sees of a text.

    `tokens` are the ids that reach it, without padding; `cut` is whether the rest was cut off.
    """

    tokens: tuple[int, ...]
    cut: bool


Text = tuple[str, int, str]
"""A text, the index of its prompt, and its kind: original, short, medium or long."""


def texts(prompts: Sequence[Prompt]) -> list[Text]:
    """All texts of the prompts, in the order of the store: of each prompt the original first.

    >>> texts([Prompt(id="cat", text="a cat")])
    [('a cat', 0, 'original')]
    """
    found = []
    for index, prompt in enumerate(prompts):
        for text, kind in _of_prompt(prompt):
            found.append((text, index, kind))
    return found


def _of_prompt(prompt: Prompt) -> Iterator[tuple[str, str]]:
    yield prompt.text, "original"
    for kind in ("short", "medium", "long"):
        for text in paraphrases(prompt, kind):
            yield text, kind


def twins(all_texts: Sequence[Text], read: Sequence[Reading]) -> list[tuple[int, str, str]]:
    """Pairs of different wordings of one prompt that reach a model as the same tokens.

    `read` has one reading a text. Of each pair come the index of its prompt and the two texts.

    >>> cut = Reading(tokens=(7,), cut=True)
    >>> twins([("a cat", 0, "original"), ("a cat sleeps", 0, "short")], [cut, cut])
    [(0, 'a cat', 'a cat sleeps')]
    """
    alike: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for (text, index, _), reading in zip(all_texts, read, strict=True):
        alike.setdefault((index, reading.tokens), []).append(text)
    found = []
    for (index, _), group in alike.items():
        for one, other in itertools.combinations(group, 2):
            if one != other:
                found.append((index, one, other))
    return found


__getattr__ = attributes(__name__)
