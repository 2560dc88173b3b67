"""Commands about models: `models`, `inspect`, `check`, `convert`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from generate.cli.console import out, print_table, scaled
from generate.cli.options import Device, settings_given
from generate.errors import GenerateError
from schemas.device import pick_device

if TYPE_CHECKING:
    from generate.models.public import PublicModel
    from schemas.provenance import ModelIdentity

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A known name, 'my_models.py:Class' or 'package.module:Class'."
    ),
]
Setting = Annotated[list[str] | None, typer.Option(help="A setting, name=value; may be repeated.")]


def models(
    markdown: Annotated[
        bool,
        typer.Option(help="Print the README's table instead, with presets and what was verified."),
    ] = False,
) -> None:
    """List the models that are known by name, and whether their files are in the local cache.

    Nothing is fetched.
    """
    from generate.models import catalogue

    if markdown:
        print(catalogue.markdown(), end="")
        return
    name = Column("model", no_wrap=True)
    sizes = ("size", "memory", "download")
    headings = ("family", "token grid", "codes", *sizes, "licence", "here")
    table = Table(name, *headings)
    for row in catalogue.rows():
        sizes = (row.parameters, row.weights, row.download)
        table.add_row(row.name, row.family, row.grids, row.codes, *sizes, row.licence, row.here)
    print_table(table)


def inspect(model: ModelArgument, option: Setting = None) -> None:
    """Say what a model would load and sample with, and how much of it would be fetched first.

    Fetches small files that are not in the local cache; weights are neither fetched nor loaded. What
    keys and values of an image take in memory is beside the weights, and counts for each of a batch.
    """
    from generate.models import catalogue, model_class
    from generate.models.public import PublicModel

    adapter = model_class(model)
    options = adapter.options(settings_given(option or []))
    if issubclass(adapter, PublicModel):
        identity, on_files = _of_public(adapter, model, options)
    else:
        identity, on_files = adapter.identify(model, options), []
    rows, columns = identity.grid
    height, width = identity.image_size
    table = Table("what", "value", title=model)
    table.add_row("family", identity.family)
    table.add_row("revision", identity.revision)
    table.add_row("licence", identity.licence)
    table.add_row("grid", f"{rows} x {columns}, {identity.steps} steps")
    table.add_row("image", f"{height} x {width} pixels")
    codebook = f"{identity.codebook_size} codes, {identity.capacity:g} bit, {identity.quantizer}"
    table.add_row("codebook", codebook)
    left = adapter.open_after(identity) if identity.family == "masked" else []
    shares = catalogue.thirds(identity, left)
    early = "decided by chance" if shares is None else " / ".join(map(str, shares))
    table.add_row("tokens committed by early / middle / late third of the steps", early)
    for file in identity.weights:
        described = f"{scaled(file.bytes, 'B')}, sha256 {file.sha256[:16]}"
        table.add_row(f"weights {file.name}", described)
    for what, value in on_files:
        table.add_row(what, value)
    for name, given in identity.options.items():
        table.add_row(f"option {name}", str(given))
    if issubclass(adapter, PublicModel):
        kept = adapter.bytes_of_image(options)
        if kept is not None:
            table.add_row("memory for keys and values, an image", scaled(kept, "B"))
    if adapter.card.operations:
        told = f"{adapter.card.operations:g} TFLOP an image at the default settings"
        table.add_row("operations", told)
    if adapter.card.speeds:
        table.add_row("images/s on an H200", catalogue.written(adapter.card.speeds))
    if adapter.card.verified:
        table.add_row("verified", adapter.card.verified)
    for name, settings in adapter.presets.items():
        table.add_row(f"preset {name}", _written(settings))
    print_table(table)


def check(
    model: ModelArgument,
    option: Setting = None,
    device: Device = "auto",
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="SET",
            help="Set whose first four texts are drawn: a .jsonl or .csv file, 'general', or "
            "'imagenet' for class-conditional models. Texts of our own without it.",
        ),
    ] = None,
) -> None:
    """Try a model, or an adapter of yours, on four texts: does it keep what a study relies on?

    Loads it, and samples and decodes some images that are kept nowhere. Ends with status 1 if
    something is wrong, each in a sentence.
    """
    from generate.models import model_class
    from generate.prompts.sources import load_set
    from generate.run import checking

    texts = checking.TEXTS
    if prompts is not None:
        texts = [each.text for each in load_set(prompts, "study")[: len(texts)]]
    options = model_class(model).options(settings_given(option or []))
    findings = checking.check(model, options, pick_device(device), texts=texts)
    table = Table("what a study relies on", "holds", title=model)
    for finding in findings:
        table.add_row(finding.what, finding.problem or "yes")
    print_table(table)
    n_wrong = sum(bool(finding.problem) for finding in findings)
    if n_wrong:
        raise GenerateError(
            f"model '{model}' does not keep {n_wrong} of {len(findings)} things that a study relies "
            "on: see docs/bring-your-own-model.md."
        )


def _of_public(
    adapter: type[PublicModel], model: str, options: Any
) -> tuple[ModelIdentity, list[tuple[str, str]]]:
    """What a published model is, and rows on its files: digests only of what is all here."""
    from generate.models import catalogue, hub
    from generate.models.memory import gigabytes

    found = adapter.examined(options).values()
    n_bytes = sum(checkpoint.bytes_to_fetch for checkpoint in found)
    if not n_bytes:
        needed = gigabytes(adapter.bytes_needed(options))
        return adapter.identify(model, options), [("memory for the weights", needed)]
    rows = []
    for checkpoint in found:
        for file in checkpoint.weight_files:
            where = "here" if file.is_here else "not here yet"
            rows.append((f"weights {file.name}", f"{scaled(file.n_bytes, 'B')}, {where}"))
    rows.append(("memory for the weights, default settings", catalogue.memory_of(adapter)))
    free = gigabytes(hub.free_for_cache())
    rows.append(("to fetch", f"{gigabytes(n_bytes)} into {hub.cache_folder()}, {free} free"))
    return adapter.foreseen(model, options), rows


def _written(settings: Mapping[str, Any]) -> str:
    """Settings as they are given on the command line."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def convert(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder or hub name that holds pickles.")
    ],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the safetensors.")],
) -> None:
    """Rewrite pickled weights (LlamaGen's .pt files) as safetensors, once.

    Then name the new folder as checkpoint. Pickles can hold code; none of it is run.
    """
    from generate.models.checkpoint import convert as rewrite

    for path in rewrite(checkpoint, out_dir):
        out.print(f"{path}")
