"""Codes by rank: the counts of the run, where they belong, and nothing of a run acts on the page."""

from __future__ import annotations

import re
from math import log10
from pathlib import Path

import numpy as np
import pytest

from ibstats import open_store
from ibstats.report.page.ranks import HEIGHT, code_counts, rank_frequency
from tests.ibstats.conftest import write_run

DOT = re.compile(
    r'cx="([\d.e+-]+)%" cy="([\d.]+)" r="2.6" data-code="(\d+)"><title>'
    r"rank (\d+): code \d+, ([\d.]+)% of the tokens"
)


def test_codes_are_counted_in_the_images_without_intervention(toy: Path) -> None:
    store = open_store(toy)
    found = code_counts(store, "factorial")
    assert list(found) == list(store.models())
    for model, counts in found.items():
        data = store.dataset(model)["tokens"].sel(condition="stochastic-original-full")
        wanted = np.bincount(data.values.ravel(), minlength=store.identity(model).codebook_size)
        np.testing.assert_array_equal(counts, wanted)


def test_a_run_without_tokens_has_no_counts(imported: Path) -> None:
    store = open_store(imported)
    (experiment,) = store.experiments()
    assert code_counts(store, experiment) == {}


def test_prompts_that_are_not_complete_are_left_out(tmp_path: Path) -> None:
    families = {"toy-mim": "masked"}
    run = write_run(
        tmp_path / "run",
        n_prompts=6,
        n_samples=2,
        block_prompts=3,
        families=families,
        skip=((0, 1),),
    )
    (counts,) = code_counts(open_store(run), "factorial").values()
    assert counts.sum() == 3 * 2 * 16


def test_a_dot_stands_at_its_rank_and_share() -> None:
    counts = {"one": np.array([0, 10, 90, 900]), "two": np.array([500, 0, 0, 500])}
    made = rank_frequency(counts, "e", "base")
    one, two = made.split("<figure>")[1:]
    dots = [tuple(map(float, found)) for found in DOT.findall(one)]
    span = log10(10)
    assert [(dot[2], dot[3], dot[4]) for dot in dots] == [(3, 1, 90), (2, 2, 9), (1, 3, 1)]
    for across, down, _, rank, share in dots:
        assert across == pytest.approx(100 * log10(rank) / span, abs=0.1)
        assert down == pytest.approx(HEIGHT * -log10(share / 100) / 2, abs=0.1)
    assert "one: 3 of 4 codes are used; half of the tokens take 1 of them" in one
    assert "two: 2 of 4 codes are used; half of the tokens take 1 of them" in two
    assert [found[2] for found in DOT.findall(two)] == ["0", "3"]


def test_of_many_codes_dots_are_few_from_the_first_to_the_last() -> None:
    made = rank_frequency({"one": np.arange(8192, 0, -1)}, "e", "base")
    ranks = [int(found[3]) for found in DOT.findall(made)]
    assert len(ranks) <= 60
    assert (ranks[0], ranks[-1]) == (1, 8192)
    assert ranks == sorted(set(ranks))


def test_names_act_on_nothing_and_no_token_is_no_panel() -> None:
    made = rank_frequency({'<b "x">': np.array([1, 2])}, "<e>", "<c>")
    assert "<b" not in made
    assert "<e>" not in made
    assert "<c>" not in made
    assert rank_frequency({"one": np.zeros(4, dtype=int)}, "e", "base") == ""
    assert rank_frequency({}, "e", "base") == ""
