"""Files of a report and of an export, all made from one analysis: rows as JSON and CSV, tables, figures."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import xarray as xr

from ibstats.checks import ablations, of_run
from ibstats.errors import IbstatsError, MissingPackages, unknown
from ibstats.extras import need
from ibstats.measure import Machine
from ibstats.measure.users import is_own, own_class
from ibstats.report import figures as drawing
from ibstats.report import tables
from ibstats.report.answer import Answer, answer
from ibstats.report.page import making
from ibstats.report.render import Renderer, html, latex, markdown
from ibstats.report.table import Table, rounded
from ibstats.results.kept import obtain, obtain_tree, write_json
from ibstats.results.lookup import Numbers
from ibstats.results.sealed import document_problem
from ibstats.results.tidy import write_csv
from ibstats.selection import select
from ibstats.store import Store
from schemas.analysis import Config
from schemas.io.files import whole_file, whole_folder, write_whole
from schemas.io.layout import ResultsFolder
from schemas.results import Results
from schemas.study import ABLATIONS
from schemas.timings import stage

Written = tuple[str, Callable[[Table], str]]
"""How tables are written: the ending of their files, and what renders one."""

PAPER: dict[str, Written] = {
    "latex": ("tex", latex.render),
    "markdown": ("md", lambda table: markdown.render([rounded(table)])),
    "html": ("html", lambda table: html.render(rounded(table))),
}
"""Formats of the tables for a paper."""

FILES = "tables, page and figures"
"""What the progress of a report calls its files."""
KINDS = ("csv", *PAPER, "json", "netcdf")
"""Export formats."""


@dataclass(frozen=True)
class Reported:
    """A report: its numbers, and where its files lie, or why some do not.

    `places` are by what lies there: results, tables, page, figures.
    """

    numbers: Numbers
    places: dict[str, str]

    def answer(self, command: str = "") -> Answer:
        """The answer that the numbers give, with these places; `command` is the next useful one."""
        return replace(answer(self.numbers), places=self.places, command=command)


def report(store: Store, settings: Config, machine: Machine | None = None) -> Reported:
    """The results of a run, with JSON, CSV, page and figures under RUN/results, unless they are there.

    `results.json` is written first: whatever fails after it, the numbers are there.
    """
    machine = machine or Machine()
    document = obtain(store, settings, machine)
    machine.progress(FILES, 0, 3)
    folder = ResultsFolder(store.path)
    current = _is_current(folder.document, document)
    if not current:
        shutil.rmtree(folder.figures, ignore_errors=True)  # they are of another analysis
        with stage("keep"):
            write_json(document, folder.document)
            write_csv(document, folder.tables)
    places = {"results": str(folder.document), "tables": str(folder.tables)}
    places["figures"] = str(folder.figures)
    machine.progress(FILES, 1, 3)
    tree = cache(partial(obtain_tree, store, settings, machine))
    with stage("page"):
        content = making.content_of(store, document, tree)
        if not making.is_current(content, folder.page):
            making.write_page(content, folder.page)
    places["page"] = str(folder.page)
    machine.progress(FILES, 2, 3)
    if not current or not folder.figures.is_dir():
        try:
            need("drawing", "matplotlib")
            with stage("figures"), whole_folder(folder.figures) as temporary:
                draw(store, settings, document, tree(), temporary, ("png",), machine)
        except MissingPackages as error:
            places["figures"] = str(error)
    machine.progress(FILES, 3, 3)
    return Reported(Numbers(document), places)


def next_command(store: Store) -> str:
    """The command that is of most use after a report of this run.

    What is missing comes first: blocks of the run, then its ablations; else the page is to be seen.
    """
    run = shlex.quote(str(store.folder))
    for model, experiment in store.records:
        if not store.complete(model, experiment).all():
            return f"ibgenerate status {run}"
    for name in ablations(store):
        if not (store.results.ablations / f"{name}.json").is_file():
            return f"ibstats ablations {run}"
    return f"ibstats view {run}"


def _is_current(file: Path, document: Results) -> bool:
    """Whether that file holds this analysis."""
    return document_problem(file, document.analysis_sha256) is None


def report_ablations(
    store: Store,
    settings: Config,
    machine: Machine | None = None,
    formats: Sequence[str] | None = None,
    columns: int = 1,
) -> list[Reported]:
    """Every ablation of a run, or the one that the settings name, with its files under RUN/results.

    Rows, tables, LaTeX and figures, which span so many `columns` of a page. Raises IbstatsError if
    the run holds no ablation.
    """
    formats = formats or drawing.FORMATS
    drawing.check_formats(formats)
    folder = ResultsFolder(store.path).ablations
    made = []
    for name in chosen_ablations(store, settings):
        one = settings.but(experiment=name)
        document = obtain(store, one, machine)
        write_json(document, folder / f"{name}.json")
        write_csv(document, folder / "tables" / name)
        write_tables(document, folder / "latex" / name, "latex")
        tree = obtain_tree(store, one, machine)
        where = folder / "figures"
        draw(store, one, document, tree, where, formats, machine, columns=columns)
        places = {part: str(folder / part) for part in ("tables", "latex", "figures")}
        made.append(Reported(Numbers(document), {"results": str(folder), **places}))
    return made


def chosen_ablations(store: Store, settings: Config) -> list[str]:
    """The ablations asked for: the one that the settings name, all if they name the default.

    Raises IbstatsError if the run holds no ablation, or none of that name.
    """
    known = ablations(store)
    if not known and store.run.imported is not None:
        raise IbstatsError(
            f"'{store.path}' was imported and holds no ablation; `ibstats report {store.path}` compares its conditions"
        )
    if not known:
        raise IbstatsError(
            f"'{store.path}' holds no ablation, only {', '.join(store.experiments())}; add an experiment of kind "
            f"{', '.join(ABLATIONS)} to a study and run it"
        )
    default = Config.model_fields["experiment"].default
    if settings.experiment in known:
        return [settings.experiment]
    if settings.experiment != default:
        raise unknown("ablation", settings.experiment, known)
    return list(known)


def draw_all(
    store: Store,
    settings: Config,
    folder: Path,
    formats: Sequence[str] | None = None,
    machine: Machine | None = None,
    columns: int = 1,
) -> list[Path]:
    """Draw everything that the analysis of these settings has data for; gives the files.

    Parameters: `folder` to draw into; `formats`, some of `ibstats.report.figures.FORMATS`, by
    default all; `columns` of a page that a figure spans, 1 or 2 (contact sheets are as wide as a
    page). Raises IbstatsError for another format, and for more columns.
    """
    formats = formats or drawing.FORMATS
    drawing.check_formats(formats)
    document = obtain(store, settings, machine)
    tree = obtain_tree(store, settings, machine)
    return draw(store, settings, document, tree, folder, formats, machine, columns=columns)


def draw(
    store: Store,
    settings: Config,
    document: Results,
    tree: xr.DataTree,
    folder: Path,
    formats: Sequence[str],
    machine: Machine | None = None,
    *,
    columns: int = 1,
) -> list[Path]:
    """Draw everything that an analysis has data for: its rows, path and execution, contact sheets.

    `document` and `tree` are of one analysis, `machine` is what it was measured on, `columns` are
    those of a page that a figure spans. Gives the files.
    """
    made = drawing.draw(Numbers(document), tree, folder, formats, columns)
    settings = of_run(settings, store)
    if settings.experiment not in ablations(store):
        selections = []
        for model in settings.models or store.models():
            partial = settings.allow_partial
            selections.append(select(store, model, settings.experiment, allow_partial=partial))
        machine = machine or Machine()
        made += drawing.draw_path_and_execution(
            selections, settings, machine, folder, formats, columns
        )
    return made + drawing.sheets(store, settings, folder, formats)


def export(
    store: Store, settings: Config, folder: Path, kind: str, machine: Machine | None = None
) -> list[Path]:
    """Write an analysis into a folder; gives the files.

    `kind` is one of `KINDS`: every number as `csv`, `json` or `netcdf`, or the tables for a paper as
    `latex`, `markdown` or `html`, or by a `Renderer` of the user's, `my_tables.py:Class`. Raises
    IbstatsError for another one.
    """
    if is_own(kind):
        written(kind)  # one that cannot be had is told before anything is analysed
    elif kind not in KINDS:
        raise unknown("export format", kind, KINDS)
    document = obtain(store, settings, machine)
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "csv":
        return write_csv(document, folder)
    if kind in PAPER or is_own(kind):
        return write_tables(document, folder, kind)
    if kind == "json":
        file = folder / store.results.document.name
        write_json(document, file)
        return [file]
    tree = obtain_tree(store, settings, machine)
    return [write_netcdf(tree, folder / "results.nc")]


def write_tables(document: Results, folder: Path, kind: str) -> list[Path]:
    """Write the tables for a paper, one file each, in a format of `PAPER` or by the user's renderer.

    Gives the files. Those in LaTeX are to be used with `\\input` and need the package booktabs, see
    `ibstats.report.render.latex`.
    """
    ending, render = written(kind)
    files = []
    for table in tables.paper_tables(Numbers(document)):
        file = folder / f"{table.name}.{ending}"
        write_whole(file, render(table))
        files.append(file)
    return files


def written(kind: str) -> Written:
    """How the tables of a format of `PAPER`, or of a renderer of the user's, are written.

    Raises IbstatsError if there is no such renderer, and where it gives something else than text.
    """
    if not is_own(kind):
        return PAPER[kind]
    renderer: Renderer = own_class(kind, Renderer)()

    def render(table: Table) -> str:
        made: object = renderer.render(rounded(table))
        if not isinstance(made, str):
            raise IbstatsError(
                f"'{kind}' gave {type(made).__name__} for table '{table.name}'; `render` returns the "
                "text of the file"
            )
        return made

    return renderer.ending, render


def write_netcdf(tree: xr.DataTree, file: Path) -> Path:
    """Write the labelled tree as NetCDF; gives the file.

    Attributes of the root that are no text travel as JSON; an attribute that is None is left out,
    and a text that lacks is empty.
    """
    plain = tree.map_over_datasets(_storable)
    for name, value in tree.attrs.items():
        plain.attrs[name] = value if isinstance(value, str) else json.dumps(value)
    with whole_file(file) as temporary:
        plain.to_netcdf(temporary, engine="h5netcdf")
    return file


def _storable(group: xr.Dataset) -> xr.Dataset:
    """A group with attributes and texts that HDF5 has a type for."""
    made = group.copy()
    made.attrs = {name: value for name, value in group.attrs.items() if value is not None}
    for name, variable in group.data_vars.items():
        if variable.dtype == object:
            made[name] = variable.where(variable.notnull(), "")
    return made
