"""Picture files: which of a folder are taken, and how each becomes 8-bit RGB, by stated rules.

What a picture shows depends on more than its numbers: on how many bits they have, how the camera
was held, what is transparent, how many frames there are. `rgb` has one rule for each, and says
which it used; a form without a rule is refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from ibstats.errors import IbstatsError

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose

PLAIN = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"})
"""Pixel modes of Pillow that it converts to 8-bit RGB without loss but of rounding."""
TRANSPARENT = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
"""Modes with an alpha channel; those above may have a transparent colour too."""
SIXTEEN_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
"""Grey levels of 16 bits: divided by 257, so that white stays white."""
SIXTEEN_BIT_FORMATS = frozenset({"PNG", "PPM"})
"""Formats whose mode `I` never has more than 16 bits."""

TURNED = "turned upright"
OVER_WHITE = "laid over white"
SCALED = "scaled from 16 bits"
FIRST_FRAME = "first of several frames"
NOTES = "ibstats_notes"
"""Where an image that `rgb` made keeps the rules that were used, in its `info`."""

HIDDEN = "."
"""What names of files that are hidden, or are debris of an editor or a system, begin with."""
SYSTEM_FOLDERS = frozenset(
    {
        "@eaDir",
        "@Recycle",
        "#recycle",
        "#snapshot",
        "$RECYCLE.BIN",
        "__MACOSX",
        "lost+found",
        "System Volume Information",
    }
)
"""Folders of operating systems and storage servers, which hold copies and thumbnails."""
NO_PIXELS = frozenset({"EPS", "MPEG"})
"""Formats that Pillow names but cannot read by itself."""


@dataclass(frozen=True)
class Found:
    """The picture files of a folder, and how many it passed over."""

    files: list[Path]
    passed_over: int
    """Files with the suffix of an image that are hidden, of a system folder, or of a format that
    cannot be opened.
    """


def pictures_of(folder: Path) -> Found:
    """Find the pictures of a folder and of those inside it, sorted by name.

    Links are followed, and each folder is entered once, so a link to a folder above ends. Hidden
    files and folders of operating systems are passed over. Raises IbstatsError for a folder that
    cannot be read, for a link to nothing, and where no picture is left.
    """
    if not folder.is_dir():
        raise IbstatsError(
            f"no folder '{folder}'; give a folder of images, hf:NAME of a data set, or an .npz of "
            "statistics"
        )
    openable, known = _suffixes()
    files = []
    passed_over = 0
    for file in _walk(folder):
        suffix = file.suffix.lower()
        if suffix not in known:
            continue
        if suffix not in openable or _is_debris(file.relative_to(folder)):
            passed_over += 1
            continue
        if not file.exists():
            raise IbstatsError(
                f"'{file}' is a link to nothing; nothing was written: restore or remove it"
            )
        if file.is_file():
            files.append(file)
    if not files:
        said = (
            f", but {passed_over} hidden or of formats that hold no pixels" if passed_over else ""
        )
        raise IbstatsError(
            f"'{folder}' holds no image files{said}; give the folder that holds the .png or .jpg "
            "files"
        )
    return Found(sorted(files, key=lambda file: file.relative_to(folder).parts), passed_over)


def _walk(folder: Path) -> list[Path]:
    """All files below a folder, links followed, each real folder entered once, the nearest first."""

    def refuse(error: OSError) -> NoReturn:
        raise IbstatsError(f"'{error.filename}' cannot be read ({error.strerror})") from None

    found = []
    entered = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        entered.add(os.path.realpath(place))
        inside = []
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(place, name))
            if real not in entered:
                entered.add(real)
                inside.append(name)
        folders[:] = inside
        for name in names:
            found.append(Path(place, name))
    return found


def _is_debris(path: Path) -> bool:
    """Tell whether a path inside the folder is hidden, or of a system's folder."""
    for part in path.parts:
        if part.startswith(HIDDEN) or part in SYSTEM_FOLDERS:
            return True
    return False


