"""Captions: a word-level grammar in three lengths, its inverse, and caption tokens.

A meaning names some attributes of a scene and leaves the others open, as in
`{"shape": "ring", "colour": "red"}`. Every wording of a meaning, `short`, `medium` or `long`,
names exactly these attributes, which `parse` shows by reading them back. No torch here: plans
are checked without it.
"""

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from generate.trio.scenes import ATTRIBUTES, WORDINGS

Meaning = Mapping[str, str]

LENGTHS = WORDINGS["length"]
CAPTION_LENGTH = 24  # tokens, with the start token and padding

# Two words for these values, the usual one and the rare one; any other value is its own word.
_SYNONYMS: Mapping[str, tuple[str, str]] = {
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle", "wedge"),
    "cross": ("cross", "plus"),
    "ring": ("ring", "hoop"),
    "diamond": ("diamond", "rhombus"),
    "small": ("small", "little"),
    "medium": ("medium", "midsize"),
    "large": ("large", "big"),
}
_OPEN_SHAPE = ("object", "thing")

# What a wording chooses from, by length: frame, article, place and ground. In a frame, {place} and
# {ground} vanish when position and background are not named. `a` becomes `an` before a vowel.
_CHOICES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "short": (
        ("{object} {place} {ground}", "{object} {ground} {place}"),
        ("", "one", "single"),
        ("{}", "at {}"),
        ("on {}", "over {}"),
    ),
    "medium": (
        (
            "{object} {place} {ground}",
            "a picture of {object} {place} {ground}",
            "there is {object} {place} {ground}",
        ),
        ("a", "just one"),
        ("at the {}", "near the {}"),
        ("on a {} background", "against a {} background"),
    ),
    "long": (
        (
            "this simple picture shows {object} {place} {ground}",
            "here we can see {object} {place} {ground}",
            "{ground} we can clearly see {object} {place}",
        ),
        ("a single", "exactly one"),
        ("that is placed at the {}", "which sits near the {}"),
        ("in front of a plain {} background", "before a plain and even {} background"),
    ),
}


def caption(meaning: Meaning, wording: Sequence[int], choice: Sequence[int]) -> str:
    """The text of `meaning` in one wording.

    `wording` holds the indices of `scenes.WORDINGS` (length, shape word, size word), which images
    depend on; `choice` those of frame, article, place and ground, which they do not.
    """
    length, shape_word, size_word = wording
    frame, article, place, ground = (
        options[index] for options, index in zip(_CHOICES[LENGTHS[length]], choice, strict=True)
    )
    noun = _SYNONYMS[meaning["shape"]] if "shape" in meaning else _OPEN_SHAPE
    size = _SYNONYMS[meaning["size"]][size_word] if "size" in meaning else ""
    text = frame.format(
        object=f"{article} {size} {meaning.get('colour', '')} {noun[shape_word]}",
        place=place.format(meaning["position"]) if "position" in meaning else "",
        ground=ground.format(meaning["background"]) if "background" in meaning else "",
    )
    words = text.split()
    for index, (word, following) in enumerate(itertools.pairwise(words)):
        if word == "a" and following[0] in "aeiou":
            words[index] = "an"
    return " ".join(words)


def draw_choice(wording: Sequence[int], rng: np.random.Generator) -> tuple[int, ...]:
    """Uniform frame, article, place and ground for a wording."""
    return tuple(int(rng.integers(len(options))) for options in _CHOICES[LENGTHS[wording[0]]])


def all_captions(meaning: Meaning, length: str) -> list[str]:
    """Every distinct text of `meaning` in one length, in a fixed order."""
    wordings = itertools.product([LENGTHS.index(length)], (0, 1), (0, 1))
    choices = list(itertools.product(*(range(len(options)) for options in _CHOICES[length])))
    texts = (caption(meaning, wording, choice) for wording in wordings for choice in choices)
    return list(dict.fromkeys(texts))


def _value_words() -> dict[str, tuple[str, str]]:
    """Word to (attribute, value), for all attributes but position, whose values share words."""
    return {
        word: (attribute, value)
        for attribute, values in ATTRIBUTES.items()
        if attribute != "position"
        for value in values
        for word in _SYNONYMS.get(value, (value,))
    }


_VALUE_OF = MappingProxyType(_value_words())
_PLACE_WORDS = frozenset(word for value in ATTRIBUTES["position"] for word in value.split())


def parse(text: str) -> dict[str, str]:
    """The named attributes of a caption, in the order of `ATTRIBUTES`; the inverse of `caption`."""
    words = _words(text)
    named = dict(_VALUE_OF[word] for word in words if word in _VALUE_OF)
    if place := " ".join(word for word in words if word in _PLACE_WORDS):
        named["position"] = place
    return {attribute: named[attribute] for attribute in ATTRIBUTES if attribute in named}


def _all_words() -> set[str]:
    phrases = itertools.chain.from_iterable(itertools.chain.from_iterable(_CHOICES.values()))
    plain = {word for phrase in phrases for word in phrase.split() if "{" not in word}
    return plain | set(_VALUE_OF) | _PLACE_WORDS | set(_OPEN_SHAPE) | {"an"}


PAD, START = 0, 1
VOCABULARY = ("<pad>", "<start>", *sorted(_all_words()))
_TOKEN_OF = MappingProxyType({word: token for token, word in enumerate(VOCABULARY)})


def tokenise(texts: Iterable[str]) -> NDArray[np.int64]:
    """Caption tokens, shape (texts, CAPTION_LENGTH); the empty caption is legal and names nothing."""
    texts = list(texts)
    tokens = np.full((len(texts), CAPTION_LENGTH), PAD, np.int64)
    for row, text in zip(tokens, texts, strict=True):
        words = _words(text)
        if len(words) >= CAPTION_LENGTH:
            raise ValueError(
                f"Caption {text!r} has {len(words)} words; shorten it to {CAPTION_LENGTH - 1}."
            )
        row[: len(words) + 1] = [START, *(_token(word, text) for word in words)]
    return tokens


def _token(word: str, text: str) -> int:
    if word not in _TOKEN_OF or word in VOCABULARY[:2]:
        near = difflib.get_close_matches(word, VOCABULARY[2:], n=3, cutoff=0)
        raise ValueError(
            f"Unknown word {word!r} in caption {text!r}: use words of the trio's grammar, "
            f"such as {', '.join(near)} (all are in generate.trio.captions.VOCABULARY)."
        )
    return _TOKEN_OF[word]


def _words(text: str) -> list[str]:
    return text.lower().replace(",", " ").replace(".", " ").split()
