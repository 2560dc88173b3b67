"""Results as a tidy frame of pandas: one row a number, one column a factor."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from schemas.results import ResultRow, Results

COLUMNS = (
    "model",
    "experiment",
    "section",
    "condition",
    "against",
    "term",
    "quantity",
    "estimate",
    "low",
    "high",
    "p",
    "n",
    "unit",
    "method",
    "verdict",
    "note",
)
"""Columns of every frame; those of the factors follow."""


def frame(document: Results, sections: Collection[str] = ()) -> pd.DataFrame:
    """Give the rows of a document, of some sections or of all, as a frame.

    Columns: `COLUMNS`, then one a factor with the level of the row's condition. `p` is that of a
    test, adjusted by Holm's method for its family where it has one; `n` are prompts; `method` is
    how the interval was made; `condition`, `against`, `verdict` and `note` are empty where a row
    has none, and numbers that are undefined are NaN. Everything else a row states is in
    `document.rows`.

    >>> from schemas.results import ResultRow, Results
    >>> made = dict(run_id="r", snapshot="s", analysis_sha256="d", ibstats_version="0", settings={})
    >>> row = dict(section="diversity", model="m", experiment="e", condition="a", term="a")
    >>> row |= dict(quantity="ssim_dissimilarity", units="1", estimate=0.5, n_prompts=6, n_images=4)
    >>> frame(Results(**made, rows=[ResultRow(**row)]))[["condition", "estimate", "n"]].values
    array([['a', 0.5, 6]], dtype=object)
    """
    import pandas as pd

    factors = _factors(document)
    lines = []
    for row in document.rows:
        if not sections or row.section in sections:
            lines.append(_line(document, row, factors))
    made = pd.DataFrame(lines, columns=[*COLUMNS, *factors])
    for name in ("estimate", "low", "high", "p"):
        made[name] = made[name].astype("float64")
    return made


def _factors(document: Results) -> list[str]:
    """Names of the factors of all designs, in order; none that a column of ours has."""
    found: dict[str, None] = {}
    for design in document.designs.values():
        for factor in design.factors:
            if factor.name not in COLUMNS:
                found[factor.name] = None
    return list(found)


def _line(document: Results, row: ResultRow, factors: Collection[str]) -> dict[str, Any]:
    p = row.p
    if row.p_holm is not None:
        p = row.p_holm
    line: dict[str, Any] = {
        "model": row.model,
        "experiment": row.experiment,
        "section": row.section,
        "condition": row.condition or "",
        "against": row.against or "",
        "term": row.term,
        "quantity": row.quantity,
        "estimate": row.estimate,
        "low": row.low,
        "high": row.high,
        "p": p,
        "n": row.n_prompts,
        "unit": row.units,
        "method": row.interval_method or "",
        "verdict": row.verdict or "",
        "note": row.note or "",
    }
    levels: dict[str, str] = {}
    if row.experiment in document.designs:
        for condition in document.designs[row.experiment].conditions:
            if condition.name == row.condition:
                levels = condition.levels
    for factor in factors:
        line[factor] = levels.get(factor, "")
    return line
