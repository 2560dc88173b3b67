"""Diversity against quality: where conditions stand, and which are dominated."""

from __future__ import annotations

from ibstats.report.figures import quality
from ibstats.report.figures.source import Source
from ibstats.results.lookup import Numbers
from schemas.results import Results
from tests.ibstats.figures.documents import DISTANCE, SCORE, drawn, factorial, row, without


def source(made: Results) -> Source:
    return Source(Numbers(made), "e")


def test_a_condition_stands_between_its_diversity_and_its_score() -> None:
    places = quality.places(source(factorial()), SCORE, DISTANCE)
    assert list(places) == ["first", "second"]
    assert [place.dominated for place in places["first"]] == [True, False, True, False]
    assert [round(place.diversity.estimate, 2) for place in places["first"]] == [
        0.3,
        0.35,
        0.4,
        0.45,
    ]


def test_a_model_without_a_place_has_no_panel() -> None:
    made = without(factorial(), lambda one: one.section == "frontier" and one.model == "first")
    assert list(quality.places(source(made), SCORE, DISTANCE)) == ["second"]
    assert len(drawn(made)[f"frontier-{SCORE}"].axes) == 1


def test_parts_of_a_score_have_no_figure() -> None:
    made = factorial()
    part = row("quality", model="first", condition="loud+many", quantity=f"{SCORE}_shape")
    assert set(drawn(made.model_copy(update={"rows": [*made.rows, part]}))) == set(drawn(made))


def test_a_score_of_which_less_is_better_points_the_other_way() -> None:
    made = factorial()
    rows = []
    for one in made.rows:
        name = "fid" if one.quantity == SCORE else one.quantity
        rows.append(one.model_copy(update={"quantity": name}))
    panel = drawn(made.model_copy(update={"rows": rows}))["frontier-fid"].axes[0]
    assert panel.yaxis_inverted()
    assert panel.get_ylabel() == "FID ↓"
