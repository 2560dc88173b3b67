"""LaTeX tables: what stands in them, and that a real TeX sets them inside every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ibstats.report import tables
from ibstats.report.render import latex
from ibstats.report.render.letters import points
from ibstats.report.table import Column, Count, Interval, P, Table, Text, stacked
from ibstats.results.lookup import Numbers
from schemas.results import Results
from tests.ibstats import documents
from tests.tex import complaints

NAME = "a_model/with-a-name-of-many-letters:that#no&column%holds_" + "x" * 60


def wide_and_tall() -> Table:
    """Many columns and lines, long names, long notes: nothing of it fits a page."""
    columns = [Column(f"quantity {number}", Interval) for number in range(12)]
    columns.append(Column("p Holm", P))
    cells = (*[Interval(-0.51234, -0.62, 0.7, p=0.0004)] * 12, P(0.0312))
    block = [(Text(NAME), Text(f"condition {number}"), *cells) for number in range(30)]
    made = stacked("wide", f"All of {NAME}", ["model", "condition"], [block, block], columns)
    note = "what must be known to read it " * 40
    return Table(**{**vars(made), "notes": (note, NAME), "caption": "95% intervals"})


def heterogeneous() -> Results:
    """A factorial of which each model has what the other lacks."""
    made = documents.factorial()
    kept = []
    for one in made.rows:
        first = one.model == documents.MODELS[0]
        of_first = one.quantity not in ("fid", documents.DISTANCES[1])
        of_second = one.section not in ("ledger", "effect") and "subset" not in one.term
        if of_first if first else of_second:
            kept.append(one)
    return made.model_copy(update={"rows": kept})


def undefined() -> Results:
    """Nothing but dashes, bounds that are missing, and notes."""
    made = documents.factorial()
    rows = []
    for number, one in enumerate(made.rows):
        lacks = [{"estimate": None, "low": None, "high": None}, {"high": None}, {"low": None}]
        rows.append(one.model_copy(update=lacks[number % 3]))
    return made.model_copy(update={"rows": rows})


DOCUMENTS = {
    "factorial": documents.factorial(),
    "ablation": documents.ablation(),
    "heterogeneous": heterogeneous(),
    "undefined": undefined(),
}


def every_table() -> list[Table]:
    made = [wide_and_tall()]
    for document in DOCUMENTS.values():
        made += tables.paper_tables(Numbers(document))
    return made


def environments(text: str) -> list[str]:
    return re.findall(r"\\begin\{table\*?\}.*?\\end\{table\*?\}", text, re.DOTALL)


def lines_of(environment: str) -> list[str]:
    """Lines of cells, the head among them."""
    body = environment.split(r"\toprule")[1].split(r"\bottomrule")[0]
    return [line for line in body.splitlines() if line.endswith(r"\\")]


def test_every_line_has_as_many_fields_as_there_are_columns() -> None:
    n = 0
    for table in every_table():
        for environment in environments(latex.render(table)):
            found = re.search(r"\\begin\{tabular\}\{([lr]+)\}", environment)
            assert found is not None
            for line in lines_of(environment):
                assert len(re.split(r"(?<!\\)&", line)) == len(found[1])
                n += 1
    assert n > 500


def test_every_character_is_one_that_any_tex_reads_and_braces_match() -> None:
    for table in every_table():
        said = latex.render(table)
        assert said.isascii(), table.name
        bare = re.sub(r"\\[{}]", "", said)
        assert bare.count("{") == bare.count("}")
        assert not re.findall(r"(?<!\\)[_#^]", re.sub(r"\$[^$]*\$|\\label\{.*?\}", "", said))


def test_no_part_has_more_lines_than_a_page_and_all_lines_are_there() -> None:
    table = wide_and_tall()
    parts = environments(latex.render(table))
    n_lines = [len(lines_of(part)) - 1 for part in parts]
    assert max(n_lines) * latex.LINE < latex.HEIGHT
    assert sum(n_lines) % len(table.rows) == 0
    assert sum(part.count(r"\caption{") for part in parts) == len(parts)
    assert len(set(re.findall(r"\\label\{(.*?)\}", "".join(parts)))) == len(parts)


def test_what_fits_a_column_stands_in_one_and_what_does_not_goes_over_both() -> None:
    columns = [Column("n", Count)]
    small = stacked("s", "S", ["line"], [[(Text("one"), Count(3))]], columns)
    assert r"\begin{table}" in latex.render(small)
    broad = stacked("b", "B", ["line"], [[(Text("one"), *[Count(3)] * 30)]], columns * 30)
    assert r"\begin{table*}" in latex.render(broad)
    assert r"\begin{table}" not in latex.render(broad)


def column(*cells: Interval) -> str:
    table = stacked("t", "T", ["line"], [[(Text("x"), one)] for one in cells], [Column("c")])
    return latex.render(table)


def test_decimals_are_those_of_the_narrowest_interval() -> None:
    said = column(Interval(0.51234, 0.4, 0.7), Interval(0.25678, 0.22, 0.29))
    assert "$0.512$ $[0.400, 0.700]$" in said
    assert "$0.257$ $[0.220, 0.290]$" in said
    assert "$123.5$ $[90.0, 160.0]$" in column(Interval(123.456, 90, 160))
    assert "$0.00$ (degenerate)" in column(Interval(0, 0, 0, 2, degenerate=True))


def test_an_interval_keeps_its_width_however_narrow_it_is() -> None:
    said = column(Interval(0.51234, 0.5122, 0.5125), Interval(0.5, 0.1, 0.9))
    assert "[0.5122, 0.5125]" in said


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.0004, "$<$.001"),
        (0.0012, ".0012"),
        (0.0312, ".031"),
        (0.5, ".50"),
        (1.0, "$>$.99"),
        (None, "--"),
    ],
)
def test_a_p_value_is_never_0_or_1(p: float | None, said: str) -> None:
    table = stacked("t", "T", ["line"], [[(Text("x"), P(p))]], [Column("p", P)])
    assert rf"x & {said} \\" in latex.render(table)


def test_a_name_stands_once_in_a_block_and_again_in_every_part() -> None:
    block = [(Text("model"), Text(str(number)), Count(number)) for number in range(100)]
    columns = [Column("n", Count)]
    said = latex.render(stacked("t", "T", ["model", "line"], [block], columns))
    parts = environments(said)
    assert len(parts) == 2
    for part in parts:
        assert sum(line.startswith("model & ") for line in lines_of(part)[1:]) == 1


def test_letters_are_as_wide_as_those_of_computer_modern() -> None:
    """As `tftopl cmr8.tfm` lists them; never narrower, so that no line is wider than was thought."""
    real = {"a": 4.25, "b": 4.72, "i": 2.36, "M": 7.78, "0": 4.25, "t": 3.31, "W": 8.73, "-": 2.83}
    for letter, width in real.items():
        assert width <= points(letter) <= 1.2 * width, letter


@pytest.mark.parametrize("two_columns", [False, True], ids=["one column", "two columns"])
@pytest.mark.parametrize("kind", [*DOCUMENTS, "wide"])
def test_tex_sets_every_table_inside_the_page(
    tex: str, kind: str, two_columns: bool, tmp_path: Path
) -> None:
    made = [wide_and_tall()]
    if kind in DOCUMENTS:
        made = tables.paper_tables(Numbers(DOCUMENTS[kind]))
    files = []
    for table in made:
        files.append(tmp_path / f"{table.name}.tex")
        files[-1].write_text(latex.render(table))
    assert len(files) > 5 or kind == "wide"
    assert complaints(tex, files, tmp_path / "made", two_columns=two_columns) == []


def test_a_table_that_is_too_wide_or_too_tall_is_complained_of(
    tex: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = stacked("t", "T", ["line"], [[(Text("word " * 30), Count(1))] * 80], [Column("n")])
    files = [tmp_path / "wide.tex", tmp_path / "tall.tex"]
    for file, name in zip(files, ("LONGEST", "HEIGHT"), strict=True):
        with monkeypatch.context() as patched:
            patched.setattr(latex, name, 4000.0)
            file.write_text(latex.render(table))
    found = "\n".join(complaints(tex, files, tmp_path / "made", two_columns=False))
    assert "wide: Overfull" in found
    assert "tall: LaTeX Warning: Float too large" in found
