"""The answer: short, the same words in every renderer, and nothing in it that the rows do not say."""

from __future__ import annotations

import html as entities
import io
import json
import re
from functools import partial
from typing import Any

import pytest
from rich.console import Console

from ibstats.report.answer import Answer, answer, shortened
from ibstats.report.page.sections import Analysis, sections
from ibstats.report.render import json as as_json
from ibstats.report.render import markdown, plain, terminal
from ibstats.report.table import Heading, Interval, Paragraph, Table
from ibstats.results.lookup import Numbers
from schemas.design import ConditionRecord, DesignRecord
from schemas.results import ResultRow, Results
from tests.ibstats import documents

WIDTH, LINES = 80, 40
LPIPS = documents.DISTANCES[1]


def printed(found: Answer, width: int = WIDTH) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    terminal.show(found.parts(), console)
    return console.export_text()


def answered(rows: list[ResultRow], **more: Any) -> Answer:
    designs = documents.factorial().designs
    return answer(Numbers(documents.document(rows, designs=designs, **more)))


def probe(effect: str, **fields: Any) -> ResultRow:
    of = {"condition": "-".join(documents.PROBES[effect]), "effect": effect}
    return documents.row("probe", LPIPS, **documents.TESTED | of | fields)


def value(condition: str, estimate: float, **fields: Any) -> ResultRow:
    return documents.row("diversity", LPIPS, condition=condition, estimate=estimate, **fields)


def of_models(n_models: int) -> Results:
    """The rows of a factorial for that many models."""
    document = documents.factorial()
    rows = []
    for number in range(n_models):
        for row in document.rows:
            if row.model == documents.MODELS[0]:
                rows.append(row.model_copy(update={"model": f"model-{number}"}))
    families = {f"model-{number}": "autoregressive" for number in range(n_models)}
    return document.model_copy(update={"rows": rows, "families": families})


@pytest.mark.parametrize("n_models", [1, 2, 3, 5, 9])
def test_an_answer_has_forty_lines_of_eighty_columns_however_many_models(n_models: int) -> None:
    found = answer(Numbers(of_models(n_models)))
    short = shortened(found, partial(terminal.height, width=WIDTH), LINES)
    lines = printed(short).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH
    if n_models <= 5:
        assert list(short.sentences) == list(found.sentences)
    left = [line for line in short.cautions if "more model" in line]
    assert len(left) == (len(short.sentences) < n_models)


def words_of(found: Answer) -> list[str]:
    """Every sentence, head, name and number of an answer."""
    said = []
    for part in found.parts():
        match part:
            case Heading(title):
                said.append(title)
            case Paragraph(sentence):
                said.append(sentence)
            case Table():
                said += [part.title, *part.notes, part.caption]
                said += [column.head for column in part.columns]
                for row in part.rows:
                    said += map(plain.text, row)
    return [text for text in said if text]


def texts_of(value: Any) -> list[str]:
    """Every text in a JSON document."""
    if isinstance(value, str):
        return [value]
    found = []
    for one in value.values() if isinstance(value, dict) else value or ():
        if not isinstance(one, bool | int | float):
            found += texts_of(one)
    return found


def test_every_renderer_says_the_same_words() -> None:
    found = answer(Numbers(documents.factorial()))
    in_markdown = re.sub(r"\\(.)", r"\1", markdown.render(found.parts()))
    in_json = texts_of(json.loads(as_json.render(found.parts())))
    wide = " ".join(printed(found, 400).split())
    for text in words_of(found):
        assert text in in_markdown
        assert text in in_json
        assert " ".join(text.split()) in wide


def test_an_answer_follows_from_the_rows_alone() -> None:
    document = documents.factorial()
    again = Results.model_validate_json(document.model_dump_json())
    assert answer(Numbers(document)) == answer(Numbers(again))


def test_no_undefined_number_is_written_out() -> None:
    undefined = {"estimate": None, "low": None, "high": None}
    rows = [row.model_copy(update=undefined) for row in documents.factorial().rows]
    for found in (answered(rows), answered([])):
        for text in (printed(found), markdown.render(found.parts()), as_json.render(found.parts())):
            assert not re.search(r"\b(nan|inf|none)\b", text, re.IGNORECASE)


