"""`ibstats`: the command line. Each command parses, calls one public function and prints where results went."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from functools import cache, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ibstats.analysis import DEFAULT_METRICS, PARTS, Config, Machine, config_from
from ibstats.each import Each, here, on_cluster
from ibstats.errors import IbstatsError
from ibstats.extras import extras_named
from ibstats.report import files, tables
from ibstats.report.figures import FORMATS
from ibstats.store import Store, open_store
from schemas.cluster import Cluster, ClusterError, connected
from schemas.folder import refusal

if TYPE_CHECKING:
    from distributed import Client

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Where the diversity of an image generator comes from."
)
out = Console(width=max(Console().width, tables.WIDTH))
log = Console(stderr=True)

Run = Annotated[str, typer.Argument(help="Run made by `ibgenerate run`: its directory or URL.", show_default=False)]


@dataclass(frozen=True)
class Options:
    """Options that every analysing command takes."""

    resources: ExitStack
    """What a command opened, closed when it ends; this one is no option."""
    config: Annotated[Path | None, typer.Option(help="Settings in YAML; options given here win over it.")] = None
    metric: Annotated[list[str] | None, typer.Option(help="Distance to use; repeat for more.")] = None
    model: Annotated[list[str] | None, typer.Option(help="Model of the store; repeat for more.")] = None
    experiment: Annotated[str | None, typer.Option(help="Experiment of the store.")] = None
    estimator: Annotated[str | None, typer.Option(help="Entropy estimator.")] = None
    images_per_prompt: Annotated[
        int | None, typer.Option(help="Images of each prompt that entropies are made of; default all.")
    ] = None
    interval: Annotated[str | None, typer.Option(help="auto, bca, percentile or studentized.")] = None
    level: Annotated[float | None, typer.Option(help="Level of intervals.")] = None
    resamples: Annotated[int | None, typer.Option(help="Bootstrap resamples and permutations.")] = None
    seed: Annotated[int | None, typer.Option(help="Seed of resampling.")] = None
    margin: Annotated[list[str] | None, typer.Option(help="Equivalence margin, NAME=VALUE in its units.")] = None
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Use an unfinished run's complete prompts.")
    ] = False
    device: Annotated[str, typer.Option(help="Device of network distances.")] = "cpu"
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 64
    weights: Annotated[list[str] | None, typer.Option(help="Weight file of a metric, METRIC=PATH.")] = None
    score: Annotated[list[str] | None, typer.Option(help="Score of quality to use; repeat for more.")] = None
    reference: Annotated[list[str] | None, typer.Option(help="Reference set for fid and kid; repeat for sizes.")] = None
    clip: Annotated[str | None, typer.Option(help="CLIP of the scores: hub name or folder.")] = None
    long_texts: Annotated[str | None, typer.Option(help="Prompts beyond CLIP's reach: cut or leave_out.")] = None
    results: Annotated[
        Path | None, typer.Option(help="Folder that keeps the results; default RUN, for a URL ibstats-results here.")
    ] = None
    cluster: Annotated[
        str | None,
        typer.Option(help="Dask cluster to measure images on: local, cuda, slurm, kubernetes, or an address."),
    ] = None
    workers: Annotated[int | None, typer.Option(min=1, help="Workers of the cluster; without --cluster, local.")] = None
    cluster_options: Annotated[
        Path | None, typer.Option(help="YAML mapping of further settings of the cluster's Dask class.")
    ] = None
    wait: Annotated[float | None, typer.Option(help="Seconds without any worker after which it ends.")] = None

    def settings(self, parts: tuple[str, ...] = PARTS) -> Config:
        """The configuration file, overruled by the options that were given."""
        base = config_from(_read_yaml(self.config) if self.config else {})
        given = {
            "metrics": self.metric and tuple(self.metric),
            "models": self.model and tuple(self.model),
            "experiment": self.experiment,
            "estimator": self.estimator,
            "images_per_prompt": self.images_per_prompt,
            "scores": self.score and tuple(self.score),
            "references": self.reference and tuple(self.reference),
            "clip": self.clip,
            "long_texts": self.long_texts,
        }
        how: dict[str, Any] = {
            "method": self.interval,
            "level": self.level,
            "n_resamples": self.resamples,
            "seed": self.seed,
        }
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return replace(
            base,
            parts=parts,
            allow_partial=self.allow_partial or base.allow_partial,
            margins={**base.margins, **{name: _number(name, text) for name, text in _pairs(self.margin, "--margin")}},
            resampling=replace(base.resampling, **{name: value for name, value in how.items() if value is not None}),
            **changes,
        )

    def open(self, run: str) -> Store:
        """The run, and a line about where its results are kept if that is not the run itself."""
        store = open_store(run, self.results)
        if store.path != Path(run):
            log.print(f"results of {escape(run)} are kept in {escape(str(store.path / 'results'))}", soft_wrap=True)
        return store

    def machine(self) -> Machine:
        """How distances are computed."""
        device, each = self.device, _with_progress(here)
        if self.cluster is not None or self.workers is not None:
            asked = self._cluster()
            device, each = asked.device, _with_progress(on_cluster(cache(partial(self._connected, asked)), asked))
        return Machine(device, self.batch_size, dict(_pairs(self.weights, "--weights")), each)

    def _cluster(self) -> Cluster:
        kind = self.cluster or "local"
        device = "cuda" if kind == "cuda" else self.device.partition(":")[0]  # of its GPUs each worker sees one
        settings = _read_yaml(self.cluster_options) if self.cluster_options else {}
        return Cluster(kind, self.workers, device, settings, self.wait)

    def _connected(self, cluster: Cluster) -> Client:
        client = self.resources.enter_context(connected(cluster))
        log.print(f"dashboard: {client.dashboard_link}")
        return client


def analysing(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose last parameter is `Options`: its fields become options of the command line."""
    hints = get_type_hints(function, include_extras=True)
    own = [p.replace(annotation=hints[p.name]) for p in inspect.signature(function).parameters.values()][:-1]
    kinds = get_type_hints(Options, include_extras=True)
    common = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=kinds[f.name])
        for f in fields(Options)[1:]
    ]

    @wraps(function)
    def command(**given: Any) -> None:
        with ExitStack() as resources:
            options = Options(resources, **{f.name: given.pop(f.name) for f in fields(Options)[1:]})
            try:
                function(**given, options=options)
            except KeyboardInterrupt:
                log.print("interrupted; what was measured is kept: run the same command to go on.", soft_wrap=True)
                raise typer.Exit(130) from None

    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    command.__signature__ = inspect.Signature([*keyword, *common])  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


