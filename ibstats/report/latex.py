"""LaTeX tables: booktabs rules, siunitx-aligned numbers, significance marks explained in the caption."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ibstats import quantities
from ibstats.report.old_tables import stars
from ibstats.results.open_intervals import REASON, open_intervals
from ibstats.results.rows import extent
from ibstats.statistics import ablations
from ibstats.statistics.information import POOLED_NOTE
from ibstats.variables import CELLS, DISTANCES, INFORMATION

if TYPE_CHECKING:
    from schemas.results import ResultRow, Results

NUMBER = "S[table-format=-1.4]"
SHORT = "S[table-format=2.2]"
"""Bits and shares, of which two decimals say enough where columns are many."""
MARKED = "S[table-format=-1.4, table-space-text-post={***}]"
MARKS = (
    "Marks: *** $p<.001$, ** $p<.01$, * $p<.05$, two-sided $t$ tests over prompts; intervals are unadjusted, $p$ is "
    "Holm-adjusted"
)

Column = tuple[str, str]
"""Header and column type."""
Line = Callable[["ResultRow"], Sequence[str]]

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def escape(text: str) -> str:
    """Text with every character that LaTeX would read as a command made literal."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def tables(document: Results) -> dict[str, str]:
    """The tables of a factorial by name, to be used with `\\input`; the preamble needs booktabs and siunitx."""
    made = {
        "diversity": _diversity(document),
        "effects": _effects(document),
        "entropy": _entropy(document),
    }
    return made | {"ledger": _ledger(document)}


def table(
    columns: Sequence[tuple[str, str]], body: Iterable[Sequence[str]], caption: str, label: str
) -> str:
    """A table environment; columns are (header, column type), an empty body row draws a rule."""
    specification = " ".join(kind for _, kind in columns)
    header = " & ".join("{" + name + "}" for name, _ in columns)
    lines = [r"\midrule" if not row else " & ".join(row) + r" \\" for row in body]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs,siunitx}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{{specification}}}",
            r"\toprule",
            header + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def number(value: float | None, digits: int = 4) -> str:
    """A cell of a number column, a dash where undefined."""
    return "{--}" if value is None else f"{value:.{digits}f}"


def p_number(p: float | None) -> str:
    """A cell of a p value, never printed as zero."""
    return "{$<$.0001}" if p is not None and p < 1e-4 else number(p)


def marked(value: float | None, p: float | None) -> str:
    """A number with the marks of its p value."""
    return number(value) + (f" {{{stars(p)}}}" if value is not None and stars(p) else "")


def aligned(values: Iterable[float | None], *, marks: bool = False) -> str:
    """The type of a column with room for the largest of these numbers."""
    digits = max((len(f"{abs(value):.0f}") for value in values if value is not None), default=1)
    return (MARKED if marks else NUMBER).replace("-1.4", f"-{digits}.4")


def by_model(rows: Iterable[ResultRow], line: Line) -> list[Sequence[str]]:
    """A body: a line for each row, named by its model, with a rule between models that have several."""
    found, body = list(rows), list[Sequence[str]]()
    models = _models(found)
    for model in models:
        body += [(escape(model), *line(row)) for row in found if row.model == model]
        body += [()] if len(found) > len(models) and model != models[-1] else []
    return body


def levels(row: ResultRow) -> list[str]:
    """The condition of a row: a cell's three levels, or the name of an arm."""
    cell = tuple(row.term.split("/"))
    return [escape(name) for name in (cell if cell in CELLS else [ablations.label(row.term)])]


def level_columns(row: ResultRow) -> list[Column]:
    """Columns for `levels`."""
    heads = ("Sampling", "Prompt", "Codebook") if len(levels(row)) == 3 else ("Arm",)
    return [(head, "l") for head in heads]


def changes(rows: Sequence[ResultRow], document: Results, head: str, caption: str, key: str) -> str:
    """Tested differences, a line each; nothing without any."""
    if not rows:
        return ""

    def line(row: ResultRow) -> Sequence[str]:
        name = " $\\times$ ".join(escape(part) for part in row.term.split(":"))
        return (
            name,
            marked(row.estimate, row.p_holm),
            number(row.low),
            number(row.high),
            p_number(row.p_holm),
            number(row.d_z),
        )

    columns = [
        ("Model", "l"),
        (head, "l"),
        ("Estimate", aligned((row.estimate for row in rows), marks=True)),
    ]
    columns += [
        ("Low", aligned(row.low for row in rows)),
        ("High", aligned(row.high for row in rows)),
    ]
    columns += [("$p$ (Holm)", NUMBER), ("$d_z$", aligned(row.d_z for row in rows))]
    return table(
        columns,
        by_model(rows, line),
        f"{caption} {MARKS} over {extent(row.n_tests for row in rows)} tests. {how(rows, document)}",
        key,
    )


