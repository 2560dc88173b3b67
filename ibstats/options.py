"""Options that analysing commands share, each offered where it means something, and what they become.

They become settings, a run, a machine. The options that change numbers are the fields of `schemas.analysis.Config`,
which say whose numbers; those of the machine stand here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import cache, partial, wraps
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import typer
import yaml
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.markup import escape

from ibstats.errors import IbstatsError
from ibstats.quantities import by_user
from schemas.analysis import IMAGES, OF_IMAGES, PARTS, Config, Part, Resampling, from_plain
from schemas.device import device_of_workers, pick_device
from schemas.errors import broken_off
from schemas.io.cluster import Cluster, connected
from schemas.io.disk import disk_told
from schemas.io.yaml_text import read_yaml as parsed
from schemas.progress import FIRST, HELP, Lines, Progress, Shown, silent, way

if TYPE_CHECKING:
    from distributed import Client

    from ibstats.measure import Each, Machine
    from ibstats.store import Store
    from schemas.store import Block

Item = TypeVar("Item")

log = Console(stderr=True, markup=False, emoji=False)

of_images = partial(typer.Option, rich_help_panel=IMAGES)
of_workers = partial(typer.Option, rich_help_panel="Workers of the image pass")


@dataclass(frozen=True)
class MachineOptions:
    """Options that change speed and places, not numbers.

    Each field is an option, by its own name: of every analysing command those of `ANYWHERE`, the
    others of those that read images.
    """

    config: Annotated[
        Path | None, typer.Option(help="Settings in YAML; options given here win over it.")
    ] = None
    device: Annotated[
        str, of_images(help="Of network distances: auto, cpu, cuda, cuda:N or mps.")
    ] = "cpu"
    batch_size: Annotated[int, of_images(min=1, help="Images per forward pass.")] = 64
    weights: Annotated[
        list[str] | None,
        of_images(help="Weight file of a network, for instance lpips_alex=PATH or inception=PATH."),
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
    progress: Annotated[Shown, typer.Option(help=HELP)] = Shown.auto


@dataclass(frozen=True)
class Options:
    """What a command was given: settings by name, and the machine.

    Made by `analysing`, of what the command line holds.
    """

    given: Mapping[str, Any]
    """Settings named on the command line, by field."""
    own: MachineOptions
    resources: ExitStack
    """What a command opened, closed when it ends."""

    def settings(self, parts: tuple[str, ...] | None = None) -> Config:
        """The settings of the analysis: the configuration file, overruled by the options given.

        `parts` are what the command is about; None leaves them as they are. Raises IbstatsError for
        a file that is no mapping, and for unknown keys or values that do not fit.
        """
        base = from_plain(read_yaml(self.own.config) if self.own.config else {})
        changes: dict[str, Any] = {}
        how: dict[str, Any] = {}
        for name, value in self.given.items():
            if name in Resampling.model_fields:
                how[name] = value
            elif name == "margins":
                changes[name] = {**base.margins, **_margins(value)}
            else:
                changes[name] = tuple(value) if isinstance(value, list) else value
        if parts is not None:
            changes["parts"] = parts
        return base.but(resampling=base.resampling.but(**how), **changes)

    def open(self, run: str) -> Store:
        """The run of that folder or URL, see `ibstats.store.open_store`.

        Says on stderr where its results are kept, if that is not the run itself.
        """
        from ibstats.store import open_store

        store = open_store(run, self.own.results)
        self.resources.enter_context(disk_told(store.results.root))
        if store.path != Path(run):
            log.print(
                f"results of {run} are kept in {store.results.root}",
                soft_wrap=True,
            )
        return store

    def machine(self) -> Machine:
        """How distances and features are computed: device, batches, weights, and where.

        A cluster starts when the first image pass needs it, and ends with the command.
        """
        from ibstats.measure import Machine, here, on_cluster

        each = with_progress(here, self.own.progress)
        if self.own.cluster is not None or self.own.workers is not None:
            asked = self._cluster()
            connect = cache(partial(self._connected, asked))
            device, each = (
                asked.device,
                with_progress(on_cluster(connect, asked), self.own.progress),
            )
        else:
            device = pick_device(self.own.device)
        weights = dict(_pairs(self.own.weights, "--weights"))
        return Machine(device, self.own.batch_size, weights, each, self._progress())

    def _progress(self) -> Progress:
        """Lines in a log on work that goes over no prompts; nothing on a terminal, or as asked."""
        on_terminal = log.is_terminal and log.is_interactive
        if way(self.own.progress, on_terminal=on_terminal) != "plain":
            return silent
        lines = Lines(partial(log.print, soft_wrap=True), "steps", quick=FIRST)
        return self.resources.enter_context(lines).progress

    def _cluster(self) -> Cluster:
        kind = self.own.cluster or "local"
        device = device_of_workers(kind, self.own.device)
        settings = read_yaml(self.own.cluster_options) if self.own.cluster_options else {}
        return Cluster(kind, self.own.workers, device, settings, self.own.wait)

    def _connected(self, cluster: Cluster) -> Client:
        client = self.resources.enter_context(connected(cluster))
        log.print(f"dashboard: {client.dashboard_link}")
        return client


KNOWN = {"metrics": "distance", "scores": "score"}
"""Settings that take names of a family of quantities."""


ANYWHERE = ("config", "results")
"""Machine options that do not concern the image pass."""


def analysing(
    *parts: Part, without: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function whose last parameter is `Options`.

    Each setting and machine option that changes what the command shows becomes an option of its
    own: `parts` are those of an analysis that it shows, all if none is named; `without` are options
    of these parts that it has no use for. Ctrl-C ends it with status 130; what was measured by then
    is kept.
    """
    shown = set(parts or PARTS)
    settings = {}
    for option, field in _setting_parameters().items():
        if shown & set(_extra(field)["parts"]) and option not in without:
            settings[option] = field
    machine = {}
    for name, parameter in _machine_parameters().items():
        of_use = name in ANYWHERE or shown & set(OF_IMAGES)
        if of_use and name not in without:
            machine[name] = parameter
    return partial(_command, settings, machine)


