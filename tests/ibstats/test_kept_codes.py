"""What restricted codebooks take away, and how far the calibration knows the codes kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from ibstats.analysis import analyse
from ibstats.report.table import Interval, Missing
from ibstats.report.tables import information
from ibstats.results.lookup import Numbers
from ibstats.results.rows import results
from ibstats.statistics import kept_codes
from ibstats.statistics.uncertainty import Resampling
from ibstats.store import open_store
from schemas.analysis import Config

HOW = Resampling(n_resamples=200)


def test_the_mass_removed_is_that_of_the_tokens_drawn_freely() -> None:
    rng = np.random.default_rng(0)
    tokens = xr.DataArray(rng.integers(0, 8, (5, 3, 2, 2)), dims=("prompt", "sample", "row", "col"))
    keep = xr.DataArray(rng.random((3, 8)) < 0.5, dims=("condition", "code"))
    found = kept_codes.mass_removed(tokens, keep)
    for condition in range(3):
        for prompt in range(5):
            codes = tokens.values[prompt].ravel()
            by_hand = np.mean([not keep.values[condition, code] for code in codes])
            assert float(found[condition, prompt]) == by_hand


def test_uncertain_codes_are_greyed_out_and_a_line_says_so() -> None:
    nan = float("nan")
    columns = {
        "subset_overlap": [0.95, 0.71, nan],
        "subset_tie_share": [0.0, 0.3, nan],
        "subset_unseen": [0.02, 0.02, nan],
    }
    run = xr.Dataset(coords={"condition": ["half", "tenth", "random"]})
    run = run.assign_coords({name: ("condition", values) for name, values in columns.items()})
    found = kept_codes.certainty(run, ["half", "tenth", "random"])
    assert_allclose(found["estimate"], np.array(list(columns.values())))
    assert found["weak"].sel(quantity="subset_overlap").values.tolist() == [False, True, False]
    assert not found["weak"][1:].any()
    lines = kept_codes.warnings(found, "a, b")
    assert len(lines) == 1
    assert (
        "a, b: a larger calibration would keep only 0.71 of the codes kept in 'tenth'" in lines[0]
    )
    assert kept_codes.warnings(found.isel(condition=[0, 2]), "a, b") == []


def test_a_table_of_subsets_stands_in_the_report_of_a_run(run: Path) -> None:
    store = open_store(run)
    config = Config(parts=("information",), models=("toy-ar",), n_shuffles=2, resampling=HOW)
    document = results(analyse(store, config))
    rows = [row for row in document.rows if row.quantity == kept_codes.REMOVED]
    dataset = store.dataset("toy-ar")
    keep = dataset["codebook_keep"]
    free = dataset["tokens"].sel(condition="stochastic-original-full").values
    assert {row.condition for row in rows} == set(kept_codes.restricted(keep))
    for row in rows:
        dropped = ~keep.sel(condition=row.condition).values
        assert row.estimate == pytest.approx(dropped[free].mean())
        assert row.low is not None
        assert row.high is not None
        assert 0 <= row.low <= row.estimate <= row.high <= 1
    made = information.subsets(Numbers(document), "factorial", ["toy-ar"])[0]
    assert [column.head for column in made.columns[1:]] == [
        "mass removed",
        "overlap ↑",
        "tied at the cut",
        "unseen in calibration",
    ]
    assert kept_codes.BY_ID in made.notes
    assert isinstance(made.rows[0][1], Interval)
    assert isinstance(made.rows[0][2], Missing)


def test_the_report_of_a_run_shows_positions_and_fewer_images(run: Path) -> None:
    config = Config(parts=("information",), models=("toy-mim",), n_shuffles=2, resampling=HOW)
    tree = analyse(open_store(run), config)
    maps = tree["toy-mim/positions"].to_dataset()
    unknown = maps["unseen_by_image"] > 0.03
    assert bool(unknown.any())
    assert (maps["conditional_entropy"].isnull() >= unknown).all()
    assert maps["collision_conditional"].notnull().any()
    numbers = Numbers(results(tree))
    positions = information.positions(numbers, "factorial", ["toy-mim"])[0]
    assert len(positions.rows) == 8
    rarefied = information.rarefaction(numbers, "factorial", "toy-mim")[0]
    shown = [(row[0].value, row[1].value) for row in rarefied.rows]
    assert shown == [(1, 6), (2, 6), (5, 6), (5, 1), (5, 3), (5, 6)]
    last = numbers.one("rarefaction", part="1 of images", quantity="conditional_entropy")
    baseline = "stochastic-original-full"
    whole = numbers.one("information", condition=baseline, quantity="conditional_entropy")
    assert last.estimate == pytest.approx(whole.estimate)
    assert last.weak == whole.weak
