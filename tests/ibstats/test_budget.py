"""The table of path and execution in a report: what it prints follows from the numbers, for each family."""

from __future__ import annotations

import io

import pytest
from ibstats.report.budget import SHARES, budget, sentence
from ibstats.report.latex import how
from rich.console import Console
from rich.table import Table

from ibstats.results.rows import extent
from schemas.results import ResultRow, Results

STOCHASTIC, ARGMAX = "stochastic/original/full", "argmax/original/full"


def row(
    quantity: str,
    estimate: float | None,
    *,
    half: float = 0.0,
    term: str = STOCHASTIC,
    **more: object,
) -> ResultRow:
    bounds = (
        {}
        if estimate is None
        else {"low": estimate - half, "high": estimate + half, "degenerate": half == 0}
    )
    made = {
        "section": "ledger",
        "model": "mine",
        "experiment": "factorial",
        "units": "bit",
        "level": 0.95,
    }
    made |= {
        "interval_method": "bca",
        "n_prompts": 9,
        "n_images": 4,
        "quantity": quantity,
        "term": term,
    }
    return ResultRow(**(made | {"estimate": estimate} | bounds | more))


def share(
    part: str, estimate: float | None, half: float = 0.0, term: str = STOCHASTIC
) -> ResultRow:
    return row(
        "pixel_cosine_distance", estimate, half=half, term=term, section="sobol", attribution=part
    )


def said(*rows: ResultRow) -> str:
    sampling = {STOCHASTIC: "stochastic", ARGMAX: "argmax"}
    bits = {(sampling[r.term], r.quantity): r for r in rows if r.section == "ledger"}
    return sentence(
        bits, {(sampling[r.term], str(r.attribution)): r for r in rows if r.section == "sobol"}
    )


def split(path: float, joint: float, half: float) -> list[ResultRow]:
    part = row(
        "share_path_causal", path / joint if joint else None, half=half / joint if joint else 0.0
    )
    return [row("path_causal", path, half=half), row("joint", joint, half=half or 1.0), part]


ALL_FIXED = [row("path_causal", 0.0, term=ARGMAX), row("joint", 0.0, term=ARGMAX)]


def test_a_fixed_order_is_said_to_take_nothing_only_where_it_takes_nothing() -> None:
    fixed = [row("path_causal", 0.0), row("joint", 80.0, half=2.0), row("share_path_causal", 0.0)]
    assert said(*fixed, share("path_total", 0.0), *ALL_FIXED) == (
        "the order is fixed: the path takes 0 of 80.0 bits and 0% of the diversity; under argmax nothing is left to "
        "chance."
    )
    assert "yet 3% [1%, 5%] of the diversity" in said(
        *fixed, share("path_total", 0.03, 0.02), *ALL_FIXED
    )


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        (
            (0.1, 0.2, 0.7),
            "70% [65%, 75%] of the diversity is the interaction of path and execution (path alone",
        ),
        (
            (0.5, 0.2, 0.3),
            "path alone makes 50% [45%, 55%] of the diversity, execution alone 20% [15%, 25%]: more by the",
        ),
        ((0.2, 0.5, 0.3), "execution alone 50% [45%, 55%]: more by execution"),
        ((0.42, 0.38, 0.2), "not told apart"),
    ],
)
def test_one_source_is_called_the_larger_only_if_the_intervals_do_not_meet(
    shares: tuple[float, float, float], verdict: str
) -> None:
    drives = [share(name, value, 0.05) for name, value in zip(SHARES, shares, strict=True)]
    found = said(*split(50.0, 100.0, 5.0), row("residual_upper", 40.0, half=1.0), *drives)
    assert (
        "the path takes 50% [45%, 55%] of 100.0 bits, and at most 40.0 bits of it cannot be read off"
        in found
    )
    assert verdict in found
    assert found.endswith("argmax was not measured.")


def test_what_argmax_leaves_is_measured() -> None:
    left = [
        row("path_causal", 30.0, half=1.0, term=ARGMAX),
        row("joint", 30.0, half=1.0, term=ARGMAX),
    ]
    found = said(*split(50.0, 100.0, 5.0), *left, share("path", 1.0, term=ARGMAX))
    assert found.endswith(
        "under argmax 30.0 bits of path are left and make 100% of what diversity there is."
    )


def test_bounds_stand_in_for_what_was_not_recorded_and_the_reason_is_given() -> None:
    rows = [
        row("path_given_candidates", 20.0, half=1.0),
        row("execution_marginal", 70.0, half=1.0),
        row("path_causal", None, note="only the path given the candidates was recorded"),
    ]
    document = Results(
        run_id="r", snapshot="s", analysis_sha256="a", ibstats_version="0", settings={}, rows=rows,
        families={"mine": "masked"},
    )  # fmt: skip
    table, *texts = list(budget(document))
    assert isinstance(table, Table)
    console = Console(width=114, record=True, file=io.StringIO())
    console.print(table)
    printed = console.export_text()
    assert "≥ 20.0" in printed
    assert "≤ 70.0" in printed
    assert texts[0].startswith("mine (masked): its path was not recorded")
    assert "mine: only the path given the candidates was recorded" in texts


def test_nothing_is_printed_without_a_ledger() -> None:
    assert not list(budget(Results(
        run_id="r", snapshot="s", analysis_sha256="a", ibstats_version="0", settings={}, rows=[]
    )))  # fmt: skip


def test_a_caption_counts_the_prompts_of_all_models_and_names_all_methods() -> None:
    """Of a run whose models are not all complete: one is read from 60 prompts, another from 40."""
    rows = [
        row("joint", 80.0, half=2.0, n_prompts=60),
        row("joint", 70.0, half=2.0, model="other", n_prompts=40, interval_method="studentized"),
        row("tokens_upper", 70.0, half=2.0, n_prompts=3, attribution="4 paths"),
    ]
    document = Results(
        run_id="r",
        snapshot="0" * 64,
        analysis_sha256="0" * 64,
        ibstats_version="0",
        settings={},
        rows=rows,
        notes=[],
    )
    (table, *_) = budget(document)
    assert "bca or studentized intervals over 40 to 60 prompts x 4 images" in str(table.caption)
    assert "bca or studentized bootstrap over 40 to 60 prompts with 4 images" in how(
        rows[:2], document
    )
    assert extent([7, None, 3, 7]) == "3 to 7"
