"""The three probes (paper section 3.4), and the order, as values that a traversal obeys."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from generate.errors import StudyError
from generate.study.conditions import WINDOWS, Condition
from schemas.study import OrderName, Prompt


@dataclass(frozen=True)
class Probe:
    """What a condition does to a traversal: which codes it may use, where it takes the mode.

    `allowed` is (code,) bool, (position, code) where strata keep codes of their own, or None for the
    whole codebook. `argmax_from` and `argmax_to` bound
    the share of the steps under argmax, half open: step k of T is under argmax if
    from <= k/T < to. `order` is that in which a masked traversal commits positions; other families
    have their own. `entropy_bound`, in bits, belongs to the order `entropy_bounded`. Path noise is
    never touched.

    >>> probe = Probe(argmax_from=Fraction(1, 2), argmax_to=Fraction(1))
    >>> [probe.argmax(step, n_steps=4) for step in range(4)]
    [False, False, True, True]
    """

    allowed: NDArray[np.bool_] | None = None
    argmax_from: Fraction = Fraction(0)
    argmax_to: Fraction = Fraction(0)
    order: OrderName = "confidence"
    entropy_bound: float = 0.0

    @property
    def is_argmax_throughout(self) -> bool:
        """Whether identities are modes at every step, whatever the number of steps."""
        return self.argmax_from == 0 and self.argmax_to >= 1

    def drawing(self) -> Probe:
        """The same codes and order, with draws at every step.

        >>> Probe(argmax_to=Fraction(1), order="raster").drawing()
        Probe(allowed=None, argmax_from=Fraction(0, 1), argmax_to=Fraction(0, 1), order='raster', entropy_bound=0.0)
        """
        return replace(self, argmax_from=Fraction(0), argmax_to=Fraction(0))

    def argmax(self, step: int, n_steps: int) -> bool:
        """Whether identities at step `step` of `n_steps` are modes instead of draws.

        Steps count from 0, and shares of them are exact fractions, so windows that meet cover each
        step once.
        """
        return self.argmax_from * n_steps <= step < self.argmax_to * n_steps


def probe(condition: Condition, keep: NDArray[np.bool_]) -> Probe:
    """The probe of a condition whose codebook is restricted to `keep`.

    It is (code,) bool, or (position, code). Raises `StudyError` if the argmax window is none.
    """
    start, stop = parse_window(condition.argmax_window)
    allowed = None if keep.all() else keep
    return Probe(allowed, start, stop, condition.order, condition.entropy_bound)


def parse_window(window: str) -> tuple[Fraction, Fraction]:
    """Bounds of a window written 'from:to' in shares of the steps; '' is no step at all.

    Raises `StudyError` if it is not two numbers with 0 <= from < to <= 1.

    >>> parse_window("0:1/3")
    (Fraction(0, 1), Fraction(1, 3))
    """
    if not window:
        return Fraction(0), Fraction(0)
    try:
        start, stop = map(Fraction, window.split(":"))
    except (ValueError, ZeroDivisionError):
        raise _no_window(window) from None
    if not 0 <= start < stop <= 1:
        raise _no_window(window)
    return start, stop


def _no_window(window: str) -> StudyError:
    return StudyError(
        f"argmax_window is '{window}'; name one ({', '.join(WINDOWS)}) or write two shares of the "
        "steps between 0 and 1, such as '0:1/3' or '2/3:1'."
    )


def texts_of_samples(prompt: Prompt, condition: Condition, n_samples: int) -> list[str]:
    """The text each sample of a prompt is made from: the original, or paraphrases in turn.

    Raises `StudyError` if the prompt has fewer paraphrases of the length than the condition needs.
    """
    if condition.prompt_type == "original":
        return [prompt.text] * n_samples
    texts = paraphrases(prompt, condition.paraphrase_length)[: condition.n_paraphrases]
    if len(texts) < condition.n_paraphrases:
        raise StudyError(
            f"prompt '{prompt.id}' has {len(texts)} {condition.paraphrase_length} paraphrases, but "
            f"the study asks for {condition.n_paraphrases}: add some to the prompt file or lower "
            "`paraphrases`."
        )
    return [texts[sample % len(texts)] for sample in range(n_samples)]


def paraphrases(prompt: Prompt, length: str) -> Sequence[str]:
    """Paraphrases of a length class; `mixed` takes short, medium and long in turn.

    >>> from schemas.study import Paraphrases
    >>> wordings = Paraphrases(short=["a cat", "one cat"], long=["there is a cat"])
    >>> paraphrases(Prompt(id="cat", text="cat", paraphrases=wordings), "mixed")
    ['a cat', 'there is a cat', 'one cat']
    """
    if length != "mixed":
        by_length: list[str] = getattr(prompt.paraphrases, length)
        return by_length
    classes = (prompt.paraphrases.short, prompt.paraphrases.medium, prompt.paraphrases.long)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*classes))
    return [text for text in turns if text is not None]
