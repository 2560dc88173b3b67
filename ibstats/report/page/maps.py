"""Maps of the positions of a token grid: what a token tells at each place, as shaded squares.

A square says its number when it is pointed at; the least and the most stand below in words. Shades
are of the page's own colour, so they suit both themes and print.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import xarray as xr

from ibstats.quantities import quantity

SHOWN = ("collision_conditional", "collision_information")
"""Quantities with a map: these need no code to have been seen often."""

GROUP = "positions"
"""Group of an analysis that holds numbers by `(condition, row, col)`."""

FAINTEST = 0.06
"""Opacity of the least; the most is opaque."""


def position_maps(tree: xr.DataTree | None, models: Sequence[str], condition: str | None) -> str:
    """Maps of every model in a condition as HTML, a line of them a quantity.

    All maps of a quantity share one scale, in bits. Empty without a condition, a tree, or numbers
    by position.
    """
    made = []
    for name in SHOWN:
        found = {}
        for model in models:
            values = _values(tree, model, name, condition)
            if values is not None:
                found[model] = values
        if found:
            made.append(_line(name, found))
    return "\n".join(made)


def _values(
    tree: xr.DataTree | None, model: str, name: str, condition: str | None
) -> np.ndarray | None:
    """A quantity by `(row, col)`, NaN where it is undefined; None where nothing of it is known."""
    if tree is None or model not in tree.children or GROUP not in tree.children[model].children:
        return None
    group = tree.children[model].children[GROUP].to_dataset()
    if name not in group or condition not in group["condition"].values:
        return None
    values = group[name].sel(condition=condition).transpose("row", "col").values
    return values if np.isfinite(values).any() else None


def _line(name: str, found: dict[str, np.ndarray]) -> str:
    least = min(float(np.nanmin(values)) for values in found.values())
    most = max(float(np.nanmax(values)) for values in found.values())
    maps = [_map(model, values, least, most) for model, values in found.items()]
    record = quantity(name)
    said = f"{record.long}: {least:.2f} (faintest) to {most:.2f} {record.unit}"
    return f'<p class="quiet">{escape(said)}</p>\n<div class="maps">{"".join(maps)}</div>'


def _map(model: str, values: np.ndarray, least: float, most: float) -> str:
    rows, columns = values.shape
    squares = []
    for (row, column), value in np.ndenumerate(values):
        if not np.isfinite(value):
            continue
        share = (value - least) / (most - least) if most > least else 1.0
        squares.append(
            f'<rect x="{column}" y="{row}" width="1" height="1" '
            f'fill-opacity="{FAINTEST + (1 - FAINTEST) * share:.2f}">'
            f"<title>row {row + 1}, column {column + 1}: {value:.2f} bit</title></rect>"
        )
    label = escape(f"{model}, {rows} by {columns} positions")
    return (
        f'<figure><svg viewBox="0 0 {columns} {rows}" role="img" aria-label="{label}">'
        f"{''.join(squares)}</svg><figcaption>{escape(model)}</figcaption></figure>"
    )
