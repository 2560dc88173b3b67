"""Analyses kept beside a run, named by the digest of what they follow from: the same question is answered once."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from pathlib import Path

import xarray as xr

from ibstats.analysis import analyse, provenance
from ibstats.errors import IbstatsError
from ibstats.measure import Machine
from ibstats.measure.table import MISSING
from ibstats.results.rows import analysis_digest, results
from ibstats.results.sealed import (
    DIFFERS,
    document_problem,
    keep_tree,
    sealed_results,
    tree_problem,
)
from ibstats.store import Store, open_store, read_tree
from schemas.analysis import Config
from schemas.io.files import write_whole
from schemas.io.layout import ResultsFolder
from schemas.results import Results

ATTEMPTS = 3
"""Times that a tree is made that is damaged each time."""


def obtain(store: Store, settings: Config, machine: Machine | None = None) -> Results:
    """The results of an analysis: read if the same one was made before, else made and kept.

    See `ibstats.analysis.analyse` for the parameters and what is raised.
    """
    kept = _kept(store, settings, machine)
    file = kept.with_suffix(".json")
    if _is_whole(file, document_problem(file, kept.name)):
        return Results.model_validate_json(file.read_bytes())
    return _made(store, settings, machine, kept)


def _is_whole(path: Path, problem: str | None) -> bool:
    """Whether something kept has no problem; a warning where it is there and damaged."""
    if problem not in (None, MISSING):
        warnings.warn(f"'{path}' is damaged ({problem}); made again", stacklevel=3)
    return problem is None


def _made(store: Store, settings: Config, machine: Machine | None, kept: Path) -> Results:
    """Make an analysis and keep it: the tree, the record of its files, then the document."""
    tree = analyse(store, settings, machine)
    document = sealed_results(results(tree))
    file, folder = kept.with_suffix(".json"), kept.with_suffix(".zarr")
    file.parent.mkdir(parents=True, exist_ok=True)
    if tree_problem(folder) is not None:
        keep_tree(tree, folder)
    write_json(document, file)
    return document


def obtain_tree(store: Store, settings: Config, machine: Machine | None = None) -> xr.DataTree:
    """The labelled tree of an analysis, loaded: read if it was made before, else made and kept.

    It holds arrays that are no rows, such as values by prompt. See `ibstats.analysis.analyse` for
    the parameters and what is raised.
    """
    kept = _kept(store, settings, machine)
    path = kept.with_suffix(".zarr")
    for _ in range(ATTEMPTS):
        if _is_whole(path, tree_problem(path)):
            with suppress(FileNotFoundError):  # another process replaces it at this moment
                return read_tree(path)
        _made(store, settings, machine, kept)
    raise IbstatsError(f"'{path}' is damaged as soon as it is written; check the disk")


def _kept(store: Store, settings: Config, machine: Machine | None) -> Path:
    digest = analysis_digest(provenance(store, settings, machine))
    return ResultsFolder(store.path).analysis(digest)


def write_json(document: Results, file: Path) -> None:
    """Write the document as JSON, whole or not at all.

    The file follows `schemas/results.schema.json`, and holds its own digest.
    """
    write_whole(file, sealed_results(document).model_dump_json(indent=1))


def read_results(path: str | Path) -> Results:
    """A document from a JSON file, or the report of a run, by its folder or URL.

    Raises IbstatsError if there is none, or if the file is something else.
    """
    path = open_store(path).path if "://" in str(path) else Path(path)
    file = ResultsFolder(path).document if path.is_dir() else path
    if not file.is_file():
        raise IbstatsError(f"no results at '{file}'; make them with `ibstats report`")
    if document_problem(file) == DIFFERS:
        raise IbstatsError(
            f"'{file}' is damaged ({DIFFERS}); `ibstats verify --repair` drops it, and `ibstats "
            "report` makes it again"
        )
    try:
        return Results.model_validate(json.loads(file.read_bytes()))
    except ValueError as error:  # not UTF-8, not JSON, not the schema
        first = str(error).splitlines()[0]
        raise IbstatsError(f"'{file}' is no results document ({first})") from None