def _suffixes() -> tuple[set[str], set[str]]:
    """Suffixes of the formats that Pillow opens, and of all that it knows."""
    from PIL import Image, ImageFile

    openable, known = set(), set()
    for suffix, form in Image.registered_extensions().items():
        known.add(suffix)
        factory = Image.OPEN[form][0] if form in Image.OPEN else None
        is_stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
        if factory is not None and not is_stub and form not in NO_PIXELS:
            openable.add(suffix)
    return openable, known


def rgb(image: Image) -> Image:
    """Give the picture as 8-bit RGB, upright; the rules used are in its `info`, under `NOTES`.

    - Grey of 16 bits is divided by 257; floating-point, 32-bit and signed numbers have no white
      and are refused.
    - What is transparent is laid over white.
    - It is turned as its EXIF orientation says.
    - Of several frames or pages the first is taken.

    Raises IbstatsError for a pixel mode without a rule.

    >>> import PIL.Image
    >>> picture = rgb(PIL.Image.new("I;16", (2, 1), 65535))
    >>> picture.mode, picture.getpixel((0, 0)), picture.info[NOTES]
    ('RGB', (255, 255, 255), ('scaled from 16 bits',))
    """
    if image.mode == "RGB" and NOTES in image.info:
        return image
    notes = []
    turn = _turn(image)
    if getattr(image, "is_animated", False):
        notes.append(FIRST_FRAME)
    if image.mode in SIXTEEN_BIT or (image.mode == "I" and image.format in SIXTEEN_BIT_FORMATS):
        plain = _eight_bit(image)
        notes.append(SCALED)
    elif image.mode in TRANSPARENT or (image.mode in PLAIN and "transparency" in image.info):
        plain, is_seen_through = _over_white(image)
        if is_seen_through:
            notes.append(OVER_WHITE)
    elif image.mode in PLAIN:
        plain = image.convert("RGB")
    else:
        raise IbstatsError(
            f"its pixels are of mode '{image.mode}', which says nothing of black and white; save it "
            "with 8 bits a channel, or as 16-bit grey"
        )
    if turn is not None:
        plain = plain.transpose(turn)
        notes.append(TURNED)
    if plain is image:
        plain = image.copy()
    plain.info = {NOTES: tuple(notes)}
    return plain


def _turn(image: Image) -> Transpose | None:
    """How a picture is turned upright; None where it is, or where its EXIF cannot be read."""
    from PIL import Image as pil
    from PIL.ExifTags import Base

    turns = {
        2: pil.Transpose.FLIP_LEFT_RIGHT,
        3: pil.Transpose.ROTATE_180,
        4: pil.Transpose.FLIP_TOP_BOTTOM,
        5: pil.Transpose.TRANSPOSE,
        6: pil.Transpose.ROTATE_270,
        7: pil.Transpose.TRANSVERSE,
        8: pil.Transpose.ROTATE_90,
    }
    try:
        orientation = image.getexif().get(Base.Orientation)
    except Exception:  # of a damaged block; the pixels are whole
        return None
    return turns.get(orientation or 1)


def _eight_bit(image: Image) -> Image:
    """Grey of 16 bits, or of as many as its TIFF says, in 8."""
    from PIL import Image as pil

    most = 65535
    tags = getattr(image, "tag_v2", {})
    bits, zero_is_white = tags.get(258, (16,)), tags.get(262) == 0
    if bits[0] < 16:
        most = 2 ** bits[0] - 1
    levels = np.asarray(image).astype(np.float64) * (255 / most)
    if zero_is_white:
        levels = 255 - levels
    return pil.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8)).convert("RGB")


def _over_white(image: Image) -> tuple[Image, bool]:
    """A picture over white, and whether anything of it was transparent."""
    from PIL import Image as pil

    if image.mode == "La":  # which Pillow converts to LA alone
        image = image.convert("LA")
    whole = image.convert("RGBA")
    if whole.getchannel("A").getextrema()[0] == 255:
        return whole.convert("RGB"), False
    white = pil.new("RGBA", whole.size, "white")
    return pil.alpha_composite(white, whole).convert("RGB"), True
