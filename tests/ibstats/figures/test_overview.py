"""The overview: what a run holds without intervention, and what probes change, as far as it is known."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.results import ResultRow, Results
from tests.ibstats.figures.documents import MODELS, drawn, factorial, of_bits, row, without

MADE = of_bits(factorial(3))


def labels(figure: Any) -> list[list[str]]:
    found = []
    for axes in figure.axes:
        found.append([text.get_text() for text in axes.get_yticklabels()])
    return found


def test_an_overview_has_pressures_sources_and_probes() -> None:
    figure = drawn(MADE)["overview"]
    assert labels(figure) == [
        ["H(Z)", "H(Z|X)", "I(X;Z)"],
        ["H_path, A", "H_exec, B"],
        ["quiet", "one", "few"],
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(MODELS)


def test_entropies_that_lean_on_unseen_codes_make_room_for_collisions() -> None:
    def greyed(one: ResultRow) -> ResultRow:
        weak = one.quantity == "conditional_entropy" and one.model == MODELS[1]
        return one.model_copy(update={"weak": weak})

    rows = list(map(greyed, MADE.rows))
    of = {"condition": MADE.designs["e"].baseline, "units": "bit"}
    for name in ("collision_entropy", "collision_conditional", "collision_information"):
        rows += [row("information", model=model, quantity=name, **of) for model in MODELS]
    figure = drawn(MADE.model_copy(update={"rows": rows}))["overview"]
    assert labels(figure)[0] == ["H2(Z)", "H2(Z|X)", "I2"]


@pytest.mark.parametrize(("section", "left"), [("information", 2), ("ledger", 2), ("probe", 2)])
def test_a_panel_without_numbers_is_left_out(section: str, left: int) -> None:
    less = without(MADE, lambda one: one.section == section)
    assert len(drawn(less)["overview"].axes) == left


def test_one_panel_or_no_baseline_is_no_overview() -> None:
    less = without(MADE, lambda one: one.section in ("information", "ledger"))
    assert "overview" not in drawn(less)
    design = MADE.designs["e"].model_copy(update={"baseline": None})
    bare: Results = MADE.model_copy(update={"designs": {"e": design}})
    assert "overview" not in drawn(bare)
