"""The information plane: points where numbers are known, boxes where they are bounded, and the cap."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.patches import Rectangle

from ibstats.report.figures import information_plane
from ibstats.report.figures.source import Source
from ibstats.results.lookup import Numbers
from schemas.results import ResultRow, Results
from tests.ibstats.figures.documents import MODELS, arms, drawn, factorial, of_images, without

MADE = of_images(factorial(3))
NAMES = [condition.name for condition in MADE.designs["e"].conditions]


def planes(made: Results) -> dict[str, information_plane.Plane]:
    return information_plane.planes(Source(Numbers(made), "e"))


def boxes(axes: Any) -> list[tuple[float, ...]]:
    found = [one for one in axes.patches if isinstance(one, Rectangle)]
    return [(*box.get_xy(), box.get_width(), box.get_height()) for box in found]


def test_a_known_cell_is_a_point_with_its_intervals_and_has_no_box() -> None:
    panel = drawn(MADE)["information-plane"].axes[0]
    assert boxes(panel) == []
    marked = [line for line in panel.lines if line.get_marker() not in ("", "None", None)]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in marked] == [
        (50.0, 1.5),
        (30.0, 1.5),
    ]
    ends = {tuple(line.get_xdata()) for line in panel.lines}
    assert {(49.5, 50.0), (50.0, 50.5)} <= ends


def test_a_bounded_cell_is_a_box_of_the_most_paths_without_a_point() -> None:
    panel = drawn(MADE)["information-plane"].axes[1]
    assert boxes(panel) == [(49.25, 0.75, 1.5, 1.5), (29.25, 0.75, 1.5, 1.5)]
    assert {line.get_marker() for line in panel.lines} == {"None"}
    ends = {tuple(line.get_ydata()) for line in panel.lines}
    assert {(0.25, 0.75), (2.25, 2.75)} <= ends


def test_texts_that_can_show_the_most_are_drawn_with_their_cap() -> None:
    figure = drawn(MADE)["information-plane"]
    for panel, model in zip(figure.axes, MODELS, strict=True):
        assert panel.get_title(loc="left") == f"{model}, among 400 other prompts"
        assert 4.0 in {line.get_ydata()[0] for line in panel.lines if line.get_linestyle() == "--"}
    only = without(MADE, lambda one: one.part == "400")
    panel = drawn(only)["information-plane"].axes[0]
    assert panel.get_title(loc="left") == "first, among the prompts of the run"
    assert 2.0 in {line.get_ydata()[0] for line in panel.lines if line.get_linestyle() == "--"}


def test_bounds_among_the_prompts_of_the_run_end_where_the_information_must() -> None:
    study = without(MADE, lambda one: one.part == "400")
    rows = []
    for one in study.rows:
        wide = one.model == "second" and one.quantity.startswith("prompt_information_")
        moved = {"estimate": -30.0, "low": -40.0, "high": -20.0}
        if one.quantity.endswith("_upper"):
            moved = {"estimate": 30.0, "low": 20.0, "high": 40.0}
        is_bound = wide and not one.quantity.endswith("_cap")
        rows.append(one.model_copy(update=moved) if is_bound else one)
    useless = study.model_copy(update={"rows": rows})
    panel = drawn(useless)["information-plane"].axes[1]
    assert boxes(panel) == [(49.25, 0.0, 1.5, 2.0), (29.25, 0.0, 1.5, 2.0)]
    lowest = min(line.get_ydata()[0] for line in panel.lines)
    assert lowest == 0.0


def test_an_arrow_goes_from_the_baseline_to_each_probe_and_to_nothing_else() -> None:
    for panel in drawn(MADE)["information-plane"].axes:
        (arrow,) = panel.texts
        assert arrow.xyann == (50.0, 1.5)
        assert arrow.xy == (30.0, 1.5)
    probed = {one.condition for one in MADE.rows if one.section == "probe"}
    cells = [cell.condition for cell in planes(MADE)["first"].cells]
    assert cells == [NAMES[-1], NAMES[0]]
    assert NAMES[0] in probed
    moved = []
    for one in MADE.rows:
        change = one.section == "whole_image" and one.condition == NAMES[0]
        moved.append(one.model_copy(update={"condition": NAMES[4]}) if change else one)
    unprobed = planes(MADE.model_copy(update={"rows": moved}))
    assert NAMES[4] not in probed
    assert [cell.condition for cell in unprobed["first"].cells] == [NAMES[-1]]


def test_arms_of_an_ablation_are_all_shown() -> None:
    found = planes(of_images(arms("argmax_window")))
    assert [cell.condition for cell in found["first"].cells] == ["3-arm", "0-arm"]


def test_no_upper_bound_is_a_caret_that_the_note_explains() -> None:
    assert "carets" not in said(drawn(MADE)["information-plane"])
    bare = without(MADE, lambda one: one.quantity == "prompt_information_upper")
    figure = drawn(bare)["information-plane"]
    carets = [line for line in figure.axes[1].lines if line.get_marker() == "^"]
    assert [line.get_ydata()[0] for line in carets] == [0.75, 0.75]
    assert "carets: no finite upper bound" in said(figure)


def test_boxes_are_explained_where_there_are_any() -> None:
    assert "boxes: between bounds" in said(drawn(MADE)["information-plane"])
    exact = without(MADE, lambda one: one.model == "second" and one.section == "whole_image")
    assert "boxes" not in said(drawn(exact)["information-plane"])


def said(figure: Any) -> str:
    return " ".join(one.get_text() for one in figure.texts).replace("\n", " ")


@pytest.mark.parametrize("lacking", ["grid_conditional", "prompt_information"])
def test_a_model_without_both_numbers_of_its_baseline_has_no_panel(lacking: str) -> None:
    def lacks(one: ResultRow) -> bool:
        return one.quantity == lacking and one.condition == NAMES[-1]

    figure = drawn(without(MADE, lacks))["information-plane"]
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "second, among 400 other prompts"
    ]
    assert "information-plane" not in drawn(factorial(3))
