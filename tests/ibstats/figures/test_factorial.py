"""Figures of a factorial of any factors, complete or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from ibstats.report.figures import draw_power
from schemas.results import ResultRow
from tests.ibstats.figures.documents import DISTANCE, SCORE, drawn, factorial, row, tree, without

PLAIN = {
    f"{name}-{DISTANCE}" for name in ("cells", "probes", "waterfall", "forest", "interaction-first")
} | {
    f"interaction-second-{DISTANCE}",
    "quality-probes",
    f"frontier-{SCORE}",
    "positions",
    "positions-shannon",
}


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_factorial_has_all_its_figures(k: int) -> None:
    made = factorial(k)
    wanted = PLAIN
    if k == 1:
        wanted = {name for name in PLAIN if not name.startswith("interaction")}
    assert set(drawn(made, tree(made))) == wanted


SECTIONS = ("diversity", "effect", "probe", "waterfall", "quality", "quality_probe", "frontier")


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("model", [None, "first"])
def test_what_a_model_lacks_is_left_out(section: str, model: str | None) -> None:
    """The first model need not have what the second has."""
    made = without(factorial(), lambda one: one.section == section and model in (None, one.model))
    found = drawn(made, tree(made))
    both = [name for name in PLAIN if not name.startswith("interaction")]
    if model is not None:
        assert set(both) <= set(found)


@pytest.mark.parametrize("number", range(len(factorial(models=["first"]).rows)))
def test_any_row_may_lack_or_be_undefined(number: int) -> None:
    """Rows lack and are undefined by turns, so that each kind of row is both."""
    made = factorial()
    lacking = made.rows[number]
    rows = [*made.rows[:number], *made.rows[number + 1 :]]
    if number % 2:
        rows.append(lacking.model_copy(update={"estimate": None, "low": None, "high": None}))
    assert f"cells-{DISTANCE}" in drawn(made.model_copy(update={"rows": rows}))


def test_a_quantity_that_only_the_second_model_has_is_drawn() -> None:
    made = factorial()
    lpips = "lpips_alex_distance"
    more = []
    for one in made.rows:
        if one.model == "second" and one.quantity == DISTANCE:
            more.append(one.model_copy(update={"quantity": lpips}))
    found = drawn(made.model_copy(update={"rows": [*made.rows, *more]}))
    assert {f"cells-{lpips}", f"forest-{lpips}", f"interaction-second-{lpips}"} <= set(found)
    assert f"interaction-first-{lpips}" not in found


def test_without_a_baseline_there_are_no_probes_of_one() -> None:
    made = factorial()
    design = made.designs["e"].model_copy(update={"baseline": None})
    found = drawn(made.model_copy(update={"designs": {"e": design}}), tree(made))
    bars = found[f"probes-{DISTANCE}"].axes[0]
    assert [text.get_text() for text in found[f"probes-{DISTANCE}"].legends[0].get_texts()] == [
        "quiet",
        "one",
    ]
    assert len(bars.patches) == 4


def test_models_whose_grids_differ_have_maps_of_their_own_size() -> None:
    made = factorial()
    both = tree(made)
    first = both["first/positions"].to_dataset().isel(row=slice(2), col=slice(2))
    both["first/positions"] = xr.DataTree(first)
    shapes = [
        mesh.get_array().shape
        for axes in drawn(made, both)["positions"].axes[:4]
        for mesh in axes.collections[:1]
    ]
    assert shapes == [(2, 2), (2, 2), (3, 4), (3, 4)]


def test_waterfalls_with_levels_held_have_files_of_their_own() -> None:
    made = factorial()
    at = {"words": "many"}
    held = [row("waterfall", model="first", step="gap", attribution="marginal", at=at)]
    found = drawn(made.model_copy(update={"rows": [*made.rows, *held]}))
    assert {f"waterfall-many-{DISTANCE}", f"waterfall-{DISTANCE}"} <= set(found)


def test_estimates_are_drawn_where_they_are() -> None:
    made = factorial()
    panel = drawn(made)[f"cells-{DISTANCE}"].axes[0]
    found = [float(x) for line in panel.containers for x in line[0].get_xdata()]
    assert found == [one.estimate for one in made.rows if one.section == "diversity"]


def test_a_number_that_rounds_to_zero_has_no_sign() -> None:
    made = factorial()

    def small(one: ResultRow) -> ResultRow:
        gap = one.step == "gap"
        return one.model_copy(update={"estimate": -1e-6}) if gap else one

    rows = [small(one) for one in made.rows]
    figure = drawn(made.model_copy(update={"rows": rows}))[f"waterfall-{DISTANCE}"]
    texts = [text.get_text() for panel in figure.axes for text in panel.texts]
    assert {"0.000", "+0.500"} <= set(texts)
    assert "-0.000" not in texts


def test_power_is_a_line_per_number_of_images(tmp_path: Path) -> None:
    power = xr.Dataset(
        {"power": (("n_prompts", "n_images"), [[0.2, 0.4], [0.8, 0.9]])},
        coords={"n_prompts": [10, 50], "n_images": [4, 8]},
        attrs={"goal": "difference", "size": 0.05},
    )
    made: list[Any] = draw_power(power, 0.8, tmp_path / "power", ("png", "svg"))
    assert [file.name for file in made] == ["power.png", "power.svg"]
