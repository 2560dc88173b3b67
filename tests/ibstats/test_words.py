"""Numbers in words: one way to write an interval, and what a dash in it means."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ibstats.results import words
from ibstats.statistics.uncertainty import Resampling, mean_interval
from tests.ibstats.documents import row


def test_an_interval_says_what_is_missing_or_degenerate() -> None:
    assert words.interval(row("probe", "q"), 2) == "0.50 [0.25, 0.75]"
    assert words.interval(row("probe", "q", low=None), 2) == "0.50 [–, 0.75]"
    assert words.interval(row("probe", "q", low=None, high=None), 2) == "0.50"
    assert words.interval(row("probe", "q", degenerate=True), 2) == "0.50 degenerate"
    assert words.percent(row("probe", "q")) == "50% [25%, 75%]"


def test_a_caption_counts_the_prompts_of_all_models_and_names_all_methods() -> None:
    """Of a run whose models are not all complete: one is read from 60 prompts, another from 40."""
    rows = [
        row("ledger", "joint", n_prompts=60, interval_method="bca"),
        row("ledger", "joint", n_prompts=40),
    ]
    assert words.made(rows) == (
        "95% intervals: bca bootstrap or studentized bootstrap over 40 to 60 prompts with 4 images each, "
        "2000 resamples, seed 7."
    )
    assert "over 3 blocks of 12 prompts" in words.made([row("quality", "fid", n_units=3)])
    assert words.made([row("probe", "q", interval_method=None)]) == ""
    assert words.extent(rows, "n_tests") == ""


def test_an_open_interval_says_why_once_and_keeps_the_other_note() -> None:
    noted = words.with_reason(row("probe", "q", low=None, note="a note"))
    assert noted.note == f"a note; {words.REASON}"
    assert words.remark(noted) == "a note"
    assert words.remarks([noted, noted]) == ["a note"]
    assert words.open_intervals([noted]).endswith(words.REASON)
    assert words.remark(words.with_reason(row("probe", "q", low=None))) == ""


def test_a_closed_or_undefined_interval_needs_no_reason() -> None:
    for one in (
        row("probe", "q"),
        row("probe", "q", estimate=None, low=None, high=None),
        row("probe", "q", low=None, interval_method="bca"),
    ):
        assert words.with_reason(one) == one
        assert words.open_intervals([one]) == ""


def test_the_interval_of_few_prompts_that_differ_is_closed_and_the_caption_says_how() -> None:
    """One of four prompts differs: a fifth of the resamples repeat one prompt."""
    values = xr.DataArray(np.array([0.5, 1.0, 1.0, 1.0]), dims="prompt")
    found = mean_interval(values, Resampling())
    assert str(found["method"].values) == "hall"
    assert np.isfinite(found["low"])
    assert found.attrs["method"] == "guarded"
    one = row("quality", "reference_accuracy", interval_method="hall")
    said = "intervals: transformed t and t (where ties leave the bootstrap no bound) over"
    assert said in words.made([one])
