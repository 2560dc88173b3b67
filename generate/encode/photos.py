"""What a tokenizer is given: photos, upright, RGB over white, cropped and resized, or fresh scenes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from generate.errors import GenerateError, one_line
from generate.trio.scenes import IMAGE_SIZE
from generate.trio.stage_tokenizer import draw_images

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"})

DEEP = ("I", "F")
"""What names of Pillow's modes of 16 and 32 bits, whole or floating-point, begin with."""


def photos_of(folder: Path) -> list[Path]:
    """The picture files of a folder and of those inside it, in the order of their names.

    Hidden ones are passed over. Raises GenerateError where there is no folder or no picture.
    """
    if not folder.is_dir():
        raise GenerateError(f"no folder '{folder}': give one that holds pictures.")
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and path.is_file() and not hidden:
            found.append(path)
    if not found:
        raise GenerateError(
            f"'{folder}' holds no pictures ({', '.join(sorted(SUFFIXES))}): give another folder."
        )
    return found


def read_photo(path: Path, size: tuple[int, int] | None) -> Tensor:
    """A picture (3, y, x) in [0, 1]: turned upright, laid over white, first frame, 8-bit RGB.

    Of another size, the largest centred part of the same shape is resized (bicubic). Raises
    GenerateError for a file that is no whole picture, and for one of more than 8 bits a channel,
    which Pillow would cut off above 255.
    """
    try:
        with Image.open(path) as opened:
            if opened.mode.startswith(DEEP):
                raise GenerateError(
                    f"'{path}' has pixels of mode '{opened.mode}', whose white nobody knows: save it "
                    "with 8 bits a channel."
                )
            upright = ImageOps.exif_transpose(opened)
            with_alpha = upright.convert("RGBA")
    except GenerateError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise GenerateError(
            f"'{path}' is no picture that can be read ({one_line(error, 120)}): remove or mend it."
        ) from None
    white = Image.new("RGBA", with_alpha.size, "white")
    picture = Image.alpha_composite(white, with_alpha).convert("RGB")
    if size is not None and picture.size != size[::-1]:
        picture = ImageOps.fit(picture, size[::-1], Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


@dataclass(frozen=True)
class Photos:
    """The pictures of a folder."""

    folder: Path
    paths: Sequence[Path]

    @property
    def names(self) -> list[str]:
        """Path of each inside the folder."""
        return [str(path.relative_to(self.folder)) for path in self.paths]

    @property
    def n_images(self) -> int:
        """Number of pictures."""
        return len(self.paths)

    def batches(self, size: tuple[int, int] | None, batch_size: int) -> Iterator[Tensor]:
        """Pictures (B, 3, y, x) of `read_photo`, `batch_size` at a time.

        Raises GenerateError where sizes differ and none is said.
        """
        for start in range(0, self.n_images, batch_size):
            pictures = [read_photo(path, size) for path in self.paths[start : start + batch_size]]
            shapes = {tuple(picture.shape) for picture in pictures}
            if len(shapes) > 1:
                raise GenerateError(
                    "the pictures have several sizes, and the tokenizer takes any: say --size."
                )
            yield torch.stack(pictures)


@dataclass(frozen=True)
class Scenes:
    """Fresh scenes of the trio, all attributes and wordings equally often, in 8 bits."""

    n_images: int
    seed: int
    names: Sequence[str] = ()

    def batches(self, size: tuple[int, int] | None, batch_size: int) -> Iterator[Tensor]:
        """Scenes (B, 3, 32, 32), `batch_size` at a time.

        Raises GenerateError for another size.
        """
        if size not in (None, (IMAGE_SIZE, IMAGE_SIZE)):
            raise GenerateError(
                f"scenes have {IMAGE_SIZE} x {IMAGE_SIZE} pixels: leave --size out."
            )
        for index, start in enumerate(range(0, self.n_images, batch_size)):
            rng = np.random.default_rng([self.seed, index])
            scenes = draw_images(min(batch_size, self.n_images - start), rng)
            yield (scenes * 255).round() / 255
