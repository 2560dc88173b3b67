"""Rows of results as tidy CSV: one file a section, one number a line."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from schemas.io.files import write_whole
from schemas.results import Results


def write_csv(document: Results, folder: Path) -> list[Path]:
    """Write one tidy CSV per section; gives the files.

    Every row has its units, estimator, n, interval kind, seed and snapshot.
    """
    sections: dict[str, list[dict[str, Any]]] = {}
    for row in document.rows:
        columns = row.model_dump() | {"snapshot": document.snapshot}
        columns["at"] = "; ".join(f"{factor}={level}" for factor, level in row.at.items())
        sections.setdefault(row.section, []).append(columns)
    files = []
    for section, rows in sections.items():
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        file = folder / f"{section}.csv"
        write_whole(file, text.getvalue())
        files.append(file)
    return files
