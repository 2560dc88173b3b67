"""A reference set made of images, or of the moments that another program made of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ibstats.errors import IbstatsError, Unmeasurable, unknown
from ibstats.kernels.frechet import Target
from ibstats.measure.base import Embedding, Features, Images
from ibstats.measure.each import Each
from ibstats.measure.machine import Machine
from ibstats.measure.reference_set.file import declared, write
from ibstats.measure.reference_set.moments import Moments
from ibstats.measure.reference_set.pictures import NOTES, pictures_of, rgb
from ibstats.measure.reference_set.sources import (
    HUB,
    RESIZE,
    images_in,
    images_of,
    parsed_size,
    prepare,
)
from schemas.reference_set import ReferenceSet
from schemas.version import __version__

if TYPE_CHECKING:
    from PIL.Image import Image

KEEP = 5000
"""Images whose features are kept for kernel distances; a random choice when there are more."""


def build(
    source: str,
    out: Path,
    *,
    network: str = "inception",
    size: str | None = None,
    resize: str = "centre-crop",
    n_images: int | None = None,
    split: str | None = None,
    column: str | None = None,
    name: str | None = None,
    machine: Machine | None = None,
) -> ReferenceSet:
    """Make a set from a folder, a data set or another program's moments (.npz), and write it; all
    or nothing.

    `network` is any that `ibstats.measure.network` knows; `size` reads `256` or `256x384` (height x width) and is by
    default that of the first image; `resize` is a rule of `RESIZE`; `n_images` takes the first so
    many. Of moments `size` and `n_images` must be declared. `split` and `column` are those of a
    data set, `name` what results call the set, by default its source. Raises IbstatsError for
    anything that does not fit, and MissingWeights of the network's.
    """
    if n_images is not None and n_images < 2:
        raise IbstatsError(f"images is {n_images}, but a distribution needs two or more")
    machine = machine or Machine()
    chosen = machine.network(network)
    of_hub = source.startswith(HUB)
    called = name
    if not called:
        called = source if of_hub else Path(source).stem
    shape = None
    if size is not None:
        shape = parsed_size(size)

    if Path(source).suffix == ".npz":
        if not Path(source).is_file():
            raise IbstatsError(
                f"no file '{source}'; give one with moments, as FID tools write them"
            )
        if shape is None or n_images is None:
            raise IbstatsError(
                f"'{source}' does not say at which size and of how many images it was made; "
                "declare both: --size 256 --images 40504"
            )
        record, target = declared(
            Path(source),
            name=called,
            network=network,
            settings=chosen.asked(),
            size=shape,
            n=n_images,
            n_features=_n_features(chosen, shape),
        )
    else:
        passed_over = 0
        if of_hub:
            found = images_of(source, split=split, column=column)
        else:
            there = pictures_of(Path(source))
            passed_over = there.passed_over
            found = _read(there.files[:n_images], machine.each, called)
        record, target = make(found, chosen, name=called, size=shape, resize=resize, limit=n_images)
        record = record.model_copy(update={"passed_over": passed_over})
    write(record, target, out)
    return record


def _read(files: list[Path], each: Each, label: str) -> Iterator[tuple[str, Image]]:
    """Name and image of each file, told of by the label."""

    def image(number: int) -> tuple[str, Image]:
        """Name and image of one file."""
        return next(images_in([files[number]]))

    for _, named_image in each(image, range(len(files)), label):
        yield named_image


def make(
    images: Iterable[tuple[str, Image]],
    network: Embedding,
    *,
    name: str,
    size: tuple[int, int] | None = None,
    resize: str = "centre-crop",
    limit: int | None = None,
    keep: int = KEEP,
    seed: int = 0,
) -> tuple[ReferenceSet, Target]:
    """Give record and statistics of the features of prepared images, in one pass.

    `images` are names and images, of which the first `limit` are taken; without `size` (height,
    width) all must have that of the first one. Memory holds a batch and the features of `keep`
    images. Raises IbstatsError for an unknown rule, an image that does not fit it, or fewer than
    two images.
    """
    if resize not in RESIZE:
        raise unknown("resize rule", resize, RESIZE)
    settings = network.settings()
    moments = Moments(keep, seed)
    pixels = hashlib.sha256()
    batch: list[Images] = []
    treated: Counter[str] = Counter()
    for number, (where, image) in enumerate(images):
        if limit is not None and number == limit:
            break
        try:
            picture = rgb(image)
            if size is None:
                size, resize = (picture.height, picture.width), "none"
            batch.append(prepare(picture, size, resize))
        except IbstatsError as error:
            raise IbstatsError(f"'{where}': {error}") from None
        treated.update(picture.info[NOTES])
        pixels.update(batch[-1].tobytes())
        if len(batch) == network.batch_size:
            moments.add(_coordinates(network, batch))
            batch = []
    if batch:
        moments.add(_coordinates(network, batch))
    if moments.n < 2 or size is None:
        raise IbstatsError(
            f"{moments.n} image(s) in '{name}', but a distribution needs two or more"
        )
    target = moments.target()
    record = ReferenceSet(
        name=name,
        network=network.name,
        settings=settings,
        size=size,
        resize=resize,
        n_images=moments.n,
        n_features_kept=len(moments.sample),
        dimensions=len(target.mean),
        images_sha256=pixels.hexdigest(),
        pictures=dict(sorted(treated.items())),
        made=f"ibstats {__version__}",
    )
    return record, target


def _n_features(network: Embedding, size: tuple[int, int]) -> int | None:
    """How many features a network has, by those of a grey image; None where its weights lack."""
    if network.n_features is not None:
        return network.n_features
    grey = np.full((*size, 3), 128, dtype=np.uint8)
    try:
        return int(_coordinates(network, [grey]).shape[1])
    except Unmeasurable:
        return None


def _coordinates(network: Embedding, batch: list[Images]) -> Features:
    """The columns of a network's features that distances between sets use."""
    return network.coordinates(network.embed(np.stack(batch)))
