"""Options that every analysing command takes, and what they become: settings, a store, a machine."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from functools import cache, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.console import Console
from rich.markup import escape

from ibstats.config import Config, config_from
from ibstats.errors import IbstatsError
from ibstats.kernels.entropy import DEFAULT, ESTIMATORS
from ibstats.measure import Each, Machine, here, on_cluster
from ibstats.quantities import by_user
from ibstats.statistics.quality import SCORES
from ibstats.store import Store, open_store
from schemas.io.cluster import Cluster, connected

if TYPE_CHECKING:
    from distributed import Client

log = Console(stderr=True)

of_statistics = partial(typer.Option, rich_help_panel="Statistics")
of_images = partial(typer.Option, rich_help_panel="Distances and quality")
of_workers = partial(typer.Option, rich_help_panel="Workers of the image pass")


@dataclass(frozen=True)
class Options:
    """Options that every analysing command takes."""

    resources: ExitStack
    """What a command opened, closed when it ends; this one is no option."""
    config: Annotated[
        Path | None, typer.Option(help="Settings in YAML; options given here win over it.")
    ] = None
    metric: Annotated[
        list[str] | None,
        of_images(
            help=f"Distance: {', '.join(by_user('distance'))}, or your own, FILE.py:CLASS; repeat for more. "
            "Default: those that can be had."
        ),
    ] = None
    model: Annotated[
        list[str] | None, typer.Option(help="Model of the store; repeat for more. Default: all.")
    ] = None
    experiment: Annotated[
        str | None, typer.Option(help="Experiment of the store; default factorial.")
    ] = None
    estimator: Annotated[
        str | None,
        of_statistics(help=f"Entropy estimator: {', '.join(ESTIMATORS)}; default {DEFAULT}."),
    ] = None
    images_per_prompt: Annotated[
        int | None,
        of_statistics(help="Images of each prompt that entropies are made of; default all."),
    ] = None
    interval: Annotated[
        str | None,
        of_statistics(
            help="auto, bca, percentile or studentized; auto: studentized below 50 prompts, else bca."
        ),
    ] = None
    level: Annotated[float | None, of_statistics(help="Level of intervals; default 0.95.")] = None
    resamples: Annotated[
        int | None, of_statistics(help="Bootstrap resamples and permutations; default 5000.")
    ] = None
    seed: Annotated[int | None, of_statistics(help="Seed of resampling; default 0.")] = None
    margin: Annotated[
        list[str] | None,
        of_statistics(help="Equivalence margin in a distance's units: ssim_dissimilarity=0.05."),
    ] = None
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Use an unfinished run's complete prompts.")
    ] = False
    device: Annotated[str, of_images(help="Device of network distances.")] = "cpu"
    batch_size: Annotated[int, of_images(min=1, help="Images per forward pass.")] = 64
    weights: Annotated[
        list[str] | None,
        of_images(help="Weight file of a network, for instance lpips_alex=PATH or inception=PATH."),
    ] = None
    score: Annotated[
        list[str] | None,
        of_images(
            help=f"Score of quality: {', '.join(SCORES)}; repeat for more. Default: those that can be had."
        ),
    ] = None
    reference: Annotated[
        list[str] | None, of_images(help="Reference set for fid and kid; repeat for sizes.")
    ] = None
    clip: Annotated[str | None, of_images(help="CLIP of the scores: hub name or folder.")] = None
    long_texts: Annotated[
        str | None, of_images(help="Prompts beyond CLIP's reach: cut or leave_out.")
    ] = None
    results: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps the results; default RUN, for a URL ibstats-results here."
        ),
    ] = None
    cluster: Annotated[
        str | None,
        of_workers(
            help="Dask cluster to measure images on: local, cuda, slurm, kubernetes, or an address."
        ),
    ] = None
    workers: Annotated[
        int | None, of_workers(min=1, help="Workers of the cluster; without --cluster, local.")
    ] = None
    cluster_options: Annotated[
        Path | None,
        of_workers(help="YAML mapping of further settings of the cluster's Dask class."),
    ] = None
    wait: Annotated[
        float | None, of_workers(help="Seconds without any worker after which it ends.")
    ] = None

    def settings(self, parts: tuple[str, ...] | None = None) -> Config:
        """The configuration file, overruled by the options that were given, and by what the command is about."""
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
        changes: dict[str, Any] = {
            name: value for name, value in given.items() if value is not None
        }
        return replace(
            base,
            parts=base.parts if parts is None else parts,
            allow_partial=self.allow_partial or base.allow_partial,
            margins={
                **base.margins,
                **{name: _number(name, text) for name, text in _pairs(self.margin, "--margin")},
            },
            resampling=replace(
                base.resampling, **{name: value for name, value in how.items() if value is not None}
            ),
            **changes,
        )

    def open(self, run: str) -> Store:
        """The run, and a line about where its results are kept if that is not the run itself."""
        store = open_store(run, self.results)
        if store.path != Path(run):
            log.print(
                f"results of {escape(run)} are kept in {escape(str(store.path / 'results'))}",
                soft_wrap=True,
            )
        return store

    def machine(self) -> Machine:
        """How distances are computed."""
        device, each = self.device, with_progress(here)
        if self.cluster is not None or self.workers is not None:
            asked = self._cluster()
            device, each = (
                asked.device,
                with_progress(on_cluster(cache(partial(self._connected, asked)), asked)),
            )
        return Machine(device, self.batch_size, dict(_pairs(self.weights, "--weights")), each)

    def _cluster(self) -> Cluster:
        kind = self.cluster or "local"
        device = (
            "cuda" if kind == "cuda" else self.device.partition(":")[0]
        )  # of its GPUs each worker sees one
        settings = _read_yaml(self.cluster_options) if self.cluster_options else {}
        return Cluster(kind, self.workers, device, settings, self.wait)

    def _connected(self, cluster: Cluster) -> Client:
        client = self.resources.enter_context(connected(cluster))
        log.print(f"dashboard: {client.dashboard_link}")
        return client


def analysing(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose last parameter is `Options`: its fields become options of the command line."""
    hints = get_type_hints(function, include_extras=True)
    own = [
        p.replace(annotation=hints[p.name]) for p in inspect.signature(function).parameters.values()
    ][:-1]
    kinds = get_type_hints(Options, include_extras=True)
    common = [
        inspect.Parameter(
            f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=kinds[f.name]
        )
        for f in fields(Options)[1:]
    ]

    @wraps(function)
    def command(**given: Any) -> None:
        with ExitStack() as resources:
            options = Options(resources, **{f.name: given.pop(f.name) for f in fields(Options)[1:]})
            try:
                function(**given, options=options)
            except KeyboardInterrupt:
                log.print(
                    "interrupted; what was measured is kept: run the same command to go on.",
                    soft_wrap=True,
                )
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


def with_progress(each: Each) -> Each:
    """The same with a bar."""

    def shown(
        function: Callable[[int], Any], numbers: Sequence[int], label: str
    ) -> Iterator[tuple[int, Any]]:
        from rich.progress import track

        found = each(function, numbers, label)
        yield from track(
            found, description=escape(label), total=len(numbers), console=log, transient=True
        )

    return shown
