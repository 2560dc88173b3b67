"""Paraphrases from a language model: what it is asked, what of its answer counts, and a record.

The record outlives a stop, so that a model is never asked twice for the same.
"""

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
from generate.prompts.wording import counts_and_colours, is_of_length, normalised
from generate.trio.captions import all_captions
from schemas.io.files import write_whole
from schemas.study import LENGTH_WORDS, LengthClass, Paraphrases, Prompt

ROUNDS = 4
"""Times a model is asked for the paraphrases of one prompt in one length that it still owes."""

_STYLE = {
    "short": "Use the fewest words that keep every fact, as in a list of keywords or a headline.",
    "medium": "Write plain, natural sentences.",
    "long": (
        "Say the same at greater length, in natural sentences, without a new object, colour, "
        "number or mood."
    ),
}
_NUMBERED = re.compile(r"\s*\**\(?\d{1,2}[.):]\**\s+(?P<text>.*)")
_QUOTES = '"“”'


class LanguageModel(Protocol):
    """Anything that answers a request in words: an endpoint, a local model, or one of the user's.

    Answers are kept under its `name`, so whatever changes them must be in it.
    """

    @property
    def name(self) -> str:
        """Which model, with the settings its answers depend on; never a secret."""

    def answer(self, request: str, seed: int) -> str:
        """The answer to a request, as the model words it.

        `seed` is to give the same answer again where the model can. Raises `StudyError` if there is
        none to be had.
        """


class Answers:
    """Answers of language models in an append-only JSONL file: what is there is never asked again.

    A last line without its end was cut off by a kill, and is asked again. Raises `StudyError` if
    the file holds anything else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = [""]
        if path.is_file():
            lines = path.read_text(encoding="utf-8").split("\n")
        whole, unfinished = lines[:-1], lines[-1]
        self._known: dict[str, str] = {}
        try:
            for line in whole:
                entry = json.loads(line)
                self._known[entry["key"]] = str(entry["answer"])
        except (ValueError, KeyError, TypeError):
            raise StudyError(
                f"{path} does not hold recorded answers: give another --answers, or delete it."
            ) from None
        if unfinished:
            write_whole(path, "".join(line + "\n" for line in whole))

    def get(self, model: LanguageModel, request: str, seed: int) -> str:
        """The recorded answer to a request, or the model's, recorded before it is returned.

        An answer is known by the name of the model, the request and the seed.
        """
        key = hashlib.sha256(json.dumps([model.name, request, seed]).encode()).hexdigest()
        if key not in self._known:
            answer = model.answer(request, seed)
            line = json.dumps({"key": key, "model": model.name, "answer": answer}) + "\n"
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            self._known[key] = answer
        return self._known[key]


def instruction(text: str, length: LengthClass, n: int, known: Sequence[str]) -> str:
    """What a language model is asked: `n` rewritings of `text` in one length.

    None of them shall be one of `known`. Recorded answers are found by this text: a change of it
    has every model asked anew.
    """
    low, high = LENGTH_WORDS[length]
    request = (
        f"Rewrite a prompt for an image generator in {n} different ways. Every rewriting asserts "
        "exactly the same facts: the same objects, counts, colours, places, relations, style and "
        "mood. Nothing is added, nothing is left out. "
        f"Each rewriting has {low} to {high} words. {_STYLE[length]} Answer with a numbered list "
        f"of {n} lines, one rewriting a line, and nothing else.\n\nPrompt: {text}"
    )
    if known:
        avoid = "".join(f"\n- {other}" for other in known)
        request += f"\n\nDo not repeat any of these:{avoid}"
    return request


def with_paraphrases(
    prompts: Sequence[Prompt],
    model: LanguageModel,
    answers: Answers,
    *,
    per_length: int,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Prompt]:
    """The prompts with at least `per_length` paraphrases in each length class; theirs are kept.

    Of an answer, a numbered line counts if it is in the length class, names the numbers and colours
    of the base prompt and is no duplicate of any text of the set. What is missing is asked for
    again, up to `ROUNDS` times, each with a seed of its own from `seed` up; then the set cannot be
    completed and `StudyError` names the prompt. `progress` is told how many prompts are done.
    """
    taken = set()
    for prompt in prompts:
        taken.add(normalised(prompt.text))
        for _, text in paraphrases(prompt):
            taken.add(normalised(text))
    completed = []
    for done, prompt in enumerate(prompts):
        progress(done)
        found = {}
        for length in LENGTHS:
            found[length] = _owed(prompt, length, model, answers, per_length, seed, taken)
        completed.append(_with(prompt, found))
    progress(len(prompts))
    return completed


def _owed(
    prompt: Prompt,
    length: LengthClass,
    model: LanguageModel,
    answers: Answers,
    per_length: int,
    seed: int,
    taken: set[str],
) -> list[str]:
    """The paraphrases of a prompt in a length, with what a model had to add."""
    found = list(getattr(prompt.paraphrases, length))
    facts = counts_and_colours(prompt.text)
    for turn in range(ROUNDS):
        owed = per_length - len(found)
        if owed <= 0:
            break
        request = instruction(prompt.text, length, owed, found)
        answer = answers.get(model, request, seed + turn)
        found += _usable(answer, length, facts, taken)[:owed]
    if len(found) < per_length:
        low, high = LENGTH_WORDS[length]
        raise StudyError(
            f"{model.name} gave {len(found)} usable {length} paraphrases of prompt '{prompt.id}' "
            f"in {ROUNDS} rounds, {per_length} are asked for; what counts is a numbered line of "
            f"{low} to {high} words, with the numbers and colours of the prompt, and no duplicate. "
            f"Its answers are in {answers.path}; choose another model or seed, or a lower "
            "--per-length."
        )
    return found


def _with(prompt: Prompt, found: dict[LengthClass, list[str]]) -> Prompt:
    return prompt.model_copy(update={"paraphrases": Paraphrases.model_validate(found)})


def _usable(answer: str, length: LengthClass, facts: frozenset[str], taken: set[str]) -> list[str]:
    """Lines of an answer that are new paraphrases of a length; they are added to `taken`.

    Lines without a number are a model talking about its task, or declining it.
    """
    found = []
    for line in answer.splitlines():
        match = _NUMBERED.fullmatch(line)
        if match is None:
            continue
        text = match["text"].strip().strip(_QUOTES).strip()
        fits = is_of_length(text, length) and counts_and_colours(text) == facts
        if fits and normalised(text) not in taken:
            taken.add(normalised(text))
            found.append(text)
    return found


def from_grammar(prompts: Iterable[Prompt], *, per_length: int) -> list[Prompt]:
    """The prompts with the wordings that the trio's grammar has for their attributes.

    They are exactly equal in meaning. Their order is that of the grammar, whose first `per_length`
    other than the base text are taken. Raises `StudyError` for a prompt that means nothing the
    grammar can word, or that has fewer wordings.
    """
    completed = []
    for prompt in prompts:
        if not of_the_trio(prompt):
            raise StudyError(
                f"prompt '{prompt.id}' has no attributes of the trio's grammar, which words no "
                "other meaning; ask a language model for its paraphrases: --paraphrase "
                "transformers or endpoint."
            )
        found = {}
        for length in LENGTHS:
            captions = all_captions(prompt.attributes, length)
            texts = [text for text in captions if text != prompt.text]
            if len(texts) < per_length:
                raise StudyError(
                    f"the trio's grammar has {len(texts)} other {length} wordings of prompt "
                    f"'{prompt.id}', {per_length} are asked for: lower --per-length."
                )
            found[length] = texts[:per_length]
        completed.append(_with(prompt, found))
    return completed