def test_a_direction_is_claimed_only_below_the_adjusted_p() -> None:
    left = value("argmax-original-full", 0.4)
    found = answered([left, probe("argmax", estimate=-0.2), probe("subset", p_holm=0.2)])
    (sentence,) = found.sentences.values()
    assert "diversity falls under argmax, is undecided under subset." in sentence
    (cell,) = [cell for cell in found.tables[0].rows[0] if getattr(cell, "word", "") == "drop"]
    assert isinstance(cell, Interval)
    assert (cell.estimate, cell.low, cell.high) == (-0.2, 0.25, 0.75)


def test_a_diversity_that_is_gone_is_said_to_be() -> None:
    left = value("argmax-original-full", 0.0, low=0.0, high=0.0, degenerate=True)
    found = answered([left, probe("argmax", estimate=-0.5)])
    assert "falls to 0 under argmax" in next(iter(found.sentences.values()))
    almost = answered([value("argmax-original-full", 0.0), probe("argmax", estimate=-0.5)])
    assert "falls under argmax" in next(iter(almost.sentences.values()))


def test_equivalence_within_a_margin_and_the_strategy_are_told() -> None:
    within = {"effect": "subset", "verdict": "equivalent", "margin": 0.02}
    rows = [
        value(documents.BASELINE, 0.5),
        probe("argmax", estimate=-0.2),
        probe("subset", p_holm=0.7),
        documents.row("equivalence", LPIPS, **within),
        documents.row("strategy", LPIPS, verdict="compression-prioritized", estimate=None),
    ]
    found = answered(rows)
    assert list(found.sentences.values()) == [
        f"{documents.MODELS[0]} (masked), compression-prioritized: diversity falls under argmax, "
        "stays within ±0.02 under subset."
    ]
    assert found.tables[0].notes == (
        "verdicts: p Holm < .05 in a model; equivalent: 90% interval within ±0.02",
    )


def test_a_verdict_that_names_no_strategy_says_so() -> None:
    for verdict, said in (("mixed", "none of the paper's strategies"), ("undecided", "strategy")):
        strategy = documents.row("strategy", LPIPS, verdict=verdict, estimate=None)
        found = answered([value(documents.BASELINE, 0.5), probe("subset", p_holm=0.7), strategy])
        assert f"(masked), {said}" in next(iter(found.sentences.values()))


def test_the_paper_s_distance_is_told_where_it_was_measured() -> None:
    found = answer(Numbers(documents.factorial()))
    assert found.heading == "12 prompts x 4 images: diversity by LPIPS"
    assert not any("LPIPS" in caution for caution in found.cautions)
    rows = [row for row in documents.factorial().rows if row.quantity != LPIPS]
    note = "lpips_alex_distance is left out: LPIPS (alex) needs a file"
    without = answered(rows, notes=[note])
    assert "diversity by pixel cosine" in without.heading
    assert any(caution.startswith("LPIPS, the paper's") for caution in without.cautions)


def whole(quantity: str, estimate: float, condition: str, **fields: Any) -> ResultRow:
    of = {"condition": condition, "estimate": estimate, "low": estimate - 1, "high": estimate + 1}
    return documents.row("whole_image", quantity, **of | fields)


REWORDED, BARE = "stochastic-paraphrase-full", {"low": None, "high": None}
WORDED = [
    whole("wording_information", 1.0, "argmax-paraphrase-full"),
    whole("wording_information", 1.5, REWORDED),
    whole("wording_information_cap", 2.25, REWORDED, **BARE),
]


def test_wording_and_alignment_are_told_nearest_to_the_baseline_by_every_renderer() -> None:
    rows = [
        *documents.factorial().rows,
        *WORDED,
        whole("alignment", 9.0, REWORDED),
        whole("alignment", 16.0, documents.BASELINE),
    ]
    found = answered(rows)
    (said,) = found.whole_images.values()
    assert said == (
        f"{documents.MODELS[0]}, whole images: wording 1.50 [0.50, 2.50] of at most 2.25 bits, "
        "alignment with the prompt 16.00 [15.00, 17.00] bits."
    )
    assert said in words_of(found)
    assert said in texts_of(json.loads(as_json.render(found.parts())))
    assert said in re.sub(r"\\(.)", r"\1", markdown.render(found.parts()))
    assert said in " ".join(printed(found, 400).split())
    run = Analysis(
        Numbers(documents.document(rows, designs=documents.factorial().designs)),
        "factorial",
        lambda: None,
    )
    page = {section.name: section.body for section in sections(run, [])}
    assert f"<p>{said}</p>" in page["answer"]
    assert "What whole images tell of their text" in page["codes"]