def _read_yaml(file: Path) -> dict[str, Any]:
    import yaml

    if not file.is_file():
        raise IbstatsError(f"no settings file '{file}'")
    try:
        content = yaml.safe_load(file.read_text("utf-8")) or {}
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise IbstatsError(f"'{file}' is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise IbstatsError(f"'{file}' must hold settings as `key: value` lines")
    return content


def _pairs(values: list[str] | None, option: str) -> list[tuple[str, str]]:
    made = []
    for value in values or []:
        name, separator, content = value.partition("=")
        if not separator:
            raise IbstatsError(f"{option} is {value!r}, but must read NAME=VALUE")
        made.append((name, content))
    return made


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise IbstatsError(f"the margin of {name} is {text!r}, but must be a number") from None


def _with_progress(each: Each) -> Each:
    """The same with a bar."""

    def shown(function: Callable[[int], Any], numbers: Sequence[int], label: str) -> Iterator[tuple[int, Any]]:
        from rich.progress import track

        found = each(function, numbers, label)
        yield from track(found, description=escape(label), total=len(numbers), console=log, transient=True)

    return shown


def _say(text: str) -> None:
    out.print(text, highlight=False, soft_wrap=True)


def _show(run: str, options: Options, parts: tuple[str, ...], *sections: str) -> None:
    store, settings = options.open(run), options.settings(parts)
    if parts != ("quality",):
        files.check_factorial(store, settings.experiment)
    tables.show(files.obtain(store, settings, options.machine()), out, sections)


@app.command()
def describe(run: Run) -> None:
    """What a run holds: models, experiments, prompts, samples and how much is complete."""
    store = open_store(run)
    record = store.run
    _say(f"run {record.run_id} of study '{escape(record.study.name)}', created {record.created}")
    _say(f"{len(record.prompts)} prompts, seed {record.study.seed}, snapshot {store.snapshot()[:16]}")
    table = Table("model", "family", "experiment", "conditions", "images each", "grid", "codes", "complete")
    for model, identity in record.models.items():
        for experiment, plan in record.experiments.items():
            done = store.complete(model, experiment).all("condition")
            grid = f"{identity.grid[0]}x{identity.grid[1]}"
            counts = (str(len(plan.conditions)), str(plan.n_samples), grid, str(identity.codebook_size))
            table.add_row(escape(model), identity.family, experiment, *counts, f"{int(done.sum())}/{done.size} prompts")
    out.print(table)


@app.command()
def verify(run: Run) -> None:
    """Check every stored object against the ledger: presence, length, sha256."""
    checked, problems = 0, 0
    for key, problem in open_store(run).verify():
        checked += 1
        if problem:
            problems += 1
            _say(f"{key}: {problem}")
    _say(f"{checked} stored objects checked, {problems} with problems")
    if problems:
        raise typer.Exit(1)


@app.command()
@analysing
def diversity(run: Run, options: Options) -> None:
    """Mean pairwise distance of each cell, with intervals."""
    _show(run, options, ("diversity",), "diversity")


@app.command()
@analysing
def entropy(run: Run, options: Options) -> None:
    """H(Z), H(Z|X), I(X;Z) and codebook use of each cell, from tokens only."""
    _show(run, options, ("information",), "entropy")


@app.command()
@analysing
def effects(run: Run, options: Options) -> None:
    """Seven contrasts with tests and effect sizes, waterfalls and synergy gaps."""
    _show(run, options, ("diversity",), "effects", "waterfall", "waterfall_two")


@app.command()
@analysing
def quality(run: Run, options: Options) -> None:
    """CLIP score, CLIP-IQA, FID, KID and the reference network's scores: cells, probes, effects, frontier."""
    _show(run, options, ("quality",), "quality", "quality_effects")


@app.command()
def reference(
    source: Annotated[str, typer.Argument(help="Folder of images, hf:NAME of a data set, or .npz with mu and sigma.")],
    file: Annotated[Path, typer.Option("--out", help="The reference set to write.")],
    size: Annotated[str | None, typer.Option(help="Size of the images compared: 256 or 256x384.")] = None,
    resize: Annotated[str, typer.Option(help="centre-crop, stretch or none.")] = "centre-crop",
    network: Annotated[str, typer.Option(help="inception (fid, kid) or reference (scenes of the trio).")] = "inception",
    images: Annotated[int | None, typer.Option(help="Images to take, or that an imported .npz was made of.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set.")] = None,
    column: Annotated[str | None, typer.Option(help="Column of the data set that holds the images.")] = None,
    name: Annotated[str | None, typer.Option(help="Name in the results; default that of the source.")] = None,
    device: Annotated[str, typer.Option(help="Device of the network.")] = "cpu",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 64,
    weights: Annotated[str | None, typer.Option(help="Weight file of the network.")] = None,
) -> None:
    """Statistics of reference images for fid and kid: one file that says how its images were prepared."""
    from ibstats.fidelity.reference_set import build

    found = build(
        source,
        file,
        network=network,
        size=size,
        resize=resize,
        n_images=images,
        split=split,
        column=column,
        name=name,
        each=_with_progress(here),
        device=device,
        batch_size=batch_size,
        weights=weights,
    )
    height, width = found.size
    _say(
        f"{file}: {found.n_images} images of '{escape(found.name)}' at {height}x{width} ({found.resize}), "
        f"{found.dimensions} features of '{found.network}', {found.n_features_kept} rows kept for kernel distances"
    )


@app.command()
@analysing
def strategy(run: Run, options: Options) -> None:
    """Diversity-prioritized, compression-prioritized or decoupled: each verdict with its evidence."""
    if not options.settings().margins:
        raise IbstatsError(
            "a strategy rests on equivalence, and no margin was declared; give one per metric, decided before "
            "looking at the data: --margin ssim_dissimilarity=0.02, or `margins:` in the --config file"
        )
    _show(run, options, ("diversity",), "strategy")


@app.command()
@analysing
def report(run: Run, options: Options) -> None:
    """Everything: tables here; CSV, JSON, figures and contact sheets under RUN/results."""
    store, settings = options.open(run), options.settings()
    files.check_factorial(store, settings.experiment)
    machine = options.machine()
    document = files.obtain(store, settings, machine)
    tables.show(document, out)
    out.print()
    for kind, where in files.write_report(store, document, settings, machine).items():
        _say(f"{kind}: {where}")


@app.command()
@analysing
def export(
    run: Run,
    kind: Annotated[str, typer.Option("--format", help="csv, latex, json or netcdf.")],
    folder: Annotated[Path | None, typer.Option("--out", help="Folder; default RUN/results/export.")] = None,
    *,
    options: Options,
) -> None:
    """Write every number with its units, estimator, interval kind, n, seed and snapshot."""
    store = options.open(run)
    where = folder or store.path / "results" / "export"
    for file in files.export(store, options.settings(), where, kind, options.machine()):
        _say(str(file))


@app.command()
@analysing
def figures(
    run: Run,
    kind: Annotated[list[str] | None, typer.Option("--format", help="png, pdf or svg; repeat for more.")] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Folder; default RUN/results/figures.")] = None,
    *,
    options: Options,
) -> None:
    """All figures: cells, probes, waterfalls, effects, interactions, positions, contact sheets; arms of an ablation."""
    store, settings = options.open(run), options.settings()
    where = folder or store.path / "results" / "figures"
    tree = files.obtain_tree(store, settings, options.machine())
    made = files.figures(store, settings, tree, where, tuple(kind or FORMATS))
    _say(f"{len(made)} files in {where}")


@app.command()
@analysing
def power(
    run: Run,
    effect: Annotated[str, typer.Option(help="Effect to plan for, for instance sampling:codebook.")] = "sampling",
    difference: Annotated[float | None, typer.Option(help="Smallest effect worth finding.")] = None,
    equivalence: Annotated[float | None, typer.Option(help="Margin within which to show equivalence.")] = None,
    target: Annotated[float, typer.Option(min=0, max=1, help="Power wanted.")] = 0.8,
    *,
    options: Options,
) -> None:
    """Prompts and images a study needs, with this run as its pilot."""
    from ibstats import power as planning
    from ibstats.distances import distances

    store, settings, machine = options.open(run), options.settings(), options.machine()
    files.check_factorial(store, settings.experiment)
    for model in settings.models or store.models():
        for name in settings.metrics or DEFAULT_METRICS[:1]:
            how: dict[str, Any] = {"allow_partial": settings.allow_partial, "each": machine.each}
            measured = distances(store, model, machine.metric(name), settings.experiment, **how)
            pilot = planning.components(measured["distance"], effect)
            table = planning.table(pilot, effect_size=difference, margin=equivalence, seed=settings.resampling.seed)
            out.print(tables.power(table, planning.needed(table, target), f"{model}, {name}", target))
            where = store.path / "results" / "figures"
            where.mkdir(parents=True, exist_ok=True)
            from ibstats.report.figures import draw_power

            _say(str(draw_power(table, target, where / f"power-{model}-{name}")[0]))


@app.command()
@analysing
def decompose(
    run: Run,
    crossed: Annotated[
        bool, typer.Option("--crossed", help="Shares of path and execution from crossed noise.")
    ] = False,
    wording: Annotated[bool, typer.Option("--wording", help="Share of the wording in paraphrase cells.")] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Draw the ledger into RUN/results/figures.")] = False,
    *,
    options: Options,
) -> None:
    """The entropy ledger: bits of path and execution; on request, shares of the diversity from distances."""
    from ibstats.report.ledger import decompose_run, draw_run

    store, settings, machine = options.open(run), options.settings(), options.machine()
    decompose_run(store, settings, machine, out, crossed=crossed, wording=wording)
    if figures:
        for file in draw_run(store, settings, machine):
            _say(str(file))


@app.command()
@analysing
def ablations(
    run: Run,
    kind: Annotated[list[str] | None, typer.Option("--format", help="png, pdf or svg; repeat for more.")] = None,
    *,
    options: Options,
) -> None:
    """Every ablation (or that of --experiment): arms, paired changes, inflection point; tables, LaTeX, figures."""
    from ibstats.report.ablations import ablations_run

    formats = tuple(kind or FORMATS)
    made = ablations_run(options.open(run), options.settings(), options.machine(), out, formats)
    for part, where in made.items():
        _say(f"{part}: {where}")


@app.command()
@analysing
def repro(
    runs: Annotated[list[Path], typer.Argument(help="Run directories.", show_default=False)],
    file: Annotated[Path | None, typer.Option("--out", help="Write the table as CSV too.")] = None,
    *,
    options: Options,
) -> None:
    """The paper's claims beside the results of these runs: reproduced, not reproduced or not comparable, and why."""
    from ibstats.report import repro as claims

    pool = claims.evidence(map(open_store, runs), options.settings(), options.machine())
    findings = [claims.examine(claim, pool) for claim in claims.claims()]
    out.print(claims.table(findings))
    if file is not None:
        _say(f"table: {claims.write_csv(findings, file)}")


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="Run directory or results JSON.")],
    after: Annotated[Path, typer.Argument(help="Run directory or results JSON.")],
    tolerance: Annotated[float, typer.Option(min=0, help="Numbers this close count as equal.")] = 0.0,
    limit: Annotated[int, typer.Option(min=0, help="Changes to list.")] = 30,
) -> None:
    """Which numbers moved between two analyses, by how much, and why."""
    from ibstats.report.compare import compare

    comparison = compare(files.read_results(before), files.read_results(after), tolerance)
    for cause in comparison.causes:
        _say(f"cause: {cause}")
    if not comparison.changes:
        _say(f"{comparison.n_rows} rows, no number differs")
        return
    out.print(tables.changes(comparison, limit))
    if not comparison.causes:
        _say("no cause is recorded: same data, settings and version; was a file edited?")


def main() -> None:
    """Console script: known errors end in one line and status 1."""
    try:
        with extras_named():
            app()
    except (IbstatsError, ClusterError, OSError) as error:
        line = refusal(error) if isinstance(error, OSError) else str(error)
        if line is None:
            raise
        log.print(f"[red]error[/] {escape(line)}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