def how(rows: Sequence[ResultRow], document: Results) -> str:
    """How the intervals of a table were made, for its caption."""
    made = [row for row in rows if row.interval_method] or list(rows[:1])
    one = made[0]
    level = f"{one.level:.0%}".replace("%", r"\%") if one.level else ""
    methods = " or ".join(dict.fromkeys(str(row.interval_method) for row in made))
    units = f"{extent(row.n_prompts for row in made)} prompts"
    if one.n_units:
        units = f"{extent(row.n_units for row in made)} blocks of {units}"
    dashes = f"; {REASON} (--)" if open_intervals(rows) else ""
    return (
        f"{level} intervals: {methods} bootstrap over {units} with {one.n_images} images "
        f"each, {one.n_resamples} resamples, seed {one.seed}"
        f"{dashes}. Data snapshot \\texttt{{{document.snapshot[:12]}}}."
    )


def _models(rows: Iterable[ResultRow]) -> list[str]:
    return list(dict.fromkeys(row.model for row in rows))


def _diversity(document: Results) -> str:
    rows = [row for row in document.rows if row.section == "diversity"]
    if not rows:
        return ""
    body: list[Sequence[str]] = []
    for model in _models(rows):
        for quantity in dict.fromkeys(row.quantity for row in rows):
            mine = {row.term: row for row in rows if (row.model, row.quantity) == (model, quantity)}
            for cell in CELLS:
                row = mine["/".join(cell)]
                name = DISTANCES[quantity].long_name
                body.append(
                    (
                        escape(model),
                        escape(name),
                        *map(escape, cell),
                        *map(number, (row.estimate, row.low, row.high)),
                    )
                )
            body.append(())
    columns = [
        ("Model", "l"),
        ("Distance", "l"),
        ("Sampling", "l"),
        ("Prompt", "l"),
        ("Codebook", "l"),
    ]
    columns += [("Diversity", NUMBER), ("Low", NUMBER), ("High", NUMBER)]
    caption = f"Diversity: mean pairwise distance of a prompt's images. {how(rows, document)}"
    return table(columns, body[:-1], caption, "tab:diversity")


def _effects(document: Results) -> str:
    rows = [row for row in document.rows if row.section == "effect"]
    if not rows:
        return ""

    def line(row: ResultRow) -> Sequence[str]:
        return (
            escape(DISTANCES[row.quantity].long_name),
            " $\\times$ ".join(escape(factor) for factor in row.term.split(":")),
            marked(row.estimate, row.p_holm),
            *map(number, (row.low, row.high)),
            p_number(row.p_holm),
            *map(number, (row.partial_eta_squared, row.d_z)),
        )

    columns = [
        ("Model", "l"),
        ("Distance", "l"),
        ("Effect", "l"),
        ("Estimate", MARKED),
        ("Low", NUMBER),
    ]
    columns += [
        ("High", NUMBER),
        ("$p$ (Holm)", NUMBER),
        (r"$\eta_p^2$", NUMBER),
        ("$d_z$", "S[table-format=-2.4]"),
    ]
    caption = f"Effects on diversity, high minus low level. {MARKS} within each distance. {how(rows, document)}"
    return table(columns, by_model(rows, line), caption, "tab:effects")


def _entropy(document: Results) -> str:
    names = ("codebook_entropy", "conditional_entropy", "mutual_information")
    rows = [row for row in document.rows if row.section == "information" and row.quantity in names]
    if not rows:
        return ""
    body: list[Sequence[str]] = []
    for model in _models(rows):
        mine = {(row.quantity, row.term): row for row in rows if row.model == model}
        for cell in CELLS:
            found = [mine[name, "/".join(cell)] for name in names]
            numbers = [
                number(value) for row in found for value in (row.estimate, row.low, row.high)
            ]
            body.append((escape(model), *map(escape, cell), *numbers))
        body.append(())
    columns = [("Model", "l"), ("Sampling", "l"), ("Prompt", "l"), ("Codebook", "l")]
    for symbol in ("H(Z)", "H(Z|X)", "I(X;Z)"):
        columns += [(f"${symbol}$", NUMBER), ("Low", NUMBER), ("High", NUMBER)]
    caption = (
        f"Codebook entropy per token in bits, estimator {escape(rows[0].estimator or '')} "
        f"({', '.join(INFORMATION[name].long_name.replace('|', '$|$') for name in names)}); {POOLED_NOTE}. "
        f"{how(rows, document)}"
    )
    return table(columns, body[:-1], caption, "tab:entropy")


def _ledger(document: Results) -> str:
    known = [record.name for record in quantities.of_family("bits")]
    rows = [row for row in document.rows if row.section == "ledger" and row.quantity in known]
    if not rows:
        return ""
    body: list[Sequence[str]] = []
    for model in _models(rows):
        for row in (row for row in rows if row.model == model):
            name = escape(quantities.quantity(row.quantity).long).replace("|", "$|$")
            levels = map(escape, row.term.split("/"))
            body.append(
                (escape(model), *levels, name, *map(number, (row.estimate, row.low, row.high)))
            )
        body.append(())
    columns = [
        ("Model", "l"),
        ("Sampling", "l"),
        ("Prompt", "l"),
        ("Codebook", "l"),
        ("Entropy", "l"),
    ]
    columns += [("Bits per image", NUMBER), ("Low", NUMBER), ("High", NUMBER)]
    caption = f"Entropy ledger: bits of path and execution per image. {how(rows, document)}"
    return table(columns, body[:-1], caption, "tab:ledger")
