"""Where the images of a reference set come from, and how they are brought to one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ibstats.errors import IbstatsError, unknown
from ibstats.measure.base import Images
from ibstats.measure.reference_set.pictures import pictures_of, rgb

if TYPE_CHECKING:
    from PIL.Image import Image

RESIZE = {
    "centre-crop": "shorter side to the size, antialiased (PIL, Lanczos), then the centre",
    "stretch": "both sides to the size, antialiased (PIL, Lanczos)",
    "none": "as they are; all must have the size",
}
"""How images of any size are brought to one."""

HUB = "hf:"
"""What data sets begin with."""


def prepare(image: Image, size: tuple[int, int], resize: str) -> Images:
    """Give one RGB image `(y, x, channel)`, 8-bit, of that height and width, by a rule of `RESIZE`.

    Raises IbstatsError if the rule is `none` and the image has another size, and for pixels that
    `pictures.rgb` has no rule for.

    >>> import PIL.Image
    >>> prepare(PIL.Image.new("L", (40, 30)), (8, 16), "centre-crop").shape
    (8, 16, 3)
    """
    from PIL.Image import Resampling

    height, width = size
    picture = rgb(image)
    if picture.size == (width, height):
        return np.asarray(picture)
    if resize == "none":
        raise IbstatsError(
            f"it is {picture.height}x{picture.width}, not {height}x{width}; choose --resize "
            "centre-crop or stretch"
        )
    box = None
    if resize == "centre-crop":
        scale = max(width / picture.width, height / picture.height)
        left, right = _middle(width / scale, picture.width)
        top, bottom = _middle(height / scale, picture.height)
        box = (left, top, right, bottom)
    return np.asarray(picture.resize((width, height), Resampling.LANCZOS, box))


def _middle(length: float, side: int) -> tuple[float, float]:
    """Both ends of the middle part of a side; rounding never leads out of the picture."""
    start = (side - length) / 2
    return max(start, 0.0), min(start + length, float(side))


def parsed_size(text: str) -> tuple[int, int]:
    """Give height and width, in pixels, of a text like `256` or `256x384`; IbstatsError for another
    one.

    >>> parsed_size("256"), parsed_size("256x384")
    ((256, 256), (256, 384))
    """
    parts = text.lower().split("x")
    whole = all(part.isdigit() and int(part) > 0 for part in parts)
    if len(parts) > 2 or not whole:
        raise IbstatsError(f"size is {text!r}, but must read 256 or 256x384 (height x width)")
    return int(parts[0]), int(parts[-1])


def images_of(
    source: str, *, split: str | None = None, column: str | None = None
) -> Iterator[tuple[str, Image]]:
    """Give name and image, one by one, of a folder or of a data set.

    A data set is `hf:NAME` of the hub or `hf:FOLDER` of this machine; `split` and `column` name one
    of several. Raises IbstatsError for a source that cannot be opened or read, or where a choice is
    missing.
    """
    if source.startswith(HUB):
        yield from _data_set(source.removeprefix(HUB), split, column)
        return
    yield from images_in(image_files(Path(source)))


def image_files(folder: Path) -> list[Path]:
    """Give image files of a folder and those inside it, sorted by name; IbstatsError if there are
    none. `pictures.pictures_of` says which are taken.
    """
    return pictures_of(folder).files


def images_in(files: Iterable[Path]) -> Iterator[tuple[str, Image]]:
    """Give name and image of each file, as `pictures.rgb` makes it; the first that cannot be read is
    an IbstatsError that names it.
    """
    from PIL import Image as pil

    for file in files:
        try:
            with pil.open(file) as image:
                image.load()
                picture = rgb(image)
        except IbstatsError as error:
            raise IbstatsError(f"'{file}': {error}") from None
        except MemoryError:
            raise
        except Exception as error:  # the readers of damaged files raise classes of every kind
            reason = " ".join(str(error).split()) or type(error).__name__
            raise IbstatsError(
                f"'{file}' is not a readable image ({reason[:200]}); nothing was written: replace "
                "or remove it and run again"
            ) from None
        yield str(file), picture


def _data_set(name: str, split: str | None, column: str | None) -> Iterator[tuple[str, Image]]:
    try:
        import datasets
    except ImportError:
        raise IbstatsError(
            "data sets need the package datasets; pip install 'ibstats[quality]'"
        ) from None
    try:
        rows = _rows(name, split)
    except IbstatsError:
        raise
    except Exception as error:  # the library raises classes of many packages
        raise IbstatsError(
            f"data set '{name}' cannot be opened ({' '.join(str(error).split())[:200]})"
        ) from None
    found = []
    for key, kind in (rows.features or {}).items():
        if isinstance(kind, datasets.Image):
            found.append(key)
    chosen = _choice(column, found, "image column")
    for number, image in enumerate(_column(rows, chosen, name)):
        where = f"{name}, row {number}"
        if image is None:
            raise IbstatsError(f"'{where}' holds no image in '{chosen}'; leave such rows out")
        try:
            picture = rgb(image)
        except IbstatsError as error:
            raise IbstatsError(f"'{where}': {error}") from None
        yield where, picture


def _column(rows: Any, chosen: str, name: str) -> Iterator[Any]:
    """The images of a data set, one by one; an IbstatsError for what its library cannot read."""
    following = iter(rows)
    number = 0
    while True:
        try:
            row = next(following, None)
        except Exception as error:  # the library raises classes of many packages
            reason = " ".join(str(error).split()) or type(error).__name__
            raise IbstatsError(
                f"'{name}, row {number}' cannot be read ({reason[:200]}); nothing was written"
            ) from None
        if row is None:
            return
        yield row[chosen]
        number += 1


def _rows(name: str, split: str | None) -> Any:
    """One split of a data set, of this machine if that is a folder written by `save_to_disk`, else
    of the hub.
    """
    import datasets

    folder = Path(name)
    if (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file():
        loaded: Any = datasets.load_from_disk(name)
        if not isinstance(loaded, dict):
            return loaded
        return loaded[_choice(split, list(loaded), "split")]
    chosen = _choice(split, datasets.get_dataset_split_names(name), "split")
    return datasets.load_dataset(name, split=chosen, streaming=True)


def _choice(wanted: str | None, known: list[str], kind: str) -> str:
    """What was asked for, or the only one there is."""
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted in known:
        return str(wanted)
    if wanted is None:
        raise IbstatsError(f"name one {kind} of: {', '.join(known) or 'none there'}")
    raise unknown(kind, wanted, known)
