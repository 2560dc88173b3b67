"""Prompt files are read whole or refused in one line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from generate.errors import StudyError
from generate.prompts.files import read_column, read_prompts, write_prompts
from generate.prompts.sources import SHIPPED
from generate.run.preparing import prepare
from generate.study.planning import plan
from generate.study.study_file import load_study
from schemas.study import OWN_CALIBRATION, Prompt
from tests.generate.conftest import edited


def test_a_csv_file_and_a_jsonl_file_of_the_same_prompts_are_read_alike(tmp_path: Path) -> None:
    prompt = Prompt.model_validate(
        {
            "id": "fox",
            "text": "a fox, asleep",
            "paraphrases": {"short": ["one", "two"], "long": ['a "long" one']},
        }
    )
    write_prompts([prompt], tmp_path / "set.jsonl")
    (tmp_path / "set.csv").write_text(
        'id,text,short_1,short_2,short_3,long_1\r\nfox,"a fox, asleep",one,,two,"a ""long"" one"\r\n',
        encoding="utf-8",
    )
    assert read_prompts(tmp_path / "set.csv") == read_prompts(tmp_path / "set.jsonl") == [prompt]


def test_rows_without_an_id_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("text\na fox\nan owl\n")
    assert [prompt.id for prompt in read_prompts(tmp_path / "set.csv")] == [
        "set-00001",
        "set-00002",
    ]


def test_a_line_separator_inside_a_text_does_not_end_the_record(tmp_path: Path) -> None:
    (tmp_path / "set.jsonl").write_text('{"id": "a", "text": "one\u2028two"}\n', encoding="utf-8")
    assert read_prompts(tmp_path / "set.jsonl")[0].text == "one\u2028two"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"id": "a", "text": " "}', r"a.jsonl, line 1: text is empty; write a text"),
        (
            "a.jsonl",
            '{"id": "a", "text": "x", "paraphrases": {"short": [""]}}',
            r"paraphrases.short.0 is empty",
        ),
        (
            "a.jsonl",
            '{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}',
            r"uses prompt id 'a' more than once",
        ),
        (
            "a.jsonl",
            '{"id": "a", "text": "x", "txet": "y"}',
            r"txet: Extra inputs are not permitted; fields are id",
        ),
        ("a.jsonl", '{"id": "a"', r"line 1: record: Invalid JSON"),
        ("a.jsonl", "\n", r"is empty; it needs one JSON object"),
        ("a.csv", "id,caption\n1,x\n", r"has no column 'text'; its columns are id, caption"),
        (
            "a.csv",
            "text,shrot_1\nx,y\n",
            r"has a column 'shrot_1' that is unknown; allowed: id \(optional\), text",
        ),
        ("a.csv", "id,text\na,\n", r"row 1: text is empty"),
        ("a.csv", "id,text\na,x\na,y\n", r"uses prompt id 'a' more than once"),
        (
            "a.csv",
            "text\na fox, asleep\n",
            r"row 1 has more cells than the header has columns: quote texts",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(StudyError, match=message) as error:
        read_prompts(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text\ncafé\n".encode("latin-1"))
    with pytest.raises(StudyError, match=r"is not UTF-8 \(byte 8\): save it as UTF-8"):
        read_prompts(tmp_path / "a.csv")


def test_the_store_records_the_checksum_of_every_prompt_file(study_file: Path) -> None:
    store = prepare(plan(*load_study(str(study_file))), study_file.parent / "run")
    expected = {
        name: hashlib.sha256((study_file.parent / name).read_bytes()).hexdigest()
        for name in ("study.jsonl", "calibration.jsonl")
    }
    assert store.run.prompt_files == expected
    assert json.loads((store.root / "run.json").read_text())["prompt_files"] == expected


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_set_is_calibrated_on_its_own_calibration_prompts(
    study_file: Path, name: str
) -> None:
    study = edited(study_file, prompts={"source": name, "n": 3}, calibration={"n": 4})
    laid_out = plan(*load_study(str(study)))
    assert laid_out.study.calibration.source == name
    assert set(SHIPPED) == set(OWN_CALIBRATION)
    assert len(laid_out.calibration_prompts) == 4
    assert set(laid_out.prompt_files) == {f"{name} (study)", f"{name} (calibration)"}


def test_calibration_prompts_that_differ_from_study_prompts_in_punctuation_alone_are_refused(
    study_file: Path,
) -> None:
    (study_file.parent / "calibration.jsonl").write_text(
        '{"id": "other", "text": "S prompt, XX!"}\n'
    )
    with pytest.raises(
        StudyError, match=r"1 calibration prompts are study prompts too \(first: 'other'\)"
    ):
        plan(
            *load_study(
                str(edited(study_file, calibration={"source": "calibration.jsonl", "n": 1}))
            )
        )


@pytest.mark.parametrize(
    "content",
    [
        'id,text\np1,"a red cat\np2,a blue dog\np3,a cow\n',
        'id,text\np1,"a red cat\np2,a blue dog\np3,"a cow"\n',
        'id,text\np1,"a red cat\np2,a blue dog\np3,a "\n',
        'id,text\np1,"' + "word " * 40000,
        'id,text\np1,"a cat" red\n',
        '"id,text\np1,a\n',
    ],
    ids=["open", "met by another", "swallows rows", "long", "stray", "header"],
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_quote_that_is_not_closed_is_refused_with_its_line(
    tmp_path: Path, content: str, suffix: str
) -> None:
    path = tmp_path / f"prompts{suffix}"
    path.write_text(content.replace(",", "\t") if suffix == ".tsv" else content)
    with pytest.raises(StudyError, match=r"line [12].*close every quote") as told:
        read_prompts(path)
    assert "\n" not in str(told.value)
    with pytest.raises(StudyError, match="close every quote"):
        read_column(path, "text")


def test_a_text_may_have_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text('id,text\np1,"a cat,\non a mat, asleep"\np2,"he said ""no"""\n')
    texts = [prompt.text for prompt in read_prompts(path)]
    assert texts == ["a cat,\non a mat, asleep", 'he said "no"']


@pytest.mark.parametrize("name", ["P.CSV", "p.Tsv", "p.JSONL", "p.ndjson"])
def test_suffixes_are_read_without_case(tmp_path: Path, name: str) -> None:
    content = {"v": "id{}text\np1{}a cat\n", "l": '{{"id": "p1", "text": "a cat"}}\n'}
    kind = "v" if name.lower().endswith("sv") else "l"
    cut = "\t" if name.lower().endswith("tsv") else ","
    (tmp_path / name).write_text(content[kind].format(cut, cut))
    assert [prompt.text for prompt in read_prompts(tmp_path / name)] == ["a cat"]


@pytest.mark.parametrize("name", ["p.txt", "p.json", "p.xlsx", "p"])
def test_another_suffix_is_named_with_those_allowed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("id,text\n")
    with pytest.raises(StudyError, match=r"which is unknown; allowed: \.jsonl, .*\.csv, \.tsv"):
        read_prompts(tmp_path / name)


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,text,text\np1,a,b\n")
    with pytest.raises(StudyError, match="has 2 columns 'text'"):
        read_prompts(tmp_path / "p.csv")
