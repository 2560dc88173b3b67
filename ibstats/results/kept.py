"""Analyses kept beside a run, named by the digest of what they follow from: the same question is answered once."""

from __future__ import annotations

import json
from pathlib import Path

import xarray as xr

from ibstats.analysis import analyse, provenance
from ibstats.errors import IbstatsError
from ibstats.measure import Machine
from ibstats.results.rows import analysis_digest, results
from ibstats.store import Store, open_store, read_tree, write_tree
from schemas.analysis import Config
from schemas.io.files import write_whole
from schemas.io.layout import ResultsFolder
from schemas.results import Results


def obtain(store: Store, settings: Config, machine: Machine | None = None) -> Results:
    """The results of an analysis: read if the same one was made before, else made and kept.

    See `ibstats.analysis.analyse` for the parameters and what is raised.
    """
    file = _kept(store, settings, machine).with_suffix(".json")
    if file.is_file():
        return Results.model_validate_json(file.read_bytes())
    tree = analyse(store, settings, machine)
    document = results(tree)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_tree(tree, file.with_suffix(".zarr"))
    write_json(document, file)
    return document


def obtain_tree(store: Store, settings: Config, machine: Machine | None = None) -> xr.DataTree:
    """The labelled tree of an analysis, loaded: read if it was made before, else made and kept.

    It holds arrays that are no rows, such as values by prompt. See `ibstats.analysis.analyse` for
    the parameters and what is raised.
    """
    path = _kept(store, settings, machine).with_suffix(".zarr")
    if not path.is_dir():
        obtain(store, settings, machine)
    return read_tree(path)


def _kept(store: Store, settings: Config, machine: Machine | None) -> Path:
    digest = analysis_digest(provenance(store, settings, machine))
    return ResultsFolder(store.path).analysis(digest)


def write_json(document: Results, file: Path) -> None:
    """Write the document as JSON, whole or not at all.

    The file follows `schemas/results.schema.json`.
    """
    write_whole(file, document.model_dump_json(indent=1))


def read_results(path: str | Path) -> Results:
    """A document from a JSON file, or the report of a run, by its folder or URL.

    Raises IbstatsError if there is none, or if the file is something else.
    """
    path = open_store(path).path if "://" in str(path) else Path(path)
    file = ResultsFolder(path).document if path.is_dir() else path
    if not file.is_file():
        raise IbstatsError(f"no results at '{file}'; make them with `ibstats report`")
    try:
        return Results.model_validate(json.loads(file.read_bytes()))
    except ValueError as error:  # not UTF-8, not JSON, not the schema
        first = str(error).splitlines()[0]
        raise IbstatsError(f"'{file}' is no results document ({first})") from None