def _command(
    settings: Mapping[str, str],
    machine: Mapping[str, inspect.Parameter],
    function: Callable[..., None],
) -> Callable[..., None]:
    """The function with an option for each of these settings, by option, and machine options."""
    hints = get_type_hints(function, include_extras=True)
    own = []
    for parameter in list(inspect.signature(function).parameters.values())[:-1]:
        keyword = parameter.replace(
            annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY
        )
        own.append(keyword)

    @wraps(function)
    def command(**given: Any) -> None:
        """The command, with the options taken out of what typer gives."""
        named: dict[str, Any] = {}
        for option, field in settings.items():
            value = given.pop(option)
            if value is not None and value is not False:
                named[field] = value
        place = MachineOptions(**{name: given.pop(name) for name in machine})
        with ExitStack() as resources:
            try:
                function(**given, options=Options(named, place, resources))
            except KeyboardInterrupt:
                broken_off()
                log.print(
                    "interrupted; what was measured is kept: run the same command to go on.",
                    soft_wrap=True,
                )
                raise typer.Exit(130) from None

    shown = [*own, *map(_parameter, settings, settings.values()), *machine.values()]
    command.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


def _extra(field: str) -> dict[str, Any]:
    """What `schemas.analysis.option` says of a setting."""
    info = Resampling.model_fields.get(field) or Config.model_fields[field]
    assert isinstance(info.json_schema_extra, dict)
    return info.json_schema_extra


@cache
def _setting_parameters() -> dict[str, str]:
    """By the name of the option, the field of the settings that it sets."""
    found = {}
    for model in (Config, Resampling):
        for name, field in model.model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict):
                found[str(extra["option"])] = name
    return found


