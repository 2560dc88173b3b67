"""Strips: the samples of one prompt in one condition, side by side in one small picture.

A page of thousands of images loads, and is thinned, by strips: each stands alone.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

LOSSLESS = 64
"""Pixels of the longer side up to which images are kept as they are."""
THUMBNAIL = 128
"""Pixels of the longer side of the thumbnail of a larger image."""
LOSSLESS_EFFORT = {"quality": 50, "method": 1}
"""Half the time of the default, for 6 % more bytes (32 px)."""
THUMBNAIL_EFFORT = {"quality": 80, "method": 4}
"""Thumbnails are lossy: quality of 100, and the encoder's default effort."""
COLUMNS = 100
"""The most samples side by side; more of them take several rows. (WebP ends at 16383 pixels.)"""

Images = NDArray[np.uint8]


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Height and width in which an image is shown, in pixels: its own, or those of a thumbnail.

    >>> shown_size(32, 32), shown_size(256, 512)
    ((32, 32), (64, 128))
    """
    longer = max(height, width)
    if longer <= LOSSLESS:
        return height, width
    scale = min(1.0, THUMBNAIL / longer)
    return max(1, round(height * scale)), max(1, round(width * scale))


def columns(n_samples: int) -> int:
    """Samples that a row of a strip holds.

    >>> columns(10), columns(250)
    (10, 100)
    """
    return min(n_samples, COLUMNS)


def strip(images: Images) -> bytes:
    """WebP of images `(sample, y, x, channel)`, 8-bit RGB: lossless up to 64 pixels, else thumbnails.

    Rows of `columns` samples, in order; places without a sample are black. Equal images give
    equal bytes.
    """
    n_samples, height, width, _ = images.shape
    lossless = max(height, width) <= LOSSLESS
    rows, cols = shown_size(height, width)
    across = columns(n_samples)
    down = -(-n_samples // across)
    whole = np.zeros((down * rows, across * cols, 3), dtype=np.uint8)
    for number, image in enumerate(images):
        top, left = number // across * rows, number % across * cols
        whole[top : top + rows, left : left + cols] = _shrunk(image, rows, cols)
    content = BytesIO()
    effort = THUMBNAIL_EFFORT
    if lossless:
        effort = LOSSLESS_EFFORT
    _picture(whole).save(content, "WEBP", lossless=lossless, **effort)
    return content.getvalue()


def png(image: Images) -> bytes:
    """PNG of one image `(y, x, channel)`, 8-bit RGB.

    Every pixel is as it was decoded.
    """
    content = BytesIO()
    _picture(image).save(content, "PNG")
    return content.getvalue()


def _shrunk(image: Images, height: int, width: int) -> Images:
    if image.shape[:2] == (height, width):
        return image
    from PIL.Image import Resampling

    return np.asarray(_picture(image).resize((width, height), Resampling.LANCZOS))


def _picture(pixels: Images) -> Image:
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels))
