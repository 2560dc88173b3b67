"""Renderers: what each does with every kind of cell, and that none lets names act as commands."""

from __future__ import annotations

import csv as reading
import io
import re

from rich.console import Console

from ibstats.report.render import csv, html, latex, terminal
from ibstats.report.table import (
    Cell,
    Column,
    Count,
    Heading,
    Interval,
    Missing,
    Number,
    P,
    Paragraph,
    Part,
    Table,
    Text,
    split,
    stacked,
)

COLUMNS = (
    Column("model"),
    Column("a & b", Interval),
    Column("n", Count),
    Column("p", P),
    Column("t", Number),
)


def table(*cells: Cell, **more: object) -> Table:
    row = (Text("[red]x_1 <b>"), *cells)
    return Table("name", "Title of 50 %", COLUMNS, (row,), **more)  # type: ignore[arg-type]


FULL = table(Interval(0.5, 0.25, None, p=0.004), Count(3), P(1e-9), Number(2.0, 2))
BARE = table(Missing("not <measured>"), Count(None), P(None), Number(None))
MARKED = table(Interval(-0.5, degenerate=True, sign="≤", word="edge"), *FULL.rows[0][2:])


def printed(*parts: Part, width: int = 114) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    terminal.show(parts, console)
    return console.export_text()


def test_the_terminal_shows_numbers_marks_and_names_as_they_are() -> None:
    said = printed(FULL)
    assert re.search(r"\[red\]x_1 <b> +0.5000 \[0.2500, –\] \*\* +3 +<.0001 +2.00", said)
    assert re.search(r"\[red\]x_1 <b> +– +– +– +–", printed(BARE))
    assert "≤ -0.5000 degenerate edge" in printed(MARKED)


def test_the_terminal_says_once_how_neighbours_were_made() -> None:
    one = table(*FULL.rows[0][1:], caption="made so", notes=("a note",))
    said = printed(one, one, Heading("[b]next[/]"), Paragraph("made so"), one)
    assert said.count("made so") == 2
    assert said.count("a note") == 2
    assert "[b]next[/] ─" in said


def test_a_wide_table_is_folded_before_it_is_split() -> None:
    columns = [Column(f"c{number}", Interval) for number in range(5)]
    cells = (Interval(0.5, 0.25, 0.75),) * 5
    wide = stacked("w", "W", ["a", "b"], [[(Text("one"), Text("two"), *cells)]], columns)
    folded = printed(wide)
    assert "[0.2500, 0.7500]" in folded
    assert "0.5000 [0.2500" not in folded
    assert "continued" not in folded
    narrow = printed(wide, width=60)
    assert "W, continued" in narrow
    assert max(map(len, narrow.splitlines())) <= 60


def test_a_table_is_split_at_its_rules_and_every_part_names_its_lines() -> None:
    columns = [Column("n", Count)]
    blocks = []
    for block in range(4):
        lines = [(Text(f"{block}"), Text(str(line)), Count(line)) for line in range(3)]
        blocks.append(lines)
    tall = stacked("t", "T", ["block", "line"], blocks, columns)
    parts = split(tall, lambda part: True, 7)
    assert [len(part.rows) for part in parts] == [6, 6]
    assert [part.groups for part in parts] == [(3,), (3,)]
    assert parts[1].title == "T, continued"
    assert parts[1].label == "t-2"
    assert sum((part.rows for part in parts), ()) == tall.rows
    assert [len(part.rows) for part in split(tall, lambda part: True, 2)] == [2, 1] * 4


def test_latex_puts_intervals_in_brackets_and_escapes_names() -> None:
    said = latex.render(FULL)
    assert "% needs \\usepackage{booktabs}\n" in said
    name = r"{[}red{]}x\_1 \textless{}b\textgreater{}"
    assert rf"{name} & $0.500$ $[0.250, \mbox{{--}}]$\makebox[13pt][l]{{**}} & $3$" in said
    assert r"& $<$.001 & $2.00$ \\" in said
    assert r"a \& b & n" in said
    assert r"\caption{Title of 50 \%.}" in said
    assert r"\label{tab:name}" in said
    assert r"& -- & -- & -- & -- \\" in latex.render(BARE)


def test_latex_puts_bounds_and_words_beside_a_number() -> None:
    said = latex.render(MARKED)
    assert r"$\le$ $-0.500$ (degenerate) edge & $3$" in said
    weak = table(Interval(0.5, 0.2, 0.7, weak=True), *FULL.rows[0][2:])
    assert r"\textcolor{gray}{$0.50$ $[0.20, 0.70]$ $\dagger$}" in latex.render(weak)
    assert "xcolor" in latex.render(weak)


def test_every_renderer_marks_a_number_that_cannot_be_leaned_on() -> None:
    weak = table(Interval(0.5, 0.2, 0.7, weak=True), *FULL.rows[0][2:])
    assert "0.5000 [0.2000, 0.7000] †" in printed(weak)
    assert 'class="number weak"' in html.render(weak)
    assert "†" in html.render(weak)
    lines = list(reading.reader(io.StringIO(csv.render(weak))))
    assert lines[1][lines[0].index(next(h for h in lines[0] if h.endswith("weak")))] == "True"
    for render in (printed, html.render, latex.render):
        assert "dagger" not in render(FULL)
        assert "†" not in render(FULL)


def test_html_escapes_and_says_what_a_cell_is() -> None:
    said = html.render(FULL)
    assert "[red]x_1 &lt;b&gt;" in said
    assert '0.5000 <span class="interval">[0.2500, –]</span> <span class="marks">**</span>' in said
    assert "&lt;.0001" in said
    bare = html.render(BARE)
    assert '<td class="number missing" title="not &lt;measured&gt;">–</td>' in bare
    words = Table("name", "Title", (Column("model"), Column("path")), ((Text("m"), Missing()),))
    assert '<td class="missing">–</td>' in html.render(words)
    assert 'class="number degenerate"' in html.render(MARKED)
    assert said.count("<tr>") == 2


def test_csv_has_numbers_in_full_and_as_many_fields_everywhere() -> None:
    for one in (FULL, BARE, MARKED):
        lines = list(reading.reader(io.StringIO(csv.render(one))))
        assert len({len(line) for line in lines}) == 1
    precise = table(Interval(1 / 3, 0.1, 0.5), *FULL.rows[0][2:])
    assert str(1 / 3) in csv.render(precise)
