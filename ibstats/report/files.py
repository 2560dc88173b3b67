"""Files of a report, all under RUN/results: the analysis itself, kept by its digest, and tables for other programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from ibstats.analysis import analyse, provenance
from ibstats.config import Config
from ibstats.errors import IbstatsError, MissingPackages, unknown
from ibstats.extras import need
from ibstats.measure import Machine
from ibstats.report import ablation_latex, latex, quality_latex
from ibstats.report.ablation_figures import draw_ablation, strategy_sheets
from ibstats.report.contact import contact_sheets
from ibstats.report.figures import FORMATS, draw
from ibstats.results.rows import analysis_digest, results
from ibstats.statistics.ablations import experiments
from ibstats.store import Store, open_store, read_tree, write_tree

if TYPE_CHECKING:
    from schemas.results import Results

KINDS = ("csv", "latex", "json", "netcdf")
"""Export formats."""


def obtain(store: Store, config: Config, machine: Machine | None = None) -> Results:
    """The results of that analysis: read if the same one was made before, else made and kept."""
    from schemas.results import Results

    file = _kept(store, config, machine).with_suffix(".json")
    if file.is_file():
        return Results.model_validate_json(file.read_bytes())
    tree = analyse(store, config, machine)
    document = results(tree)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_tree(tree, file.with_suffix(".zarr"))
    write_json(document, file)
    return document


def obtain_tree(store: Store, config: Config, machine: Machine | None = None) -> xr.DataTree:
    """The labelled tree behind `obtain`."""
    path = _kept(store, config, machine).with_suffix(".zarr")
    if not path.is_dir():
        obtain(store, config, machine)
    return read_tree(path)


def _kept(store: Store, config: Config, machine: Machine | None) -> Path:
    digest = analysis_digest(provenance(store, config, machine))
    return store.path / "results" / "analyses" / digest[:16]


def write_json(document: Results, file: Path) -> None:
    """The document as JSON, valid against `schemas/results.schema.json`."""
    temporary = file.with_name(f".{file.name}.partial")
    temporary.write_text(document.model_dump_json(indent=1), encoding="utf-8")
    temporary.replace(file)


def write_csv(document: Results, folder: Path) -> list[Path]:
    """One tidy CSV per section, every row with its units, estimator, n, interval kind, seed and snapshot."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for section in dict.fromkeys(row.section for row in document.rows):
        chosen = [
            row.model_dump() | {"snapshot": document.snapshot}
            for row in document.rows
            if row.section == section
        ]
        file = folder / f"{section}.csv"
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(chosen[0]))
            writer.writeheader()
            writer.writerows(chosen)
        files.append(file)
    return files


def read_results(path: str | Path) -> Results:
    """A document from a JSON file, or the report of a run, by its directory or URL."""
    from schemas.results import Results

    path = open_store(path).path if "://" in str(path) else Path(path)
    file = path / "results" / "results.json" if path.is_dir() else path
    if not file.is_file():
        raise IbstatsError(f"no results at '{file}'; make them with `ibstats report`")
    try:
        return Results.model_validate(json.loads(file.read_bytes()))
    except ValueError as error:  # not UTF-8, not JSON, not the schema
        first = str(error).splitlines()[0]
        raise IbstatsError(f"'{file}' is no results document ({first})") from None


def write_latex(document: Results, folder: Path) -> list[Path]:
    """LaTeX tables of a factorial or of an ablation, one file each."""
    if any(row.section == "contrast" for row in document.rows):
        made = ablation_latex.tables(document)
    else:
        made = latex.tables(document) | quality_latex.tables(document)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, text in made.items():
        if text:
            file = folder / f"{name}.tex"
            file.write_text(text, encoding="utf-8")
            files.append(file)
    return files


def figures(
    store: Store,
    config: Config,
    tree: xr.DataTree,
    folder: Path,
    formats: Sequence[str] = FORMATS,
    *,
    interactions: bool = True,
) -> list[Path]:
    """Draw everything that an analysis has data for, with contact sheets; the files."""
    name, partial = config.experiment, config.allow_partial
    kind = experiments(store).get(name)
    if kind is None:
        made = draw(tree, folder, formats, interactions=interactions)
        return made + contact_sheets(
            store, folder, experiment=name, formats=formats, allow_partial=partial
        )
    made = draw_ablation(name, kind, tree, folder, formats)
    if kind == "enhancement":
        made += strategy_sheets(
            store, name, folder, models=config.models, formats=formats, partial=partial
        )
    return made


def check_factorial(store: Store, experiment: str) -> None:
    """An ablation has reports of its own."""
    if kind := experiments(store).get(experiment):
        raise IbstatsError(
            f"'{experiment}' is an ablation ({kind}), which has no factorial effects; "
            f"`ibstats ablations {store.path} --experiment {experiment}` reports it"
        )


def write_report(
    store: Store, document: Results, config: Config, machine: Machine | None = None
) -> dict[str, Path | str]:
    """Write JSON, CSV and figures under RUN/results unless they are there for this very analysis.

    Where each lies, or why there are no figures.
    """
    folder = store.path / "results"
    file, tables, drawn = folder / "results.json", folder / "tables", folder / "figures"
    where: dict[str, Path | str] = {"results": file, "tables": tables, "figures": drawn}
    current = _is_current(file, document)
    if not current:
        write_csv(document, tables)
    if not current or not drawn.is_dir():
        try:
            need("drawing", "matplotlib")
            figures(
                store,
                config,
                obtain_tree(store, config, machine),
                drawn,
                ("png",),
                interactions=False,
            )
        except MissingPackages as error:
            where["figures"] = str(error)
    if not current:
        write_json(document, file)
    return where


def _is_current(file: Path, document: Results) -> bool:
    """Whether that file holds this analysis; the digest stands near its start."""
    if not file.is_file():
        return False
    with file.open(encoding="utf-8") as stream:
        return document.analysis_sha256 in stream.read(1000)


def export(
    store: Store, config: Config, folder: Path, kind: str, machine: Machine | None = None
) -> list[Path]:
    """Write the analysis as `csv`, `latex`, `json` or `netcdf`; the files written."""
    if kind not in KINDS:
        raise unknown("export format", kind, KINDS)
    document = obtain(store, config, machine)
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "csv":
        return write_csv(document, folder)
    if kind == "latex":
        return write_latex(document, folder)
    if kind == "json":
        write_json(document, folder / "results.json")
        return [folder / "results.json"]
    return [write_netcdf(obtain_tree(store, config, machine), folder / "results.nc")]


def write_netcdf(tree: xr.DataTree, file: Path) -> Path:
    """The labelled tree as NetCDF; settings and notes travel as JSON text."""
    plain = tree.copy()
    plain.attrs = {
        name: v if isinstance(v, str) else json.dumps(v) for name, v in tree.attrs.items()
    }
    try:
        plain.to_netcdf(file)
    except (ValueError, ImportError) as error:
        raise IbstatsError(
            "NetCDF with groups needs the package netCDF4 or h5netcdf; pip install netCDF4 "
            f"({str(error).splitlines()[0]})"
        ) from None
    return file
