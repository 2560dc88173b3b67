"""One file: what it holds, and its samples as arrays."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
import zarr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError, unknown
from ibstats.importing.allowed import Keep, check_allowed
from ibstats.importing.layout import Layout
from schemas.io.arrays import array_names, read_array, read_arrays
from schemas.io.files import file_sha256
from schemas.variables import VARIABLES

if TYPE_CHECKING:
    from PIL.Image import Image

Item = TypeVar("Item")
Made = TypeVar("Made")

AT_ONCE = 16
"""Files that a thread reads before it hands them over."""
ARRAYS = (".npy", ".npz")
ZARR = ".zarr"
"""Endings of files of arrays, and of folders that are one."""
SHAPES = {1: "(step,)", 2: "(row, col)", 3: "(y, x, channel)"}
"""Dims of one sample, by their number."""
WHOLE = {"tokens": "codes", "token_step": "steps"}
"""Variables that are whole numbers from 0, and what these are."""
BITS = ("token_surprisal", "token_entropy", "path_surprisal", "joint_surprisal")
"""Variables in bits, which are not below 0."""
ROUNDING = 1e-3
"""Bits below 0 that rounding may leave."""
OPAQUE = ("RGB", "L", "P", "1")
"""Kinds of picture that are RGB without a choice."""
WITH_ALPHA = ("RGBA", "LA", "PA")
ORIENTATION = 0x0112
"""Tag of EXIF that says how a picture is to be turned."""
UPRIGHT = 1
SIDEWAYS = (5, 6, 7, 8)
"""Orientations that exchange width and height."""


@dataclass(frozen=True)
class Source:
    """The files of one variable of the store."""

    variable: str
    """Name of the variable: image, tokens, token_surprisal and the like."""
    layout: Layout
    grid: tuple[int, int] | None = None
    """Rows and columns, where grids are stored flat."""

    def read(self, file: Path) -> NDArray[Any]:
        """Give the samples in a file: (sample, y, x, channel) of images, (sample, row, col) else.

        Raises IbstatsError for what cannot be read, is no 8-bit RGB, or has other dims.
        """
        if file.suffix.lower() == ZARR:
            return self._shaped(self._zarr(file), file)
        if file.suffix.lower() in ARRAYS:
            return self._shaped(self._array(file), file)
        if self.variable != "image":
            raise IbstatsError(
                f"'{file}' holds no `{self.variable}`: give .npy, .npz or .zarr files"
            )
        return picture(file)[None]

    def inspect(self, file: Path, keep: Keep | None = None) -> Inspected:
        """Give what a file holds without keeping it; its tokens are held to the codes of `keep`.

        Raises IbstatsError as `read` does, and for a token that is not allowed.
        """
        ending = file.suffix.lower()
        if self.variable == "image" and ending not in (*ARRAYS, ZARR):
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            return Inspected(1, size_of(io.BytesIO(content), file), digest, -1)
        digest = folder_sha256(file) if ending == ZARR else file_sha256(file)
        values = self.read(file)
        highest = -1
        if self.variable == "tokens":
            highest = int(values.max(initial=0))
            if keep is not None and highest < len(keep):
                check_allowed(values, keep, f"'{file}'")
        return Inspected(len(values), values.shape[1:], digest, highest)

    def _array(self, file: Path) -> NDArray[Any]:
        """The array of a file."""
        if file.suffix.lower() == ".npy":
            return read_array(file)
        key = self._name(array_names(file), file)
        return read_arrays(file, [key])[key]

    def _zarr(self, file: Path) -> NDArray[Any]:
        """The array of a Zarr folder, or that of its name in a group."""
        try:
            found = zarr.open(file, mode="r")
            if isinstance(found, zarr.Group):
                arrays = dict(found.arrays())
                found = arrays[self._name(list(arrays), file)]
            return np.asarray(found[...])
        except IbstatsError:
            raise
        except Exception as error:  # whatever a library makes of what is no Zarr, or damaged
            raise IbstatsError(f"'{file}' cannot be read ({_line(error)})") from None

    def _name(self, names: Sequence[str], file: Path) -> str:
        """The name of the array meant among those that a file holds."""
        key = self.layout.key
        if not key and len(names) == 1:
            return names[0]
        if key and names and key not in names:
            raise unknown(f"array in '{file}'", key, names)
        if key not in names:
            raise IbstatsError(
                f"'{file}' holds {', '.join(names) or 'nothing'}; say which of them, as in "
                f"'{{prompt}}{file.suffix}:NAME'"
            )
        return key

    def _shaped(self, values: NDArray[Any], file: Path) -> NDArray[Any]:
        """The array with one dim of samples, checked."""
        shape = values.shape
        if self.layout.per_sample:
            values = values[None]
        if self.grid is not None and values.ndim == 2:
            rows, cols = self.grid
            if values.shape[1] != rows * cols:
                raise IbstatsError(
                    f"'{file}' holds {values.shape[1]} tokens a sample, not {rows} x {cols}"
                )
            values = values.reshape(len(values), rows, cols)
        dims = n_dims(self.variable)
        if values.ndim != 1 + dims:
            lead = "(sample, ...) of "
            if self.layout.per_sample:
                lead = ""
            raise IbstatsError(
                f"'{file}' holds an array of shape {shape}, but `{self.variable}` is {lead}"
                f"{SHAPES[dims]}; --grid says the rows and columns of flat tokens"
            )
        check_values(self.variable, values, f"'{file}'")
        return values


@dataclass(frozen=True)
class Inspected:
    """What a file holds."""

    n_samples: int
    shape: tuple[int, ...]
    """Of one sample: height, width and channel, or rows and columns."""
    sha256: str
    highest: int
    """Highest code; -1 where there are no tokens."""


def of_each(
    pool: ThreadPoolExecutor, function: Callable[[Item], Made], items: Sequence[Item]
) -> Iterator[Made]:
    """Give what a function makes of every item, in their order, by the threads of a pool.

    A thread takes several items at a time, which saves it from being asked for each. Raises what the
    function raises, at the place of the item.
    """
    groups = [items[first : first + AT_ONCE] for first in range(0, len(items), AT_ONCE)]
    return chain.from_iterable(pool.map(lambda group: list(map(function, group)), groups))


def folder_sha256(folder: Path) -> str:
    """Give a digest of all files below a folder and their names in it, as 64 hex digits."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            line = f"{file.relative_to(folder).as_posix()} {file_sha256(file)}\n"
            digest.update(line.encode())
    return digest.hexdigest()


