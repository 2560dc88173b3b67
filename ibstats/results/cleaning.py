"""What lies under `results/` and can go: analyses of other settings, leavings of kills, all that is kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ibstats.results.kept import read_results
from ibstats.store import Store

PATIENCE = 3600.0
"""Seconds after which a temporary file is nobody's any more."""


def unneeded(store: Store, *, everything: bool = False) -> list[Path]:
    """Files and folders of a run that its report does not rest on.

    Those are analyses but for the ones behind the report and the ablations, and what killed
    processes left behind an hour ago or earlier. Distances and features stay, for they are dear to
    make; `everything` is the whole folder of results. Nothing of the run itself is among them.
    """
    results = store.results
    if everything:
        return [results.root] if results.root.is_dir() else []
    needed = {results.analysis(digest).name for digest in _reported(store)}
    found = []
    if results.analyses.is_dir():
        for path in sorted(results.analyses.iterdir()):
            if path.name.startswith("."):
                continue
            if path.name not in needed:
                found.append(path)
    return found + sorted(_left_behind(results.root))


def _reported(store: Store) -> Iterator[str]:
    """Digests of the analyses that lie open beside the run: the report, and the ablations."""
    results = store.results
    for file in [results.document, *sorted(results.ablations.glob("[!.]*.json"))]:
        if file.is_file():
            yield read_results(file).analysis_sha256


def _left_behind(root: Path) -> Iterator[Path]:
    """Temporary files that nobody writes any more; a table that is measured in part is not one."""
    oldest = time.time() - PATIENCE
    for path in root.rglob(".*"):
        measured = path.suffix in (".npy", ".rows")
        if not measured and path.exists() and path.stat().st_mtime < oldest:
            yield path


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def remove(path: Path) -> None:
    """Remove a file or a folder; one that is gone already is as good."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
