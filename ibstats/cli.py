"""`ibstats`: the command line. Each command parses, calls one public function and prints where results went."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ibstats.analysis import PARTS, Config, Machine, config_from
from ibstats.errors import IbstatsError
from ibstats.report import files, tables
from ibstats.store import open_store
from ibstats.uncertainty import Resampling

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Where the diversity of an image generator comes from."
)
out = Console(width=max(Console().width, tables.WIDTH))
log = Console(stderr=True)

Run = Annotated[Path, typer.Argument(help="Run directory made by `ibgenerate run`.", show_default=False)]
Settings = Annotated[Path | None, typer.Option("--config", help="Analysis settings in YAML; options here win over it.")]
Metrics = Annotated[list[str] | None, typer.Option("--metric", help="Distance to use; repeat for more.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="Model of the store; repeat for more.")]
Experiment = Annotated[str | None, typer.Option("--experiment", help="Experiment of the store.")]
Estimator = Annotated[str | None, typer.Option("--estimator", help="Entropy estimator.")]
Method = Annotated[str | None, typer.Option("--interval", help="auto, bca, percentile or studentized.")]
Level = Annotated[float | None, typer.Option("--level", help="Level of intervals.")]
Resamples = Annotated[int | None, typer.Option("--resamples", help="Bootstrap resamples and permutations.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of resampling.")]
Margins = Annotated[list[str] | None, typer.Option("--margin", help="Equivalence margin, NAME=VALUE in its units.")]
Partial = Annotated[bool, typer.Option("--allow-partial", help="Use complete prompts of an unfinished run.")]
Device = Annotated[str, typer.Option("--device", help="Device of network distances.")]
Batch = Annotated[int, typer.Option("--batch-size", help="Images per forward pass.")]
Weights = Annotated[list[str] | None, typer.Option("--weights", help="Weight file of a metric, METRIC=PATH.")]


def _progress(items: Iterable[int], label: str, total: int) -> Iterable[int]:
    from rich.progress import track

    return track(items, description=escape(label), total=total, console=log, transient=True)


def _pairs(values: list[str] | None, option: str) -> dict[str, str]:
    made = {}
    for value in values or []:
        name, separator, content = value.partition("=")
        if not separator:
            raise IbstatsError(f"{option} is {value!r}, but must read NAME=VALUE")
        made[name] = content
    return made


def _config(
    settings: Path | None,
    *,
    parts: tuple[str, ...] = PARTS,
    allow_partial: bool = False,
    margins: list[str] | None = None,
    resampling: dict[str, Any] | None = None,
    **given: Any,
) -> Config:
    """Settings from the file, overruled by the options that were given."""
    content: Any = {}
    if settings is not None:
        import yaml

        if not settings.is_file():
            raise IbstatsError(f"no settings file '{settings}'")
        content = yaml.safe_load(settings.read_text()) or {}
        if not isinstance(content, dict):
            raise IbstatsError(f"'{settings}' must hold settings as key: value lines")
    config = config_from(content)
    numbers = {}
    for name, text in _pairs(margins, "--margin").items():
        try:
            numbers[name] = float(text)
        except ValueError:
            raise IbstatsError(f"the margin of {name} is {text!r}, but must be a number") from None
    chosen: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in given.items() if v is not None
    }
    how: Resampling = replace(config.resampling, **{k: v for k, v in (resampling or {}).items() if v is not None})
    return replace(
        config,
        parts=parts,
        allow_partial=allow_partial or config.allow_partial,
        margins={**config.margins, **numbers},
        resampling=how,
        **chosen,
    )


def _machine(device: str, batch_size: int, weights: list[str] | None) -> Machine:
    return Machine(device=device, batch_size=batch_size, weights=_pairs(weights, "--weights"), progress=_progress)


@app.command()
def describe(run: Run) -> None:
    """What a run holds: models, experiments, prompts, samples and how much is complete."""
    store = open_store(run)
    record = store.run
    out.print(f"run {record.run_id} of study '{escape(record.study.name)}', created {record.created}", highlight=False)
    out.print(
        f"{len(record.prompts)} prompts, seed {record.study.seed}, snapshot {store.snapshot()[:16]}", highlight=False
    )
    table = Table("model", "family", "experiment", "conditions", "images each", "grid", "codes", "complete")
    for model, identity in record.models.items():
        for experiment, plan in record.experiments.items():
            done = store.complete(model, experiment).all("condition")
            table.add_row(
                escape(model),
                identity.family,
                experiment,
                str(len(plan.conditions)),
                str(plan.n_samples),
                f"{identity.grid[0]}x{identity.grid[1]}",
                str(identity.codebook_size),
                f"{int(done.sum())}/{done.size} prompts",
            )
    out.print(table)


@app.command()
def verify(run: Run) -> None:
    """Check every stored object against the ledger: presence, length, sha256."""
    checked, problems = 0, 0
    for key, problem in open_store(run).verify():
        checked += 1
        if problem:
            problems += 1
            out.print(f"{key}: {problem}", highlight=False)
    out.print(f"{checked} stored objects checked, {problems} with problems", highlight=False)
    if problems:
        raise typer.Exit(1)


def _show(sections: tuple[str, ...], run: Path, config: Config, machine: Machine) -> None:
    tables.show(files.obtain(open_store(run), config, machine), out, sections)


@app.command()
def diversity(
    run: Run,
    config: Settings = None,
    metric: Metrics = None,
    model: Models = None,
    experiment: Experiment = None,
    interval: Method = None,
    level: Level = None,
    resamples: Resamples = None,
    seed: Seed = None,
    allow_partial: Partial = False,
    device: Device = "cpu",
    batch_size: Batch = 64,
    weights: Weights = None,
) -> None:
    """Mean pairwise distance of each cell, with intervals."""
    how = {"method": interval, "level": level, "n_resamples": resamples, "seed": seed}
    settings = _config(
        config,
        parts=("diversity",),
        allow_partial=allow_partial,
        resampling=how,
        metrics=metric,
        models=model,
        experiment=experiment,
    )
    _show(("diversity",), run, settings, _machine(device, batch_size, weights))


@app.command()
def entropy(
    run: Run,
    config: Settings = None,
    estimator: Estimator = None,
    model: Models = None,
    experiment: Experiment = None,
    interval: Method = None,
    level: Level = None,
    resamples: Resamples = None,
    seed: Seed = None,
    allow_partial: Partial = False,
) -> None:
    """H(Z), H(Z|X), I(X;Z) and codebook use of each cell, from tokens only."""
    how = {"method": interval, "level": level, "n_resamples": resamples, "seed": seed}
    settings = _config(
        config,
        parts=("information",),
        allow_partial=allow_partial,
        resampling=how,
        estimator=estimator,
        models=model,
        experiment=experiment,
    )
    _show(("entropy",), run, settings, Machine())


@app.command()
def effects(
    run: Run,
    config: Settings = None,
    metric: Metrics = None,
    model: Models = None,
    experiment: Experiment = None,
    interval: Method = None,
    level: Level = None,
    resamples: Resamples = None,
    seed: Seed = None,
    allow_partial: Partial = False,
    device: Device = "cpu",
    batch_size: Batch = 64,
    weights: Weights = None,
) -> None:
    """Seven contrasts with tests and effect sizes, waterfalls and synergy gaps."""
    how = {"method": interval, "level": level, "n_resamples": resamples, "seed": seed}
    settings = _config(
        config,
        parts=("diversity",),
        allow_partial=allow_partial,
        resampling=how,
        metrics=metric,
        models=model,
        experiment=experiment,
    )
    _show(("effects", "waterfall", "waterfall_two"), run, settings, _machine(device, batch_size, weights))


@app.command()
def strategy(
    run: Run,
    config: Settings = None,
    metric: Metrics = None,
    model: Models = None,
    experiment: Experiment = None,
    interval: Method = None,
    level: Level = None,
    resamples: Resamples = None,
    seed: Seed = None,
    margin: Margins = None,
    allow_partial: Partial = False,
    device: Device = "cpu",
    batch_size: Batch = 64,
    weights: Weights = None,
) -> None:
    """Diversity-prioritized, compression-prioritized or decoupled: each verdict with its evidence."""
    how = {"method": interval, "level": level, "n_resamples": resamples, "seed": seed}
    settings = _config(
        config,
        parts=("diversity",),
        allow_partial=allow_partial,
        resampling=how,
        margins=margin,
        metrics=metric,
        models=model,
        experiment=experiment,
    )
    if not settings.margins:
        raise IbstatsError(
            "a strategy rests on equivalence, and no margin was declared; give one per metric, decided before "
            "looking at the data: --margin ssim_dissimilarity=0.02, or `margins:` in the --config file"
        )
    _show(("strategy",), run, settings, _machine(device, batch_size, weights))


@app.command()
def report(
    run: Run,
    config: Settings = None,
    metric: Metrics = None,
    model: Models = None,
    experiment: Experiment = None,
    estimator: Estimator = None,
    interval: Method = None,
    level: Level = None,
    resamples: Resamples = None,
    seed: Seed = None,
    margin: Margins = None,
    allow_partial: Partial = False,
    device: Device = "cpu",
    batch_size: Batch = 64,
    weights: Weights = None,
) -> None:
    """Everything: tables here, CSV, JSON and figures under RUN/results."""
    how = {"method": interval, "level": level, "n_resamples": resamples, "seed": seed}
    settings = _config(
        config,
        allow_partial=allow_partial,
        resampling=how,
        margins=margin,
        metrics=metric,
        models=model,
        experiment=experiment,
        estimator=estimator,
    )
    store = open_store(run)
    document = files.obtain(store, settings, _machine(device, batch_size, weights))
    tables.show(document, out)
    written = files.write_report(store, document, settings)
    out.print()
    for kind, where in written.items():
        out.print(f"{kind}: {where}", highlight=False, soft_wrap=True)


@app.command()
def figures(
    run: Run,
    config: Settings = None,
    metric: Metrics = None,
    model: Models = None,
    experiment: Experiment = None,
    resamples: Resamples = None,
    seed: Seed = None,
    allow_partial: Partial = False,
    kind: Annotated[list[str] | None, typer.Option("--format", help="png, pdf or svg; repeat for more.")] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Folder; default RUN/results/figures.")] = None,
    device: Device = "cpu",
    batch_size: Batch = 64,
    weights: Weights = None,
) -> None:
    """All figures: cells, probes, waterfalls, effects, interactions, positions, contact sheets."""
    from ibstats.report.contact import contact_sheets
    from ibstats.report.figures import FORMATS, draw

    settings = _config(
        config,
        allow_partial=allow_partial,
        resampling={"n_resamples": resamples, "seed": seed},
        metrics=metric,
        models=model,
        experiment=experiment,
    )
    store = open_store(run)
    where = folder or run / "results" / "figures"
    formats = tuple(kind or FORMATS)
    files_made = draw(files.obtain_tree(store, settings, _machine(device, batch_size, weights)), where, formats)
    files_made += contact_sheets(
        store, where, experiment=settings.experiment, formats=formats, allow_partial=settings.allow_partial
    )
    out.print(f"{len(files_made)} files in {where}", highlight=False, soft_wrap=True)


def main() -> None:
    """Console script: known errors end in one line and status 1."""
    try:
        app()
    except IbstatsError as error:
        log.print(f"[red]error[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