def _parameter(option: str, name: str) -> inspect.Parameter:
    """A setting as a parameter of a command; None, or False of a flag, where it is not given."""
    field = Resampling.model_fields.get(name) or Config.model_fields[name]
    extra = _extra(name)
    flag = f"--{option.replace('_', '-')}"
    panel = str(extra["panel"]) or None
    told = typer.Option(flag, help=_help(name, field), rich_help_panel=panel)
    kind, default = _kind(field)
    annotation: Any = Annotated[kind, told]
    return inspect.Parameter(
        option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _kind(field: FieldInfo) -> tuple[Any, Any]:
    """Type of an option on the command line, and what it is where it is not given."""
    if field.annotation is bool:
        return bool, False
    if get_origin(field.annotation) in (tuple, dict):
        return list[str] | None, None
    for kind in (field.annotation, *get_args(field.annotation)):
        if kind in (int, float):
            return kind | None, None
    return str | None, None


def _help(name: str, field: FieldInfo) -> str:
    """What a setting means, what may be given, and what stands where nothing is."""
    parts = [str(field.description)]
    if name in KNOWN:
        names = ", ".join(by_user(KNOWN[name]))  # type: ignore[arg-type]
        parts.append(f"Known: {names}.")
    if get_origin(field.annotation) is Literal:
        parts.append(f"One of {', '.join(map(str, get_args(field.annotation)))}.")
    if get_origin(field.annotation) in (tuple, dict):
        parts.append("Repeat for more.")
    elif field.default not in (None, False):
        parts.append(f"Default {field.default}.")
    return " ".join(parts)


@cache
def _machine_parameters() -> dict[str, inspect.Parameter]:
    """Options of the machine as parameters of a command."""
    kinds = get_type_hints(MachineOptions, include_extras=True)
    found = {}
    for field in fields(MachineOptions):
        found[field.name] = inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=kinds[field.name],
        )
    return found


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; an empty file is an empty mapping.

    Raises IbstatsError if there is no such file, it is no YAML, or it holds no mapping.
    """
    if not file.is_file():
        raise IbstatsError(f"no settings file '{file}'")
    try:
        content = parsed(file.read_text("utf-8")) or {}
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise IbstatsError(f"'{file}' is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise IbstatsError(f"'{file}' must hold settings as `key: value` lines")
    return content


def _pairs(values: list[str] | None, option: str) -> list[tuple[str, str]]:
    """NAME=VALUE of a repeated option."""
    made = []
    for value in values or []:
        name, separator, content = value.partition("=")
        if not separator:
            raise IbstatsError(f"{option} is {value!r}, but must read NAME=VALUE")
        made.append((name, content))
    return made


def _margins(values: list[str]) -> dict[str, float]:
    """Margins by the name of a distance."""
    found = {}
    for name, text in _pairs(values, "--margin"):
        try:
            found[name] = float(text)
        except ValueError:
            raise IbstatsError(f"the margin of {name} is {text!r}, but must be a number") from None
    return found


def with_progress(each: Each, asked: Shown = Shown.auto) -> Each:
    """A way to go over prompts that shows progress on stderr while it does.

    `each` is the way it goes; results are the same and come in the same order. `asked` says how
    progress is shown.
    """

    def shown(
        function: Callable[[int], Any], numbers: Sequence[int], label: str
    ) -> Iterator[tuple[int, Any]]:
        """A number and its result, with the bar moved on."""
        found = each(function, numbers, label)
        yield from followed(found, label, len(numbers), "prompts", asked)

    return shown


def each_block(blocks: Iterable[Block], asked: Shown = Shown.auto) -> Iterator[Block]:
    """Blocks one by one, with progress on stderr.

    It moves when the next block is asked for, so it counts those that are done.
    """
    blocks = list(blocks)
    yield from followed(blocks, "importing", len(blocks), "blocks", asked)


def followed(
    items: Iterable[Item], label: str, total: int, unit: str, asked: Shown
) -> Iterator[Item]:
    """Items one by one, with a bar that goes away when it is full, or plain lines in a log.

    An item counts as done when the next one is asked for; `unit` is what they are.
    """
    from rich.progress import track

    chosen = way(asked, on_terminal=log.is_terminal and log.is_interactive)
    if chosen == "bars":
        yield from track(items, description=escape(label), total=total, console=log, transient=True)
    elif chosen == "plain":
        with Lines(partial(log.print, soft_wrap=True), unit) as lines:
            lines.progress(label, 0, total)
            for number, item in enumerate(items, 1):
                yield item
                lines.progress(label, number, total)
    else:
        yield from items
