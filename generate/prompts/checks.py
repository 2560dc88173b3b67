"""What is wrong with a prompt set, by its texts alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from generate.prompts.wording import (
    counts_and_colours,
    is_of_length,
    normalised,
    words,
)
from generate.trio.captions import all_captions
from generate.trio.scenes import ATTRIBUTES
from schemas.study import LENGTH_WORDS, LengthClass, Prompt

LENGTHS: tuple[LengthClass, ...] = get_args(LengthClass)
WANTED = 5
"""Paraphrases a prompt should have in each length class: the factorial spreads samples over them."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a prompt set.

    `kind` is what kind of thing, `prompt` the id of the prompt it is first seen in, `line` says it.
    """

    kind: str
    prompt: str
    line: str


def check(prompts: Sequence[Prompt], *, per_length: int = WANTED) -> list[Problem]:
    """All problems of a prompt set; `per_length` paraphrases are wanted in each length class.

    Kinds: `too few` paraphrases in a length class; `duplicate` texts, but for case, punctuation and
    spacing, within a prompt and across prompts; `length class` that the number of words
    contradicts, in scripts that put spaces between words; `numbers and colours` of the base prompt
    that a paraphrase lacks or adds (English words); `grammar`: a prompt whose `attributes` are a
    meaning of the trio's must be worded as its grammar words exactly that in that length, in place
    of the last two.

    >>> [problem.kind for problem in check([Prompt(id="cat", text="a cat")])]
    ['too few', 'too few', 'too few']
    """
    problems = [*_too_few(prompts, per_length), *_duplicates(prompts)]
    for prompt in prompts:
        problems += _grammar(prompt) if of_the_trio(prompt) else _wording(prompt)
    return problems


def of_the_trio(prompt: Prompt) -> bool:
    """Whether the attributes of a prompt are a meaning of the trio's grammar.

    >>> of_the_trio(Prompt(id="cat", text="a cat"))
    False
    """
    for name, value in prompt.attributes.items():
        if value not in ATTRIBUTES.get(name, ()):
            return False
    return bool(prompt.attributes)


def paraphrases(prompt: Prompt) -> Iterator[tuple[LengthClass, str]]:
    """Paraphrases of a prompt, each after the length class it is filed under."""
    for length in LENGTHS:
        for text in getattr(prompt.paraphrases, length):
            yield length, text


def _too_few(prompts: Sequence[Prompt], per_length: int) -> Iterator[Problem]:
    for prompt in prompts:
        for length in LENGTHS:
            n = len(getattr(prompt.paraphrases, length))
            if n < per_length:
                line = (
                    f"prompt '{prompt.id}' has {n} {length} paraphrases, {per_length} are asked "
                    "for."
                )
                yield Problem("too few", prompt.id, line)


def _duplicates(prompts: Sequence[Prompt]) -> Iterator[Problem]:
    first_in: dict[str, str] = {}
    for prompt in prompts:
        for text in (prompt.text, *(text for _, text in paraphrases(prompt))):
            key = normalised(text)
            if key in first_in:
                line = f"'{text}' of prompt '{prompt.id}' is in prompt '{first_in[key]}' before."
                yield Problem("duplicate", prompt.id, line)
            first_in.setdefault(key, prompt.id)


def _wording(prompt: Prompt) -> Iterator[Problem]:
    facts = counts_and_colours(prompt.text)
    for length, text in paraphrases(prompt):
        low, high = LENGTH_WORDS[length]
        what = f"'{text}' of prompt '{prompt.id}'"
        if not is_of_length(text, length):
            line = f"{what} has {len(words(text))} words; {length} is {low} to {high}."
            yield Problem("length class", prompt.id, line)
        differing = facts ^ counts_and_colours(text)
        if differing:
            named = ", ".join(sorted(differing))
            line = f"{what} and its base prompt differ in {named}."
            yield Problem("numbers and colours", prompt.id, line)


def _grammar(prompt: Prompt) -> Iterator[Problem]:
    for length, text in paraphrases(prompt):
        if text not in all_captions(prompt.attributes, length):
            line = (
                f"'{text}' of prompt '{prompt.id}' is no {length} wording of its attributes in the "
                "trio's grammar."
            )
            yield Problem("grammar", prompt.id, line)
