"""Tables of a report: they follow from the rows, whatever is missing, and every renderer shows them."""

from __future__ import annotations

import dataclasses
import io
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from ibstats.quantities import quantity
from ibstats.report import files, tables
from ibstats.report.render import csv, html, latex, terminal
from ibstats.report.table import Interval, Missing, Paragraph, Part, Table, Text, rounded, stacked
from ibstats.report.tables import ablations, factorial, grid, path_and_execution, quality
from ibstats.results.lookup import Numbers
from schemas.results import Results
from tests.ibstats import documents

ON_REQUEST = ("effective_number", "simple_effects", "waterfall_two", "quality_effects")
EVERY = (*tables.SECTIONS, *ON_REQUEST)
MADE = {"factorial": documents.factorial(), "ablation": documents.ablation()}


def printed(parts: Sequence[Part], width: int = 114) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    terminal.show(parts, console)
    return console.export_text()


def all_parts(document: Results) -> list[Part]:
    numbers = Numbers(document)
    return [
        *tables.factorial_parts(numbers, EVERY),
        *tables.ablation_parts(numbers),
        *tables.decomposition_parts(numbers, {documents.MODELS[0]: 64}),
        *tables.decomposition_parts(numbers, crossed=True),
    ]


def rendered(document: Results) -> str:
    """Everything that can be made of a document, in every renderer."""
    parts = all_parts(document)
    said = [printed(parts)]
    for part in [*parts, *tables.paper_tables(Numbers(document))]:
        if isinstance(part, Table):
            said += [latex.render(part), html.render(part), csv.render(part)]
    return "\n".join(said)


def without(document: Results, *numbers: int) -> Results:
    rows = [row for number, row in enumerate(document.rows) if number not in numbers]
    return document.model_copy(update={"rows": rows})


@pytest.mark.parametrize("kind", MADE)
def test_every_table_is_made_without_any_single_kind_of_row(kind: str) -> None:
    """One row of each section, quantity and part in turn is missing, of one model."""
    document = MADE[kind]
    seen = set()
    for number, row in enumerate(document.rows):
        key = (row.section, row.quantity, row.part, row.step, row.effect, row.paths)
        if key not in seen:
            seen.add(key)
            assert all_parts(without(document, number))
            assert tables.paper_tables(Numbers(without(document, number)))


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(sorted(MADE)), data=st.data())
def test_whatever_rows_are_missing_every_renderer_shows_the_others(
    kind: str, data: st.DataObject
) -> None:
    document = MADE[kind]
    places = st.integers(0, len(document.rows) - 1)
    left_out = data.draw(st.sets(places, max_size=len(document.rows)))
    rendered(without(document, *left_out))


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("section", sorted({row.section for row in MADE["factorial"].rows}))
def test_a_model_that_lacks_a_whole_section_is_left_out_of_it(kind: str, section: str) -> None:
    document = MADE[kind]
    missing = []
    for number, row in enumerate(document.rows):
        if row.section == section and row.model == documents.MODELS[0]:
            missing.append(number)
    assert rendered(without(document, *missing))


@pytest.mark.parametrize("kind", MADE)
def test_undefined_numbers_and_unknown_designs_are_shown_too(kind: str) -> None:
    document = MADE[kind]
    undefined = {"estimate": None, "low": None, "high": None, "note": "nothing varies"}
    rows = [row.model_copy(update=undefined) for row in document.rows]
    assert rendered(document.model_copy(update={"rows": rows}))
    assert rendered(document.model_copy(update={"designs": {}}))


@pytest.mark.parametrize("kind", MADE)
def test_no_table_says_a_note_twice(kind: str) -> None:
    document = MADE[kind]
    noted = [row.model_copy(update={"note": "of these alone"}) for row in document.rows]
    for part in all_parts(document.model_copy(update={"rows": noted})):
        if isinstance(part, Table):
            assert len(part.notes) == len(set(part.notes)), part.name


def test_an_empty_document_gives_its_notes_alone() -> None:
    empty = documents.document([])
    assert tables.factorial_parts(Numbers(empty)) == [
        Paragraph("note [red]something[/] is left out")
    ]
    assert tables.paper_tables(Numbers(empty)) == []


