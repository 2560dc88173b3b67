"""Statistics of reference images, once for many runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ibstats.cli.console import say
from ibstats.options import with_progress
from schemas.device import pick_device
from schemas.progress import HELP, Shown


def reference(
    source: Annotated[
        str,
        typer.Argument(help="Folder of images, hf:NAME of a data set, or .npz with mu and sigma."),
    ],
    file: Annotated[Path, typer.Option("--out", help="The reference set to write.")],
    size: Annotated[
        str | None, typer.Option(help="Size of the images compared: 256 or 256x384.")
    ] = None,
    resize: Annotated[str, typer.Option(help="centre-crop, stretch or none.")] = "centre-crop",
    network: Annotated[
        str,
        typer.Option(
            help="inception (fid, kid), dinov2 (fd_dinov2), clip_336 (cmmd), efficientnet_lite0, "
            "owner/name of the hub, a folder, or file.py:Class of your own (fd, prdc)."
        ),
    ] = "inception",
    images: Annotated[
        int | None, typer.Option(help="Images to take, or that an imported .npz was made of.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set.")] = None,
    column: Annotated[
        str | None, typer.Option(help="Column of the data set that holds the images.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name in the results; default that of the source.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "cpu",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 64,
    weights: Annotated[str | None, typer.Option(help="Weight file of the network.")] = None,
    progress: Annotated[Shown, typer.Option(help=HELP)] = Shown.auto,
) -> None:
    """Statistics of reference images for fid and kid: one file that says how its images were prepared."""
    from ibstats.measure import Machine, here
    from ibstats.measure.reference_set.making import build

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
        machine=Machine(
            pick_device(device),
            batch_size,
            {network: weights} if weights else {},
            with_progress(here, progress),
        ),
    )
    height, width = found.size
    say(
        f"{file}: {found.n_images} images of '{found.name}' at {height}x{width} ({found.resize}), "
        f"{found.dimensions} features of '{found.network}', {found.n_features_kept} rows kept for "
        "kernel distances"
    )
    treated = dict(found.pictures)
    if found.passed_over:
        treated["files passed over"] = found.passed_over
    if treated:
        say("; ".join(f"{what}: {number}" for what, number in treated.items()))
