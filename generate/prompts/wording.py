"""What is compared when texts are: their words, and the numbers and colours they name."""

from __future__ import annotations

import re
import unicodedata

from schemas.study import LENGTH_WORDS, LengthClass

_NUMBER_NAMES = {
    2: ("two", "pair", "couple"),
    3: ("three", "trio", "triplet"),
    4: ("four", "quartet"),
    5: ("five", "quintet"),
    6: ("six", "sextet"),
    7: ("seven",),
    8: ("eight",),
    9: ("nine",),
    10: ("ten",),
    11: ("eleven",),
    12: ("twelve", "dozen"),
}
_NUMBERS = {name: value for value, names in _NUMBER_NAMES.items() for name in names}
_COLOUR_NAMES = """
amber beige black blue bronze brown copper coral cream crimson cyan emerald gold golden gray green
grey indigo ivory lavender lilac magenta maroon mauve navy ochre olive orange pink purple red ruby
scarlet sepia silver tan teal terracotta turquoise vermilion violet white yellow
"""
_COLOURS = frozenset(_COLOUR_NAMES.split())
_ONE_COLOUR = {"gray": "grey", "golden": "gold"}


def words(text: str) -> list[str]:
    """Words of a text: what spaces separate and holds a letter or a digit.

    >>> words("a snow-capped peak - at dusk")
    ['a', 'snow-capped', 'peak', 'at', 'dusk']
    """
    return [word for word in text.split() if any(map(str.isalnum, word))]


_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "YI ")
"""How Unicode names of letters begin in scripts that put no spaces between words."""


def has_spaced_words(text: str) -> bool:
    """Whether words of the text can be counted: most of its letters are of a script with spaces.

    >>> has_spaced_words("a red cube"), has_spaced_words("\u8d64\u3044\u7acb\u65b9\u4f53")
    (True, False)
    """
    letters = [letter for letter in text if letter.isalpha()]
    n_unspaced = 0
    for letter in letters:
        n_unspaced += unicodedata.name(letter, "").startswith(_UNSPACED)
    return 2 * n_unspaced <= len(letters)


def length_class(text: str) -> LengthClass | None:
    """Length class of a text by its number of words; None if it has none, or more than the longest.

    >>> length_class("a red cube")
    'short'
    """
    n = len(words(text))
    for name, (low, high) in LENGTH_WORDS.items():
        if low <= n <= high:
            return name
    return None


def is_of_length(text: str, length: LengthClass) -> bool:
    """Whether a text is of a length class, as far as its words can be counted.

    Scripts without spaces between words have no length class, and fit each.

    >>> is_of_length("a red cube", "medium"), is_of_length("\u8d64\u3044\u7acb\u65b9\u4f53", "medium")
    (False, True)
    """
    return not has_spaced_words(text) or length_class(text) == length


def normalised(text: str) -> str:
    """A text without case, accents of typography, punctuation and spacing.

    Texts that are equal in this are duplicates.

    >>> normalised("The cat's  hat!")
    'the cats hat'
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = re.sub(r"['’]", "", plain)
    return " ".join(re.findall(r"[^\W_]+", plain))


def counts_and_colours(text: str) -> frozenset[str]:
    """Numbers from two up and basic colours that an English text names.

    Words for the same one are one: 'a pair' and 'two', 'gray' and 'grey'.

    >>> sorted(counts_and_colours("A pair of gray cats, one golden"))
    ['2', 'gold', 'grey']
    """
    found = set()
    for word in normalised(text).split():
        if word in _COLOURS:
            found.add(_ONE_COLOUR.get(word, word))
        elif word.isdecimal():
            found.add(str(int(word)))
        elif word in _NUMBERS:
            found.add(str(_NUMBERS[word]))
    return frozenset(found)