def test_names_are_printed_as_they_are() -> None:
    said = printed(tables.factorial_parts(Numbers(MADE["factorial"]), EVERY))
    for text in (*documents.MODELS, "note [red]something[/] is left out"):
        assert text in said


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("kind", MADE)
def test_tables_fit_the_terminal_with_every_number_whole(kind: str, width: int) -> None:
    parts = all_parts(MADE[kind])
    said = printed(parts, width)
    assert max(map(len, said.splitlines())) <= width
    assert "…" not in said
    words = set(said.split())
    for part in parts:
        if isinstance(part, Table):
            for cell in itertools.chain.from_iterable(part.rows):
                if isinstance(cell, Interval):
                    whole = terminal.styled(cell, folded=True).plain.split()
                    assert set(whole) <= words


def test_a_wide_terminal_is_used() -> None:
    """Fewer tables are split, so fewer lines are needed."""
    parts = all_parts(MADE["factorial"])
    lines = [printed(parts, width).count("\n") for width in (60, 80, 120, 200)]
    assert lines == sorted(lines, reverse=True)
    assert lines[3] < lines[2]


def test_a_quantity_that_one_model_lacks_is_a_dash_beside_the_others() -> None:
    rows = []
    for row in MADE["factorial"].rows:
        if (row.model, row.quantity) != (documents.MODELS[1], documents.DISTANCES[1]):
            rows.append(row)
    numbers = Numbers(MADE["factorial"].model_copy(update={"rows": rows}))
    (both,) = factorial.diversity(numbers, "factorial", documents.MODELS)
    assert [column.head for column in both.columns[2:]] == list(documents.MODELS)
    assert [row[0] for row in both.rows] == [Text("pixel cosine")] * 8 + [Text("LPIPS")] * 8
    assert isinstance(both.rows[8][2], Interval)
    assert both.rows[8][3] == Missing("not measured")
    (alone,) = factorial.diversity(numbers, "factorial", documents.MODELS[1:])
    assert [column.head for column in alone.columns] == ["condition", "pixel cosine"]


def test_conditions_stand_in_the_order_of_the_design() -> None:
    document = MADE["factorial"]
    reversed_rows = document.model_copy(update={"rows": document.rows[::-1]})
    (table,) = factorial.diversity(Numbers(reversed_rows), "factorial", documents.MODELS[:1])
    labels = [row[0] for row in table.rows]
    assert labels == [Text(condition.label) for condition in documents.cells()]


def test_quantities_come_from_the_registry_with_unit_and_good_end() -> None:
    numbers = Numbers(MADE["factorial"])
    scores = quality.scores(numbers, "factorial", documents.MODELS)
    assert [score.name for score in scores] == ["clip_iqa", "fid", "reference_accuracy"]
    said = printed(tables.factorial_parts(numbers, ("entropy", "quality")))
    for head in ("H(Z) bit", "CLIP-IQA ↑", "FID ↓", "shape (12)"):
        assert head in said


def test_effects_show_tests_and_marks() -> None:
    numbers = Numbers(MADE["factorial"])
    said = printed(tables.factorial_parts(numbers, ("effects",)))
    assert "Effects on pixel cosine distance, 1 - cos (high minus low; F(1, 11) = t²" in said
    assert re.search(r"sampling × codebook +0.5000 \[0.2500, 0.7500\] \* +-2.50 +0.0300", said)
    assert "* p Holm < .05" in said


def test_simple_effects_have_a_table_that_says_what_is_held() -> None:
    numbers = Numbers(MADE["factorial"])
    said = printed(tables.factorial_parts(numbers, ("simple_effects",)))
    assert "Simple effects, with other factors held, on pixel cosine distance" in said
    for level in ("original", "paraphrase"):
        assert re.search(rf"sampling \(prompt_type={level}\) +0.5000 \[0.2500, 0.7500\]", said)
    assert "Simple effects" not in printed(tables.factorial_parts(numbers))


def test_a_gap_of_shapley_values_is_no_finding() -> None:
    numbers = Numbers(MADE["factorial"])
    (table,) = factorial.waterfalls(numbers, "factorial", documents.MODELS[0])
    gap = table.rows[5]
    assert gap[0] == Text("synergy gap")
    assert gap[3] == Text(factorial.BY_DEFINITION)
    (within,) = factorial.waterfalls(numbers, "factorial", documents.MODELS[0], within=True)
    assert within.title.endswith("(sampling=stochastic)")


