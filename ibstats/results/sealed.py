"""Whether a kept analysis is whole: its document by its own digest, its tree by the record of its files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import xarray as xr

from ibstats.measure.table import MISSING, remove_table, table_problem
from ibstats.store import Store, write_tree
from schemas.io.arrays import UnreadableArrays, read_sealed
from schemas.io.files import file_sha256, replace_folder, temporary_name, write_whole
from schemas.results import Results
from schemas.store import is_whole, seal

BROKEN = "it cannot be read"
"""What is wrong with a file that is not even JSON."""
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
        return "it is of another analysis"
    try:
        Results.model_validate(document)
    except ValueError:
        return "it does not follow its schema"
    return None


def keep_tree(tree: xr.DataTree, folder: Path) -> None:
    """Keep the tree of an analysis as `NAME.zarr`, with length and sha256 of each file in `NAME.seal`.

    Both are made of a private folder, and published unless another process has done so meanwhile:
    trees of one name have equal files, so that either record is that of either tree.
    """
    private = temporary_name(folder)
    try:
        write_tree(tree, private)
        document = {"name": folder.stem, "files": _files(private)}
        content = json.dumps(document | {"sha256": seal(document)}, indent=1)
        if tree_problem(folder) is not None:
            replace_folder(private, folder)
            write_whole(folder.with_suffix(".seal"), content)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def tree_problem(tree: Path) -> str | None:
    """Give what is wrong with the tree of an analysis, None if it is whole.

    A tree without a record, of an older version, counts as damaged: it is made again from what was
    measured.
    """
    if not tree.is_dir():
        return MISSING
    document = _parsed(tree.with_suffix(".seal"))
    if document is None or not is_whole(document) or document.get("name") != tree.stem:
        return "the record of its files is missing or damaged"
    if document.get("files") != _files(tree):
        return DIFFERS
    return None


def kept_problems(store: Store) -> Iterator[tuple[Path, str | None]]:
    """Give every table, analysis and document that is kept beside a run, and its problem or None."""
    results = store.results
    for file in sorted(results.root.rglob("[!.]*.npy")):
        if not file.name.endswith(".partial.npy"):
            yield file, table_problem(file)
    for file in sorted(results.root.rglob("[!.]*.npz")):
        yield file, _arrays_problem(file)
    for file in sorted(results.analyses.glob("[!.]*.json")):
        yield file, document_problem(file, file.stem)
    for tree in sorted(results.analyses.glob("[!.]*.zarr")):
        yield tree, tree_problem(tree)
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
    elif damaged.suffix == ".zarr":
        shutil.rmtree(damaged, ignore_errors=True)
        damaged.with_suffix(".seal").unlink(missing_ok=True)
    else:
        damaged.unlink(missing_ok=True)


def _parsed(file: Path) -> dict[str, Any] | None:
    """The object that a JSON file holds; None where there is none."""
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _files(folder: Path) -> dict[str, list[Any]]:
    """Length and sha256 of every file below a folder, by its name relative to it."""
    found: dict[str, list[Any]] = {}
    for path in sorted(folder.rglob("*")):
        with suppress(FileNotFoundError):  # another process replaces the folder at this moment
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                found[name] = [path.stat().st_size, file_sha256(path)]
    return found
