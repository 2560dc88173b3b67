"""Files of a comparison of runs: every difference as CSV and JSON, and the forest figure."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ibstats.errors import MissingPackages
from ibstats.extras import need
from ibstats.report.figures.runs import draw_compared
from ibstats.results.runs import Difference
from schemas.io.files import write_whole

if TYPE_CHECKING:
    from ibstats.results.runs import Compared

STEM = "compare"
"""What the files are called, before their endings."""


def write(found: Compared, folder: Path) -> dict[str, str]:
    """Write a comparison into a folder; gives the place of each kind of file.

    Those are `differences` (CSV, a row each), `results` (JSON, with runs, notes and resampling) and
    `figure`, or why it lacks.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [one.name for one in fields(Difference)])
    writer.writeheader()
    writer.writerows(map(asdict, found.differences))
    table, document = folder / f"{STEM}.csv", folder / f"{STEM}.json"
    write_whole(table, text.getvalue())
    write_whole(document, json.dumps(asdict(found), indent=1))
    places = {"differences": str(table), "results": str(document)}
    try:
        need("drawing", "matplotlib")
        made = draw_compared(found, folder / STEM)
        places["figure"] = ", ".join(map(str, made))
    except MissingPackages as error:
        places["figure"] = str(error)
    return places
