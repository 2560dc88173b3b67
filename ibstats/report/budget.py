"""Path and execution of every model side by side: bits, residual, shares of the diversity; and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from ibstats.results.open_intervals import remark
from ibstats.results.rows import extent
from ibstats.variables import DISTANCES

if TYPE_CHECKING:
    from schemas.results import ResultRow, Results

SAMPLINGS = {"stochastic": "stochastic/original/full", "argmax": "argmax/original/full"}
"""The two cells looked at: the one without intervention, and the one with argmax alone."""
BITS = {"path_causal": "H_path, A", "execution_causal": "H_exec, B", "residual_upper": "residual ≤"}
SHARES = ("path", "execution", "interaction")
LOOSER = {
    "path_causal": ("path_given_candidates", "≥"),
    "execution_causal": ("execution_marginal", "≤"),
}
"""What stands in for a quantity that was not recorded, and on which side of it."""

WIDE = 1000
"""Bits from which decimals say nothing."""

Found = Mapping[tuple[str, str], "ResultRow"]
"""Rows of a model by sampling and quantity (bits), or sampling and share."""


def budget(document: Results) -> Iterator[Table | str]:
    """One table of all models, then a sentence for each; nothing if no ledger was made."""
    rows = [row for row in document.rows if row.section == "ledger"]
    models = list(dict.fromkeys(row.model for row in rows))
    if not models:
        return
    metric = next((row.quantity for row in document.rows if row.section == "sobol"), None)
    of = f", shares of {DISTANCES[metric].long_name} from crossed noise" if metric else ""
    title = f"Path and execution: bits per image{of}"
    table = Table(title=title, title_justify="left", caption=_caption(document, metric), caption_justify="left",
                  box=box.SIMPLE_HEAD, pad_edge=False)  # fmt: skip
    for name in ("model, sampling", *BITS.values(), *(SHARES if metric else ())):
        table.add_column(
            name, justify="left" if name == "model, sampling" else "right", no_wrap=True
        )
    sentences: list[str] = []
    remarks: dict[str, None] = {}
    for model in models:
        bits, shares = _bits(document, model), _shares(document, model, metric)
        for sampling in SAMPLINGS:
            cells = [_bit_cell(bits, sampling, name) for name in BITS]
            cells += (
                [_share_cell(shares.get((sampling, share))) for share in SHARES] if metric else []
            )
            name = f"{escape(model)}\n" if sampling == "stochastic" else ""
            table.add_row(f"{name}  {sampling}", *cells)
        sentences.append(
            f"{model} ({document.families.get(model, 'family unknown')}): {sentence(bits, shares)}"
        )
        remarks |= {
            f"{model}: {remark(row)}": None
            for (_, name), row in bits.items()
            if remark(row) and name in BITS
        }
    yield table
    yield from (escape(text) for text in [*sentences, *remarks])


def sentence(bits: Found, shares: Found) -> str:
    """What a model's numbers and their intervals say; clauses whose numbers are missing are left out."""
    path, part = (
        bits.get(("stochastic", "path_causal")),
        bits.get(("stochastic", "share_path_causal")),
    )
    joint = bits.get(("stochastic", "joint"))
    if (
        path is None
        or path.estimate is None
        or part is None
        or joint is None
        or joint.estimate is None
    ):
        return "its path was not recorded in a way that splits path and execution (see the note)."
    drives = [shares.get(("stochastic", name)) for name in SHARES]
    if path.estimate == 0 and path.degenerate:
        said = f"the order is fixed: the path takes 0 of {joint.estimate:.1f} bits"
        if (
            involved := shares.get(("stochastic", "path_total"))
        ) is not None and involved.estimate is not None:
            said += (
                " and 0% of the diversity"
                if _is_zero(involved)
                else f", yet {_percent(involved)} of the diversity"
            )
    else:
        said = f"the path takes {_percent(part)} of {joint.estimate:.1f} bits"
        residual = bits.get(("stochastic", "residual_upper"))
        if residual is not None and residual.estimate is not None:
            said += (
                f", and at most {residual.estimate:.1f} bits of it cannot be read off the tokens"
            )
        if all(row is not None and row.estimate is not None for row in drives):
            said += f"; {_drivers(*(row for row in drives if row is not None))}"
    return f"{said}; {_under_argmax(bits, shares)}."


def _drivers(path: ResultRow, execution: ResultRow, interaction: ResultRow) -> str:
    """Who makes the diversity; one is called the larger only if the intervals do not meet."""
    alone = (
        f"path alone makes {_percent(path)} of the diversity, execution alone {_percent(execution)}"
    )
    if _above(interaction, path) and _above(interaction, execution):
        return f"{_percent(interaction)} of the diversity is the interaction of path and execution ({alone})"
    if _above(path, execution):
        return f"{alone}: more by the path"
    return f"{alone}: {'more by execution' if _above(execution, path) else 'not told apart'}"


