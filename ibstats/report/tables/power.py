"""The table of a power calculation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ibstats.report.table import Column, Number, Table, Text

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

NOTE = (
    "the equivalence of a probe (the strategy) needs more: a change of one condition varies more "
    "than a mean over conditions"
)
"""What a power is of, as its table states it."""


def power(
    table: xr.Dataset, needed: NDArray[np.float64], title: str, target: float, name: str = "power"
) -> Table:
    """Power by prompts, one line per number of images, and in the end the prompts needed.

    `table` is that of `ibstats.statistics.power.table`, `needed (n_images)` the fewest prompts that
    reach `target`, NaN where more are needed than were tried.
    """
    goal = f"{table.attrs['goal']} {table.attrs['size']:g} of {table.attrs['effect']}"
    columns = [Column("images")]
    for n in table["n_prompts"].values:
        columns.append(Column(str(n), Number))
    columns.append(Column(f"for {target:g}", Number))
    rows = []
    for number, n_images in enumerate(table["n_images"].values):
        cells = [Number(float(value), 2) for value in table["power"].values[number]]
        enough: Text | Number = Text("more")
        if np.isfinite(needed[number]):
            enough = Number(float(needed[number]), 0)
        rows.append((Text(str(n_images)), *cells, enough))
    attrs = table.attrs
    said = (
        f"rows: images a prompt; columns: prompts, last the fewest of them for {target:g}; "
        f"{attrs['assurance']:.0%} of pilots of {attrs['pilot_prompts']} prompts promise no more "
        f"than the truth; {NOTE}"
    )
    if attrs["goal"] == "difference":
        said += f"; Holm-adjusted over {attrs['n_tests']} effects"
    made = f"{title}: power for {goal}, alpha {table.attrs['alpha']:g}"
    return Table(name, made, tuple(columns), tuple(rows), notes=(said,))
