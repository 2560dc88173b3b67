"""LaTeX tables: booktabs rules, siunitx-aligned numbers, significance marks explained in the caption."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ibstats.decomposition import LEDGER
from ibstats.report.tables import stars
from ibstats.variables import CELLS, DISTANCES, INFORMATION

if TYPE_CHECKING:
    from schemas.results import ResultRow, Results

NUMBER = "S[table-format=-1.4]"
MARKED = "S[table-format=-1.4, table-space-text-post={***}]"

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


def write_latex(document: Results, folder: Path) -> list[Path]:
    """One file per table, to be used with `\\input`; the preamble needs booktabs and siunitx."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {"diversity": _diversity(document), "effects": _effects(document), "entropy": _entropy(document)}
    made["ledger"] = _ledger(document)
    files = []
    for name, text in made.items():
        if text:
            file = folder / f"{name}.tex"
            file.write_text(text, encoding="utf-8")
            files.append(file)
    return files


def table(columns: Sequence[tuple[str, str]], body: Iterable[Sequence[str]], caption: str, label: str) -> str:
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


def _number(value: float | None) -> str:
    return "{--}" if value is None else f"{value:.4f}"


def _how(rows: Sequence[ResultRow], document: Results) -> str:
    one = next((row for row in rows if row.interval_method), rows[0])
    level = f"{one.level:.0%}".replace("%", r"\%") if one.level else ""
    return (
        f"{level} intervals: {one.interval_method} bootstrap over {one.n_prompts} prompts with {one.n_images} images "
        f"each, {one.n_resamples} resamples, seed {one.seed}. Data snapshot \\texttt{{{document.snapshot[:12]}}}."
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
                    (escape(model), escape(name), *map(escape, cell), *map(_number, (row.estimate, row.low, row.high)))
                )
            body.append(())
    columns = [("Model", "l"), ("Distance", "l"), ("Sampling", "l"), ("Prompt", "l"), ("Codebook", "l")]
    columns += [("Diversity", NUMBER), ("Low", NUMBER), ("High", NUMBER)]
    caption = f"Diversity: mean pairwise distance of a prompt's images. {_how(rows, document)}"
    return table(columns, body[:-1], caption, "tab:diversity")


def _effects(document: Results) -> str:
    rows = [row for row in document.rows if row.section == "effect"]
    if not rows:
        return ""
    body: list[Sequence[str]] = []
    for model in _models(rows):
        for row in (row for row in rows if row.model == model):
            marks = f" {{{stars(row.p_holm)}}}" if stars(row.p_holm) else ""
            body.append(
                (
                    escape(model),
                    escape(DISTANCES[row.quantity].long_name),
                    " $\\times$ ".join(escape(factor) for factor in row.term.split(":")),
                    _number(row.estimate) + marks,
                    *map(_number, (row.low, row.high, row.p_holm, row.partial_eta_squared, row.d_z)),
                )
            )
        body.append(())
    columns = [
        ("Model", "l"),
        ("Distance", "l"),
        ("Effect", "l"),
        ("Estimate", MARKED),
        ("Low", NUMBER),
        ("High", NUMBER),
    ]
    columns += [("$p$ (Holm)", NUMBER), (r"$\eta_p^2$", NUMBER), ("$d_z$", "S[table-format=-2.4]")]
    caption = (
        "Effects on diversity, high minus low level. Marks: *** $p<.001$, ** $p<.01$, * $p<.05$, two-sided $t$ tests "
        f"over prompts, Holm-adjusted within each distance. {_how(rows, document)}"
    )
    return table(columns, body[:-1], caption, "tab:effects")


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
            numbers = [_number(value) for row in found for value in (row.estimate, row.low, row.high)]
            body.append((escape(model), *map(escape, cell), *numbers))
        body.append(())
    columns = [("Model", "l"), ("Sampling", "l"), ("Prompt", "l"), ("Codebook", "l")]
    for symbol in ("H(Z)", "H(Z|X)", "I(X;Z)"):
        columns += [(f"${symbol}$", NUMBER), ("Low", NUMBER), ("High", NUMBER)]
    caption = (
        f"Codebook entropy per token in bits, estimator {escape(rows[0].estimator or '')} "
        f"({', '.join(INFORMATION[name].long_name.replace('|', '$|$') for name in names)}). {_how(rows, document)}"
    )
    return table(columns, body[:-1], caption, "tab:entropy")


def _ledger(document: Results) -> str:
    rows = [row for row in document.rows if row.section == "ledger" and row.quantity in LEDGER]
    if not rows:
        return ""
    body: list[Sequence[str]] = []
    for model in _models(rows):
        for row in (row for row in rows if row.model == model):
            name = escape(LEDGER[row.quantity].long_name).replace("|", "$|$")
            levels = map(escape, row.term.split("/"))
            body.append((escape(model), *levels, name, *map(_number, (row.estimate, row.low, row.high))))
        body.append(())
    columns = [("Model", "l"), ("Sampling", "l"), ("Prompt", "l"), ("Codebook", "l"), ("Entropy", "l")]
    columns += [("Bits per image", NUMBER), ("Low", NUMBER), ("High", NUMBER)]
    caption = f"Entropy ledger: bits of path and execution per image. {_how(rows, document)}"
    return table(columns, body[:-1], caption, "tab:ledger")