def n_dims(variable: str) -> int:
    """Give the number of dims of one sample of a variable of the store.

    >>> n_dims("image"), n_dims("tokens"), n_dims("path_surprisal")
    (3, 2, 1)
    """
    dims = VARIABLES[variable].dims
    return len(dims) - dims.index("sample") - 1


def check_values(variable: str, values: NDArray[Any], where: str) -> None:
    """Refuse samples (sample, ...) that are not what a variable of the store holds.

    `where` begins the message: what holds them. Raises IbstatsError for images that are no 8-bit
    RGB, codes and steps that are no whole numbers from 0, and bits that are not finite or below 0.
    """
    if variable == "image":
        if values.dtype != np.uint8 or values.shape[-1] != 3:
            raise IbstatsError(
                f"{where} holds {values.dtype} with {values.shape[-1]} channels, but images are "
                "8-bit RGB (uint8, 3 channels last); convert it first"
            )
    elif variable in WHOLE:
        called = WHOLE[variable]
        if values.dtype.kind not in "ui":
            raise IbstatsError(f"{where} holds {values.dtype}, but {called} are whole numbers")
        if int(values.min(initial=0)) < 0:
            raise IbstatsError(f"{where} holds {values.min()}; {called} run from 0")
    elif values.dtype.kind not in "uif" or not np.isfinite(values).all():
        raise IbstatsError(f"`{variable}` in {where} has values that are not finite numbers")
    elif variable in BITS and float(values.min(initial=0)) < -ROUNDING:
        raise IbstatsError(
            f"`{variable}` in {where} goes down to {values.min():g}, but it is in bits and never "
            "below 0; divide a log-probability in nats by -ln 2"
        )


def size_of(content: BinaryIO, file: Path) -> tuple[int, int, int]:
    """Give height, width and channels of a picture, from its head alone.

    `content` is what the file holds. Raises IbstatsError, which names the file, if it is none.
    """
    from PIL import Image as pil

    try:
        with pil.open(content) as image:
            width, height = image.size
            if orientation(image) in SIDEWAYS:
                width, height = height, width
    except (OSError, SyntaxError, ValueError, pil.DecompressionBombError) as error:
        raise IbstatsError(f"'{file}' is not a readable image ({_line(error)})") from None
    return height, width, 3


def picture(file: Path) -> NDArray[np.uint8]:
    """Give a picture as 8-bit RGB, (y, x, channel), upright as its EXIF orientation says.

    Greys and palettes become RGB; what would lose something, transparency or 16 bits, is an
    IbstatsError, as is a file that is damaged.
    """
    from PIL import Image as pil

    try:
        with pil.open(file) as image:
            return rgb(image, f"'{file}'")
    except (OSError, SyntaxError, ValueError, pil.DecompressionBombError) as error:
        if isinstance(error, IbstatsError):
            raise
        raise IbstatsError(f"'{file}' is not a readable image ({_line(error)})") from None


def rgb(image: Image, where: str) -> NDArray[np.uint8]:
    """Give a picture of Pillow as 8-bit RGB, (y, x, channel), upright as its EXIF orientation says.

    `where` begins the message of the IbstatsError for transparency and for more than 8 bits.
    """
    from PIL import ImageOps

    turned = orientation(image) != UPRIGHT
    if image.mode in WITH_ALPHA:
        alpha = image.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            raise IbstatsError(f"{where} is transparent; put it on a background and save it as RGB")
    elif image.mode not in OPAQUE:
        raise IbstatsError(f"{where} is of kind {image.mode}; save it as 8-bit RGB")
    if turned:
        image = ImageOps.exif_transpose(image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return np.asarray(image)


def orientation(image: Image) -> int:
    """Give the EXIF orientation in the head of a picture, `UPRIGHT` where there is none.

    A PNG is not decoded for it, so it must stand before the pixels there.
    """
    if image.format == "PNG" and "exif" not in image.info:
        return UPRIGHT
    return int(image.getexif().get(ORIENTATION, UPRIGHT))


def _line(error: Exception) -> str:
    """The first line of an error of a library."""
    return (str(error).splitlines() or [type(error).__name__])[0]