def test_a_bounded_wording_is_told_by_the_bounds_of_the_most_paths() -> None:
    rows = []
    for paths in (4, 1):
        for side, sign in (("lower", -1), ("upper", 1)):
            bound = whole(f"wording_information_{side}", sign * 8 / paths, REWORDED, paths=paths)
            rows += [bound, *WORDED[2:]]
    (said,) = answered(rows).whole_images.values()
    assert "wording between -2.00 and 2.00 of at most 2.25 bits." in said
    assert answered(documents.factorial().rows).whole_images == {}
    assert answered(WORDED[2:]).whole_images == {}


def test_an_answer_that_is_too_long_leaves_whole_images_to_the_report() -> None:
    found = answered([*documents.factorial().rows, *WORDED])
    height = partial(terminal.height, width=WIDTH)
    narrow = shortened(found, height, height(found.parts()) - 1)
    assert narrow.whole_images == found.whole_images
    short = shortened(found, height, height(narrow.parts()) - 1)
    assert short.whole_images == {}
    assert "what whole images tell: see report --full" in short.cautions


def test_few_prompts_and_unseen_codes_are_a_line_each() -> None:
    unseen = documents.row("information", "unseen_by_image", estimate=0.21, condition="a")
    found = answered([value(documents.BASELINE, 0.5), unseen])
    assert any("few prompts (12)" in caution for caution in found.cautions)
    assert any("up to 0.21 of the tokens" in caution for caution in found.cautions)
    many = [row.model_copy(update={"n_prompts": 40}) for row in documents.factorial().rows]
    assert not any("few prompts" in caution for caution in answered(many).cautions)


def test_many_named_conditions_stand_below_each_other() -> None:
    names = [f"c{number}" for number in range(6)]
    conditions = [ConditionRecord(name=name) for name in names]
    design = DesignRecord(kind="imported", conditions=conditions, baseline="c0")
    rows = [value("c0", 0.5)]
    for name in names[1:]:
        fields = {"condition": name, "effect": f"{name} - c0", **documents.TESTED}
        rows.append(documents.row("contrast", LPIPS, **fields))
    found = answer(Numbers(documents.document(rows, designs={"factorial": design})))
    assert [column.head for column in found.tables[0].columns] == [
        "model",
        "change",
        "estimate",
        "p Holm",
    ]
    assert "rises under c1 - c0, c2 - c0, c3 - c0, c4 - c0 and c5 - c0" in str(found.sentences)


def test_conditions_without_a_baseline_are_told_by_their_values() -> None:
    conditions = [ConditionRecord(name="a"), ConditionRecord(name="b")]
    design = DesignRecord(kind="imported", conditions=conditions)
    rows = [value("a", 0.5), value("b", 0.25)]
    found = answer(Numbers(documents.document(rows, designs={"factorial": design})))
    assert list(found.sentences.values()) == [
        f"{documents.MODELS[0]} (masked): diversity 0.500 [0.250, 0.750] in a, "
        "0.250 [0.250, 0.750] in b."
    ]
    assert found.tables == ()


def test_paths_and_commands_are_never_broken_over_lines() -> None:
    folder = f"/data/{'a [b] ' * 20}/results"
    places = {"results": f"{folder}/results.json", "tables": f"{folder}/tables"}
    found = Answer("h", {}, (), (), places, "ibstats report x --full")
    assert f"results.json, tables: {folder}" in printed(found).splitlines()
    assert f"    results.json, tables: {folder}\n" in markdown.render(found.parts())
    assert "next: ibstats report x --full" in printed(found)


def test_foreign_names_are_text_in_markdown() -> None:
    said = markdown.render([Paragraph("<b> [x](y) a|b *c* `d`\n# e")])
    assert said == "\\<b\\> \\[x\\](y) a\\|b \\*c\\* \\`d\\` \\# e\n"
    assert "<b>" not in entities.unescape(said)
