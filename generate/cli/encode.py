"""The command `encode`: codes of real images, or ids that somebody has, as a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from generate.cli.console import out, shown
from generate.cli.options import Device
from generate.errors import GenerateError
from schemas.device import pick_device

N_SCENES = 1000


def encode(
    photos: Annotated[
        str | None,
        typer.Argument(help="Folder of pictures, or 'trio' for fresh scenes.", show_default=False),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--out", help="The run to make.", show_default=False)
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="vq, fsq, fsq-865, lfq, bsq, trio@FILE, diffusers:VQModel@DIR, "
            "transformers:JanusVQVAE@DIR, or a class of yours, 'file.py:Class'."
        ),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(help="Ids instead of pictures: .npy, (image, row, col) or (image, position)."),
    ] = None,
    codes: Annotated[int | None, typer.Option(help="Codebook size of --tokens.")] = None,
    levels: Annotated[
        str | None,
        typer.Option(help="Values of each digit of an id of --tokens, most significant first."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Name in results; default the tokenizer's.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Size of the pictures: 256 or 256x384; default its own.")
    ] = None,
    images: Annotated[int | None, typer.Option(min=1, help="Scenes to draw; default 1000.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the scenes; default 0.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures per forward pass.")] = 64,
    device: Device = "auto",
) -> None:
    """Codes of a folder of pictures, or ids as they are, become a run that `ibstats codebook` reads.

    Pictures are turned upright, cropped to the middle and resized, encoded, decoded and encoded
    again: the run says how much of each is recovered.
    """
    from generate.encode.photos import Photos, Scenes, photos_of
    from generate.encode.tokenizers import TRIO, tokenizer_of
    from generate.encode.writing import encode_images, read_ids, write

    if run is None:
        raise GenerateError("say where the run is to be made: --out RUN.")
    if (photos is None) == (tokens is None):
        raise GenerateError("give a folder of pictures with --tokenizer, or ids with --tokens.")
    if photos != TRIO and (images is not None or seed is not None):
        raise GenerateError(
            "--images and --seed are for scenes of the trio; a folder or file is taken whole."
        )
    if tokens is not None:
        if tokenizer is not None or size is not None:
            raise GenerateError("--tokens are ids already: leave --tokenizer and --size out.")
        name = name_of(label or tokens.stem)
        found = read_ids(tokens, codes, whole_numbers("--levels", levels), name)
        write(found, run, name, f"{found.n_images} grids of ids")
    else:
        assert photos is not None
        if tokenizer is None:
            raise GenerateError("say which --tokenizer encodes the pictures.")
        if codes is not None or levels is not None:
            raise GenerateError("--codes and --levels belong to --tokens; a tokenizer has its own.")
        pictures: Photos | Scenes
        if photos == TRIO:
            pictures = Scenes(images or N_SCENES, seed or 0)
        else:
            pictures = Photos(Path(photos), photos_of(Path(photos)))
        with shown() as bars:
            chosen = pick_device(device)
            found = encode_images(
                tokenizer_of(tokenizer, chosen),
                pictures,
                size=size_of(size),
                batch_size=batch_size,
                device=chosen,
                progress=bars.progress,
            )
        write(found, run, name_of(label or found.identity.model), f"{found.n_images} pictures")
    rows, cols = found.identity.grid
    out.print(
        f"{run}: {found.n_images} images, {rows} x {cols} codes of {found.identity.codebook_size}"
    )
    out.print(f"next: ibstats codebook {run}")


def name_of(text: str) -> str:
    """A text as a name in results.

    Raises GenerateError for one that cannot be.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64]
    if not name:
        raise GenerateError(f"'{text}' is no name: give --label.")
    return name


def whole_numbers(option: str, text: str | None) -> list[int]:
    """Whole numbers of 2 or more, separated by commas; none where nothing is given.

    >>> whole_numbers("--levels", "8,8,5")
    [8, 8, 5]
    """
    if text is None:
        return []
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 2:
        raise GenerateError(f"{option} is '{text}': write whole numbers of 2 or more, as 8,8,6,5.")
    return found


def size_of(text: str | None) -> tuple[int, int] | None:
    """Height and width in pixels, written `256` or `256x384`; None where nothing is given.

    >>> size_of("256"), size_of("256x384")
    ((256, 256), (256, 384))
    """
    if text is None:
        return None
    height, _, width = text.partition("x")
    try:
        found = int(height), int(width or height)
    except ValueError:
        found = 0, 0
    if min(found) < 1:
        raise GenerateError(f"--size is '{text}': write 256 or 256x384.")
    return found