def test_the_tables_of_a_paper_have_the_names_of_their_files() -> None:
    names = {table.name for table in tables.paper_tables(Numbers(MADE["factorial"]))}
    assert names >= {
        "diversity", "probes", "effects-lpips_alex_distance", "simple-effects-lpips_alex_distance",
        "entropy", "ledger", "frontier",
        "pair-distances", "quality-clip_iqa", "quality-effects-clip_iqa", "quality-probes",
        "quality-probes-clip_iqa",
    }  # fmt: skip
    made = tables.paper_tables(Numbers(MADE["ablation"]))
    names = {table.name for table in made}
    assert names >= {
        "arms-diversity", "changes-contrast", "arms-clip_iqa", "arms-lpips_alex_distance",
        "comparisons-lpips_alex_distance", "codebook", "inflection", "offer",
    }  # fmt: skip
    assert {table.label for table in made} == {f"ratio-{name}" for name in names}
    assert all("Data snapshot 0123456789abcdef" in table.notes for table in made)


@pytest.mark.parametrize("name", ["diversity", "probes", "entropy", "quality-clip_iqa", "ledger"])
def test_models_stand_side_by_side_and_every_number_is_that_of_its_row(name: str) -> None:
    """A line a condition or probe, a column a model; distinct numbers, so that none is mixed up."""
    rows = []
    for number, row in enumerate(MADE["factorial"].rows):
        ends = {
            "estimate": number / 1000,
            "low": number / 1000 - 0.01,
            "high": number / 1000 + 0.01,
        }
        rows.append(row.model_copy(update=ends))
    numbers = Numbers(MADE["factorial"].model_copy(update={"rows": rows}))
    (table,) = [one for one in tables.paper_tables(numbers) if one.name == name]
    assert [column.head for column in table.columns[table.labels :]] == list(documents.MODELS)
    shown = {}
    for line in table.rows:
        *labels, name_of_line = [cell.words for cell in line[: table.labels]]
        for model, cell in zip(documents.MODELS, line[table.labels :], strict=True):
            shown[(model, *labels, name_of_line)] = (cell.estimate, cell.low, cell.high)
    section = {"probes": "probe", "entropy": "information", "quality-clip_iqa": "quality"}
    wanted = {}
    for row in numbers.all(section.get(name, name), experiment="factorial", paths=None):
        record = quantity(row.quantity)
        line = row.effect or numbers.short("factorial", row.condition or "")
        keys = (row.model, grid.head(record), line) if table.labels == 2 else (row.model, line)
        if keys in shown and (table.labels == 2 or row.quantity == "clip_iqa"):
            wanted[keys] = (row.estimate, row.low, row.high)
    assert wanted == shown
    n_lines = 2 if name == "probes" else 8
    assert len(shown) == 2 * n_lines * max(
        1, len({line[0] for line in table.rows}) * (table.labels - 1)
    )


def test_a_block_of_lines_has_as_many_decimals_as_its_narrowest_interval_bears() -> None:
    narrow, wide = Interval(0.51234, 0.5, 0.53), Interval(0.3, 0.1, 0.9)
    blocks = [[(Text("a"), narrow, wide)], [(Text("b"), wide, wide)]]
    made = stacked("t", "T", ["of"], blocks, grid.columns(["x", "y"]))
    made = dataclasses.replace(made, groups=(1,), alike="block")
    digits = [[cell.digits for cell in row[1:]] for row in rounded(made).rows]
    assert digits == [[3, 3], [2, 2]]


@pytest.mark.parametrize("kind", MADE)
def test_the_same_tables_are_latex_markdown_and_html(kind: str, tmp_path: Path) -> None:
    numbers = {}
    for form, (ending, _) in files.PAPER.items():
        made = files.write_tables(MADE[kind], tmp_path / form, form)
        assert {file.suffix for file in made} == {f".{ending}"}
        numbers[form] = {}
        for file in made:
            said = file.read_text()
            if form == "html":
                said = re.sub("<.*?>", " ", said).replace("  ", " ")
            said = re.sub(r"[$\\{}]", "", said)
            found = re.findall(r"-?\d+\.\d+ \[-?\d+\.\d+, -?\d+\.\d+\]", said)
            numbers[form][file.stem] = sorted(found)
    assert numbers["latex"] == numbers["markdown"] == numbers["html"]
    assert sum(map(len, numbers["latex"].values())) > 60


