"""Analyses kept beside a run, named by the digest of what they follow from: the same question is answered once."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import xarray as xr

from ibstats.analysis import analyse, provenance
from ibstats.errors import IbstatsError
from ibstats.measure import Machine
from ibstats.measure.table import MISSING
from ibstats.results import one_file
from ibstats.results.rows import analysis_digest, results
from ibstats.results.sealed import DIFFERS, analysis_problem, document_problem, sealed_results
from ibstats.store import Store, open_store
from schemas.analysis import Config
from schemas.io.files import write_whole
from schemas.io.layout import ResultsFolder
from schemas.results import Results
from schemas.timings import stage

ATTEMPTS = 3
"""Times that a tree is made that is damaged each time."""


def obtain(store: Store, settings: Config, machine: Machine | None = None) -> Results:
    """The results of an analysis: read if the same one was made before, else made and kept.

    See `ibstats.analysis.analyse` for the parameters and what is raised.
    """
    file = _kept(store, settings, machine)
    if _is_whole(file):
        return one_file.read_document(file)
    return _made(store, settings, machine, file)


def _is_whole(file: Path) -> bool:
    """Whether a kept analysis has no problem; a warning where it is there and damaged."""
    problem = analysis_problem(file)
    if problem not in (None, MISSING):
        warnings.warn(f"'{file}' is damaged ({problem}); made again", stacklevel=3)
    return problem is None


def _made(store: Store, settings: Config, machine: Machine | None, file: Path) -> Results:
    """Make an analysis and keep it."""
    tree = analyse(store, settings, machine)
    with stage("keep"):
        document = sealed_results(results(tree))
        one_file.write(tree, document, file)
    return document


def obtain_tree(store: Store, settings: Config, machine: Machine | None = None) -> xr.DataTree:
    """The labelled tree of an analysis, loaded: read if it was made before, else made and kept.

    It holds arrays that are no rows, such as values by prompt. See `ibstats.analysis.analyse` for
    the parameters and what is raised.
    """
    file = _kept(store, settings, machine)
    for _ in range(ATTEMPTS):
        if _is_whole(file):
            return one_file.read_tree(file)
        _made(store, settings, machine, file)
    raise IbstatsError(f"'{file}' is damaged as soon as it is written; check the disk")


def kept_tree(store: Store, document: Results) -> xr.DataTree | None:
    """The labelled tree behind a document, if it is kept and whole; None if not."""
    file = ResultsFolder(store.path).analysis(document.analysis_sha256)
    if analysis_problem(file) is not None:
        return None
    return one_file.read_tree(file)


def kept_documents(store: Store) -> dict[str, Results]:
    """The documents of ablations, by experiment, that were made of the run as it is now.

    Damaged ones, and those of other data, are passed over.
    """
    found = {}
    for experiment in store.experiments():
        file = ResultsFolder(store.path).ablations / f"{experiment}.json"
        if document_problem(file) is None:
            document = read_results(file)
            if document.snapshot == store.snapshot(experiment=experiment):
                found[experiment] = document
    return found


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
