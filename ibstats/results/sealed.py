"""Whether what is kept beside a run is whole: tables, analyses, documents, each by a digest of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from ibstats.measure.table import MISSING, remove_table, table_problem
from ibstats.results import one_file
from ibstats.store import Store
from schemas.io.arrays import UnreadableArrays, read_sealed
from schemas.results import Results
from schemas.store import is_whole, seal

BROKEN = "it cannot be read"
"""What is wrong with a file that is not even JSON."""
OTHER = "it is of another analysis"
"""What is wrong with an analysis under a name that is not its own."""
DIFFERS = "its checksum differs"
"""What is wrong with a file that is not the one that was written."""


def sealed_results(document: Results) -> Results:
    """Give the document with its digest, by which a reader tells that it is whole."""
    content = json.loads(document.model_dump_json())
    return document.model_copy(update={"sha256": seal(content)})


def document_problem(file: Path, analysis: str | None = None) -> str | None:
    """Give what is wrong with a results document, None if it is whole.

    `analysis` is the digest, or its beginning, of the analysis it should be of; None for any. A
    document without a digest of its own, of an older version, counts as whole.
    """
    if not file.is_file():
        return MISSING
    document = _parsed(file)
    if document is None:
        return BROKEN
    if not is_whole(document):
        return DIFFERS
    if analysis is not None and not str(document.get("analysis_sha256")).startswith(analysis):
        return OTHER
    try:
        Results.model_validate(document)
    except ValueError:
        return "it does not follow its schema"
    return None


def analysis_problem(file: Path) -> str | None:
    """Give what is wrong with the file of an analysis, None if it is whole.

    An analysis is named by the digest of what it follows from; see `ibstats.results.one_file`.
    """
    try:
        if not one_file.is_sealed(file):
            return DIFFERS
        document = one_file.read_document(file)
    except FileNotFoundError:
        return MISSING
    except (OSError, BadZipFile, KeyError):
        return BROKEN
    except ValueError:
        return "it does not follow its schema"
    return None if document.analysis_sha256.startswith(file.stem) else OTHER


def kept_problems(store: Store) -> Iterator[tuple[Path, str | None]]:
    """Give every table, analysis and document that is kept beside a run, and its problem or None."""
    results = store.results
    for file in sorted(results.root.rglob("[!.]*.npy")):
        if not file.name.endswith(".partial.npy"):
            yield file, table_problem(file)
    for file in sorted(results.root.rglob("[!.]*.npz")):
        yield file, _arrays_problem(file)
    for file in sorted(results.analyses.glob("[!.]*.zip")):
        yield file, analysis_problem(file)
    for file in [results.document, *sorted(results.ablations.glob("*.json"))]:
        if file.is_file():
            yield file, document_problem(file)


def _arrays_problem(file: Path) -> str | None:
    """Give what is wrong with kept arrays, None if they are whole."""
    try:
        read_sealed(file)
    except UnreadableArrays as error:
        return error.reason
    return None


def drop(store: Store, damaged: Path) -> None:
    """Remove something that is kept and damaged; the next command makes it again."""
    if damaged.suffix == ".npy":
        remove_table(damaged)
    else:
        damaged.unlink(missing_ok=True)


def _parsed(file: Path) -> dict[str, Any] | None:
    """The object that a JSON file holds; None where there is none."""
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