def test_an_arm_stands_beside_its_change_and_the_baseline_has_none() -> None:
    numbers = Numbers(MADE["ablation"])
    measured = numbers.quantities("diversity")[0]
    (table,) = ablations.arm_changes(numbers, "ratio", documents.MODELS[:1], measured)
    first, last = table.rows[0], table.rows[-1]
    assert first[0] == Text("keep-0.25")
    assert isinstance(first[2], Interval)
    assert isinstance(last[2], Missing)


def bent(verdict: str, needed: float | None = None) -> str:
    """The tables of an ablation whose every inflection point has that verdict."""
    rows = []
    for row in MADE["ablation"].rows:
        change: dict[str, object] = {}
        if row.section == "inflection":
            change = {"verdict": verdict}
            if row.part == "prompts_needed":
                change |= {"estimate": needed, "low": None, "high": None}
        rows.append(row.model_copy(update=change))
    numbers = Numbers(MADE["ablation"].model_copy(update={"rows": rows}))
    return printed(tables.ablation_parts(numbers))


def test_an_inflection_point_at_the_edge_is_marked_and_explained() -> None:
    said = bent("found at the edge")
    assert "0.50 [0.25, 0.75] edge" in said
    assert "edge: the interval reaches the second or second to last ratio" in said
    assert "needed" not in said


@pytest.mark.parametrize(("needed", "shown"), [(41.0, "41"), (None, "–")])
def test_a_bend_that_is_not_distinct_has_the_prompts_that_it_needs(
    needed: float | None, shown: str
) -> None:
    said = bent("no distinct bend", needed)
    assert re.search(rf"no distinct +.* 0.0200 +{shown} ", said)
    assert "prompts needed: so many would tell the fitted line from every smooth curve" in said


def test_a_strategy_stands_beside_the_probes_it_rests_on() -> None:
    said = printed(tables.factorial_parts(Numbers(MADE["factorial"]), ("strategy",)))
    assert "equivalence margin ±0.02" in said
    assert re.search(r"0.500 \[0.250, 0.750\] drop +0.500 \[0.250, 0.750\] drop", said)
    kept = "images that share the path noise keep 0.50 [0.25, 0.75] of the diversity"
    assert " ".join(said.split()).count(kept) == len(documents.MODELS)
    assert "continued" not in said


def bits(*rows: tuple[str, float | None], **more: object) -> Numbers:
    made = [
        documents.row("ledger", name, estimate=value, condition=documents.BASELINE, **more)
        for name, value in rows
    ]
    document = documents.document(made, designs=MADE["factorial"].designs)
    return Numbers(document)


def test_bounds_stand_in_for_what_was_not_recorded_and_the_reason_is_given() -> None:
    numbers = bits(
        ("path_given_candidates", 20.0),
        ("execution_marginal", 70.0),
        ("path_causal", None),
        note="only the path given the candidates was recorded",
        low=None,
        high=None,
    )
    said = printed(path_and_execution.side_by_side(numbers, "factorial"))
    assert "≥ 20.0" in said
    assert "≤ 70.0" in said
    assert "(masked): its path was not recorded" in said
    assert f"{documents.MODELS[0]}: only the path given the candidates was recorded" in said


def test_the_tighter_of_two_bounds_is_shown() -> None:
    loose = bits(("residual_upper", 40.0)).documents[0].rows
    tight = bits(("residual_upper", 30.0), paths=4).documents[0].rows
    numbers = Numbers(documents.document([*loose, *tight], designs=MADE["factorial"].designs))
    found = path_and_execution.bits_of(
        numbers, "factorial", documents.MODELS[0], documents.BASELINE
    )
    assert found["residual_upper"].estimate == 30.0


def test_an_experiment_without_argmax_or_baseline_shows_what_it_has() -> None:
    numbers = Numbers(MADE["factorial"])
    model = documents.MODELS[0]
    assert path_and_execution.compared(numbers, "factorial", model) == [
        documents.BASELINE,
        "argmax-original-full",
    ]
    unknown = Numbers(MADE["factorial"].model_copy(update={"designs": {}}))
    assert len(path_and_execution.compared(unknown, "factorial", model)) == 8
    assert "never read" not in printed(path_and_execution.side_by_side(unknown, "factorial"))


def test_the_note_of_a_weak_number_has_its_mark() -> None:
    said = printed(tables.factorial_parts(Numbers(MADE["factorial"]), EVERY))
    assert "† rests on little" in said
    assert "The same from fewer images and from fewer prompts" in said
