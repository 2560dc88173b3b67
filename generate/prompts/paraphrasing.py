"""Paraphrases from a language model: what it is asked, what of its answer counts, and a record that outlives a stop."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from generate.errors import StudyError
from generate.prompts.checks import LENGTHS, of_the_trio, paraphrases
from generate.prompts.wording import counts_and_colours, length_class, normalised
from schemas.study import LENGTH_WORDS, LengthClass, Paraphrases, Prompt

ROUNDS = 4
"""Times a model is asked for the paraphrases of one prompt in one length that it still owes."""

_STYLE = {
    "short": "Use the fewest words that keep every fact, as in a list of keywords or a headline.",
    "medium": "Write plain, natural sentences.",
    "long": "Say the same at greater length, in natural sentences, without a new object, colour, number or mood.",
}
_NUMBERED = re.compile(r"\s*\**\(?\d{1,2}[.):]\**\s+(?P<text>.*)")


class LanguageModel(Protocol):
    """Anything that answers a request in words."""

    @property
    def name(self) -> str:
        """Which model, with the settings its answers depend on; never a secret."""

    def answer(self, request: str, seed: int) -> str:
        """Answer to a request; raises `StudyError` if there is none to be had."""


class Answers:
    """Answers of language models in an append-only JSONL file: what is there is never asked again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
        whole = lines[:-1]  # a last line without its end was cut off by a kill: it is asked again
        try:
            self._known = {entry["key"]: str(entry["answer"]) for entry in map(json.loads, whole)}
        except (ValueError, KeyError, TypeError):
            raise StudyError(
                f"{path} does not hold recorded answers: give another --answers, or delete it."
            ) from None
        if lines and lines[-1]:
            path.write_text("".join(line + "\n" for line in whole), encoding="utf-8")

    def get(self, model: LanguageModel, request: str, seed: int) -> str:
        """The recorded answer, or the model's, recorded before it is returned."""
        key = hashlib.sha256(json.dumps([model.name, request, seed]).encode()).hexdigest()
        if key not in self._known:
            answer = model.answer(request, seed)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "model": model.name, "answer": answer}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self._known[key] = answer
        return self._known[key]


def instruction(text: str, length: LengthClass, n: int, known: Sequence[str]) -> str:
    """What a language model is asked: `n` rewritings of `text` in one length, none of them one of `known`."""
    low, high = LENGTH_WORDS[length]
    avoid = "".join(f"\n- {other}" for other in known)
    return (
        f"Rewrite a prompt for an image generator in {n} different ways. Every rewriting asserts exactly the same "
        "facts: the same objects, counts, colours, places, relations, style and mood. Nothing is added, nothing is "
        f"left out. Each rewriting has {low} to {high} words. {_STYLE[length]} Answer with a numbered list of {n} "
        f"lines, one rewriting a line, and nothing else.\n\nPrompt: {text}"
        + (f"\n\nDo not repeat any of these:{avoid}" if known else "")
    )


def with_paraphrases(
    prompts: Sequence[Prompt],
    model: LanguageModel,
    answers: Answers,
    *,
    per_length: int,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Prompt]:
    """The prompts with at least `per_length` paraphrases in each length class; those they have are kept.

    Of an answer, a numbered line counts if it is in the length class, names the numbers and colours of the base
    prompt and is no duplicate of any text of the set. What is missing is asked for again, up to `ROUNDS` times; then
    the set cannot be completed and `StudyError` names the prompt.
    """
    taken = {
        normalised(text)
        for prompt in prompts
        for text in (prompt.text, *(t for _, t in paraphrases(prompt)))
    }
    completed = []
    for done, prompt in enumerate(prompts):
        progress(done)
        found: dict[str, list[str]] = {}
        for length in LENGTHS:
            found[length] = list(getattr(prompt.paraphrases, length))
            for turn in range(ROUNDS):
                if len(found[length]) >= per_length:
                    break
                owed = per_length - len(found[length])
                request = instruction(prompt.text, length, owed, found[length])
                answer = answers.get(model, request, seed + turn)
                found[length] += _usable(answer, length, counts_and_colours(prompt.text), taken)[
                    :owed
                ]
            if len(found[length]) < per_length:
                raise StudyError(
                    f"{model.name} gave {len(found[length])} usable {length} paraphrases of prompt '{prompt.id}' in "
                    f"{ROUNDS} rounds, {per_length} are asked for; what counts is a numbered line of "
                    f"{LENGTH_WORDS[length][0]} to {LENGTH_WORDS[length][1]} words, with the numbers and colours of "
                    f"the prompt, and no duplicate. Its answers are in {answers.path}; choose "
                    "another model or seed, or a lower --per-length."
                )
        completed.append(
            prompt.model_copy(update={"paraphrases": Paraphrases.model_validate(found)})
        )
    progress(len(prompts))
    return completed


def _usable(answer: str, length: LengthClass, facts: frozenset[str], taken: set[str]) -> list[str]:
    """Lines of an answer that are new paraphrases of a length; they are added to `taken`.

    Lines without a number are a model talking about its task, or declining it.
    """
    found = []
    for match in filter(None, map(_NUMBERED.fullmatch, answer.splitlines())):
        text = match["text"].strip().strip('"“”').strip()
        if (
            length_class(text) == length
            and counts_and_colours(text) == facts
            and normalised(text) not in taken
        ):
            taken.add(normalised(text))
            found.append(text)
    return found


def from_grammar(prompts: Iterable[Prompt], *, per_length: int) -> list[Prompt]:
    """The prompts with the wordings the trio's grammar has for their attributes: exactly equal in meaning.

    The order of the wordings is that of the grammar, whose first `per_length` other than the base text are taken.
    """
    from generate.trio.captions import all_captions

    completed = []
    for prompt in prompts:
        if not of_the_trio(prompt):
            raise StudyError(
                f"prompt '{prompt.id}' has no attributes of the trio's grammar, which words no other meaning; ask a "
                "language model for its paraphrases: --paraphrase transformers or endpoint."
            )
        found = {}
        for length in LENGTHS:
            texts = [
                text for text in all_captions(prompt.attributes, length) if text != prompt.text
            ]
            if len(texts) < per_length:
                raise StudyError(
                    f"the trio's grammar has {len(texts)} other {length} wordings of prompt '{prompt.id}', "
                    f"{per_length} are asked for: lower --per-length."
                )
            found[length] = texts[:per_length]
        completed.append(
            prompt.model_copy(update={"paraphrases": Paraphrases.model_validate(found)})
        )
    return completed
