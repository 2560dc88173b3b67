"""Figures of ablations, and of conditions that no factor describes."""

from __future__ import annotations

from typing import Any

import pytest

from ibstats.design import ABLATIONS
from tests.ibstats.figures.documents import DISTANCE, SCORE, arms, document, drawn, tree, without

SECTIONS = ("diversity", "quality", "frontier", "information", "inflection")


@pytest.mark.parametrize("kind", ABLATIONS)
def test_an_ablation_has_a_figure_and_a_frontier(kind: str) -> None:
    made = arms(kind)
    assert set(drawn(made, tree(made))) == {"e", "e-frontier"}


@pytest.mark.parametrize("kind", ["subset_ratio", "enhancement"])
@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("model", [None, "first"])
def test_what_a_model_lacks_is_left_out(kind: str, section: str, model: str | None) -> None:
    made = without(arms(kind), lambda one: one.section == section and model in (None, one.model))
    found = drawn(made, tree(made))
    assert "e" in found
    assert ("e-frontier" in found) == (section not in SECTIONS[:3] or model is not None)


@pytest.mark.parametrize("number", range(len(arms("", ["first"]).rows)))
def test_any_row_may_lack(number: int) -> None:
    made = arms(("subset_ratio", "enhancement")[number % 2])
    lacking = made.rows[number]
    assert "e" in drawn(without(made, lambda one: one is lacking), tree(made))


@pytest.mark.parametrize("kind", ["subset_ratio", "enhancement"])
def test_without_the_tree_the_arms_are_drawn(kind: str) -> None:
    """The shares kept are known to the tree alone."""
    panels = drawn(arms(kind))["e"].axes
    assert [text.get_text() for text in panels[0].get_yticklabels()][1] == "1\n4 tokens"


def test_named_conditions_need_no_factor_and_no_baseline() -> None:
    made = arms("imported")
    design = made.designs["e"].model_copy(update={"baseline": None})
    bare = document(design, made.rows)
    assert set(drawn(bare)) == {"e", "e-frontier"}


def test_neither_distance_nor_score_gives_no_figure() -> None:
    made = without(arms("argmax_window"), lambda one: one.section in ("diversity", "quality"))
    assert drawn(made) == {}


@pytest.mark.parametrize("alike", [True, False])
def test_tokens_of_models_that_differ_are_in_a_stated_order(alike: bool) -> None:
    made = arms("argmax_window")
    rows = []
    for one in made.rows:
        if one.quantity == "tokens_under_argmax" and one.model == "second" and not alike:
            one = one.model_copy(update={"estimate": (one.estimate or 0) + 9})
        rows.append(one)
    figure = drawn(made.model_copy(update={"rows": rows}))["e"]
    named = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert named[1] == ("1\n4 tokens" if alike else "1\n4 / 13 tokens")
    said = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert ("in the order of the models" in said) != alike


def labels(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_strategies_are_told_by_what_they_change_of_the_baseline() -> None:
    made = arms("enhancement")
    assert set(labels(drawn(made, tree(made))["e"])) == {"few", "proposed", "baseline"}


def test_inflections_and_losses_are_marked_and_said() -> None:
    made = arms("subset_ratio")
    figure = drawn(made, tree(made))["e"]
    below = figure.axes[-1].get_xlabel()
    assert "bars: inflection points, 95%" in below
    assert "hollow: significant loss of quality" in below
    hollow = [line for line in figure.axes[1].lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 2  # one a model


def test_the_preferred_distance_and_score_are_shown() -> None:
    made = arms("argmax_window")
    more = []
    for one in made.rows:
        other = {DISTANCE: "lpips_alex_distance", SCORE: "clip_iqa"}.get(one.quantity)
        if other and one.model == "second":
            more.append(one.model_copy(update={"quantity": other}))
    figure = drawn(made.model_copy(update={"rows": [*made.rows, *more]}))["e"]
    shown = " ".join(panel.get_xlabel() for panel in figure.axes)
    assert "LPIPS" in shown
    assert "CLIP-IQA" in shown
    assert labels(figure) == ["second"]
