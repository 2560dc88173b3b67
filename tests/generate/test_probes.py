from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from generate.errors import StudyError
from generate.study.conditions import Condition, factorial
from generate.study.probes import Probe, parse_window, probe, texts_of_samples
from schemas.study import Factorial, Paraphrases, Prompt

PROMPT = Prompt(
    id="p",
    text="base",
    paraphrases=Paraphrases(short=["s0", "s1"], medium=["m0", "m1"], long=["l0"]),
)


def paraphrased(length: str, n: int) -> Condition:
    return Condition("stochastic", "paraphrase", "full", paraphrase_length=length, n_paraphrases=n)  # type: ignore[arg-type]


def test_the_eight_cells_are_distinct_and_ordered_low_to_high() -> None:
    cells = factorial(Factorial())
    assert len({cell.name for cell in cells}) == 8
    assert (cells[0].sampling, cells[0].prompt_type, cells[0].codebook) == (
        "argmax",
        "original",
        "subset",
    )
    assert (cells[-1].sampling, cells[-1].prompt_type, cells[-1].codebook) == (
        "stochastic",
        "paraphrase",
        "full",
    )


@pytest.mark.parametrize("n_steps", [3, 12, 16, 50, 64])
def test_thirds_split_the_steps_as_floor_of_three_k_over_t(n_steps: int) -> None:
    thirds = [Probe(None, Fraction(i, 3), Fraction(i + 1, 3)) for i in range(3)]
    for step in range(n_steps):
        assert [third.argmax(step, n_steps) for third in thirds] == [
            3 * step // n_steps == i for i in range(3)
        ]


def test_no_window_is_no_step_and_the_whole_window_is_every_step() -> None:
    assert not any(
        probe(paraphrased("mixed", 2), np.ones(3, bool)).argmax(step, 7) for step in range(7)
    )
    start, stop = parse_window("0:1")
    assert all(Probe(None, start, stop).argmax(step, 7) for step in range(7))


@pytest.mark.parametrize("window", ["1/3", "0.5:0.2", "0:2", "a:b", "0:1/0"])
def test_a_window_that_is_no_share_of_the_steps_is_refused(window: str) -> None:
    with pytest.raises(StudyError, match="write two shares of the steps"):
        parse_window(window)


@pytest.mark.parametrize(("length", "n"), [("mixed", 5), ("mixed", 3), ("short", 2), ("medium", 2)])
def test_samples_are_spread_evenly_over_the_paraphrases(length: str, n: int) -> None:
    counts = Counter(texts_of_samples(PROMPT, paraphrased(length, n), 2 * n))
    assert sorted(counts.values()) == [2] * n
    assert "base" not in counts


def test_mixed_takes_the_length_classes_in_turn() -> None:
    assert texts_of_samples(PROMPT, paraphrased("mixed", 5), 5) == ["s0", "m0", "l0", "s1", "m1"]


def test_too_few_paraphrases_are_refused_with_their_number() -> None:
    with pytest.raises(
        StudyError, match="prompt 'p' has 1 long paraphrases, but the study asks for 2"
    ):
        texts_of_samples(PROMPT, paraphrased("long", 2), 4)
