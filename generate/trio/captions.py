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

    >>> caption({"shape": "ring", "colour": "orange"}, wording=(1, 0, 0), choice=(0, 0, 0, 0))
    'an orange ring'
    """
    length, shape_word, size_word = wording
    frames, articles, places, grounds = _CHOICES[LENGTHS[length]]
    frame, article = frames[choice[0]], articles[choice[1]]
    noun, size, place, ground = _OPEN_SHAPE, "", "", ""
    if "shape" in meaning:
        noun = _SYNONYMS[meaning["shape"]]
    if "size" in meaning:
        size = _SYNONYMS[meaning["size"]][size_word]
    if "position" in meaning:
        place = places[choice[2]].format(meaning["position"])
    if "background" in meaning:
        ground = grounds[choice[3]].format(meaning["background"])
    named = f"{article} {size} {meaning.get('colour', '')} {noun[shape_word]}"
    words = frame.format(object=named, place=place, ground=ground).split()
    for index, (word, following) in enumerate(itertools.pairwise(words)):
        if word == "a" and following[0] in "aeiou":
            words[index] = "an"
    return " ".join(words)


def draw_choice(wording: Sequence[int], rng: np.random.Generator) -> tuple[int, ...]:
    """Indices of frame, article, place and ground for a wording, all equally likely.

    What `caption` takes as `choice`; `wording` as there.
    """
    return tuple(int(rng.integers(len(options))) for options in _CHOICES[LENGTHS[wording[0]]])


def all_captions(meaning: Meaning, length: str) -> list[str]:
    """Every distinct text of `meaning` in one length, such as "short", in a fixed order.

    >>> all_captions({"shape": "circle"}, "short")[:3]
    ['circle', 'one circle', 'single circle']
    """
    wordings = itertools.product([LENGTHS.index(length)], (0, 1), (0, 1))
    indices = [range(len(options)) for options in _CHOICES[length]]
    choices = list(itertools.product(*indices))
    texts: dict[str, None] = {}
    for wording in wordings:
        for choice in choices:
            texts[caption(meaning, wording, choice)] = None
    return list(texts)


def _value_words() -> dict[str, tuple[str, str]]:
    """Word to (attribute, value), for all attributes but position, whose values share words."""
    words = {}
    for attribute, values in ATTRIBUTES.items():
        if attribute == "position":
            continue
        for value in values:
            for word in _SYNONYMS.get(value, (value,)):
                words[word] = (attribute, value)
    return words


def _place_words() -> frozenset[str]:
    """Words that positions are made of."""
    return frozenset(" ".join(ATTRIBUTES["position"]).split())


_VALUE_OF = MappingProxyType(_value_words())
_PLACE_WORDS = _place_words()


def parse(text: str) -> dict[str, str]:
    """The named attributes of a caption, in the order of `ATTRIBUTES`; the inverse of `caption`.

    Words outside the grammar are passed over.

    >>> parse("a big red disc at the top left")
    {'shape': 'circle', 'colour': 'red', 'size': 'large', 'position': 'top left'}
    """
    named: dict[str, str] = {}
    place: list[str] = []
    for word in _words(text):
        if word in _VALUE_OF:
            attribute, value = _VALUE_OF[word]
            named[attribute] = value
        elif word in _PLACE_WORDS:
            place.append(word)
    if place:
        named["position"] = " ".join(place)
    return {attribute: named[attribute] for attribute in ATTRIBUTES if attribute in named}


def _all_words() -> set[str]:
    """Every word that a caption may have."""
    found = {*_VALUE_OF, *_PLACE_WORDS, *_OPEN_SHAPE, "an"}
    for kinds in _CHOICES.values():
        for phrase in itertools.chain.from_iterable(kinds):
            for word in phrase.split():
                if "{" not in word:
                    found.add(word)
    return found


PAD, START = 0, 1
VOCABULARY = ("<pad>", "<start>", *sorted(_all_words()))
_TOKEN_OF = MappingProxyType({word: token for token, word in enumerate(VOCABULARY)})


def tokenise(texts: Iterable[str]) -> NDArray[np.int64]:
    """Caption tokens, (text, CAPTION_LENGTH): the start token, words, then padding.

    The empty caption is legal and names nothing. Raises ValueError for a word outside the grammar,
    or a caption of more than CAPTION_LENGTH - 1 words.
    """
    texts = list(texts)
    tokens = np.full((len(texts), CAPTION_LENGTH), PAD, np.int64)
    for row, text in zip(tokens, texts, strict=True):
        words = _words(text)
        if len(words) >= CAPTION_LENGTH:
            raise ValueError(
                f"Caption {text!r} has {len(words)} words; shorten it to {CAPTION_LENGTH - 1}."
            )
        row[0] = START
        for place, word in enumerate(words, start=1):
            row[place] = _token(word, text)
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