def _above(one: ResultRow, other: ResultRow) -> bool:
    return one.low is not None and other.high is not None and one.low > other.high


def _under_argmax(bits: Found, shares: Found) -> str:
    joint, path = bits.get(("argmax", "joint")), bits.get(("argmax", "path_causal"))
    if joint is None or path is None or joint.estimate is None or path.estimate is None:
        return "argmax was not measured"
    if _is_zero(joint):
        return "under argmax nothing is left to chance"
    said = f"under argmax {path.estimate:.1f} bits of path are left"
    drives = shares.get(("argmax", "path"))
    if drives is not None and drives.estimate is not None:
        said += f" and make {_percent(drives)} of what diversity there is"
    return said


def _is_zero(row: ResultRow) -> bool:
    return row.estimate == 0 and row.degenerate


def _percent(row: ResultRow) -> str:
    """A share with its interval."""
    if row.estimate is None:
        return "–"
    if row.degenerate or row.low is None or row.high is None:
        return f"{row.estimate:.0%}"
    return f"{row.estimate:.0%} [{row.low:.0%}, {row.high:.0%}]"


def _bits(document: Results, model: str) -> dict[tuple[str, str], ResultRow]:
    """Rows of the ledger, the tightest where there are several bounds."""
    terms = {term: sampling for sampling, term in SAMPLINGS.items()}
    found: dict[tuple[str, str], ResultRow] = {}
    for row in document.rows:
        if row.section != "ledger" or row.model != model or row.term not in terms:
            continue
        there = found.get((terms[row.term], row.quantity))
        if (
            row.attribution is None
            or there is None
            or there.estimate is None
            or _tighter(row, there)
        ):
            found[terms[row.term], row.quantity] = row
    return found


def _tighter(row: ResultRow, there: ResultRow) -> bool:
    """Whether a bound by rescored paths is the better one."""
    if (
        row.estimate is None
        or there.estimate is None
        or not row.quantity.endswith(("_upper", "_lower"))
    ):
        return False
    return (
        row.estimate < there.estimate
        if row.quantity.endswith("_upper")
        else row.estimate > there.estimate
    )


def _shares(document: Results, model: str, metric: str | None) -> dict[tuple[str, str], ResultRow]:
    terms = {term: sampling for sampling, term in SAMPLINGS.items()}
    return {
        (terms[row.term], str(row.attribution)): row
        for row in document.rows
        if row.section == "sobol"
        and (row.model, row.quantity) == (model, metric)
        and row.term in terms
    }


def _bit_cell(bits: Found, sampling: str, name: str) -> str:
    row, sign = bits.get((sampling, name)), ""
    if (row is None or row.estimate is None) and name in LOOSER:
        substitute, sign = LOOSER[name]
        row, sign = bits.get((sampling, substitute)), f"{sign} "
    return (
        "–"
        if row is None or row.estimate is None
        else f"{sign}{_two_lines(row, 1 if row.estimate < WIDE else 0)}"
    )


def _share_cell(row: ResultRow | None) -> str:
    return "–" if row is None or row.estimate is None else _two_lines(row, 2)


def _two_lines(row: ResultRow, digits: int) -> str:
    """Estimate, and its interval below it."""
    below = "degenerate" if row.degenerate else ""
    if not row.degenerate and row.low is not None and row.high is not None:
        below = f"\\[{row.low:.{digits}f},{row.high:.{digits}f}]"
    return f"{row.estimate:.{digits}f}\n{below}"


def _is_bracket(row: ResultRow) -> bool:
    """Whether a row is a bound by rescored paths, which were scored of some images only."""
    return row.section == "ledger" and row.attribution is not None


def _caption(document: Results, metric: str | None) -> str:
    """How the numbers were made, and what a dash says."""
    parts = []
    for section, what in (("ledger", "bits"), ("sobol", "shares")):
        made = [
            r
            for r in document.rows
            if r.section == section and r.interval_method and not _is_bracket(r)
        ]
        if made:
            parts.append(
                f"{what}: {made[0].level:.0%} {' or '.join(dict.fromkeys(str(r.interval_method) for r in made))} "
                f"intervals over {extent(r.n_prompts for r in made)} prompts x {made[0].n_images} images"
            )
    undefined = "; – where nothing varies" if metric else ""
    return "; ".join(parts) + undefined
