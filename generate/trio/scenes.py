"""Plain scenes: one object on one background, drawn from signed distances.

A scene is a row of attribute indices (`ATTRIBUTES` gives their order and names) plus a row of
wording indices (`WORDINGS`): how the caption of this scene is phrased. Wording never changes
which attributes are shown; it shifts lightness and scale a little (`LENGTH_LIGHTNESS`,
`SHAPE_WORD_LIGHTNESS`, `SIZE_WORD_SCALE`), which is all the influence wording has on images.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

IMAGE_SIZE = 32

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "shape": ("circle", "square", "triangle", "cross", "ring", "diamond"),
        "colour": ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"),
        "size": ("small", "medium", "large"),
        "position": (
            "top left",
            "top",
            "top right",
            "left",
            "centre",
            "right",
            "bottom left",
            "bottom",
            "bottom right",
        ),
        "background": ("black", "white", "grey", "brown", "navy"),
    }
)

WORDINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "length": ("short", "medium", "long"),
        "shape_word": ("usual", "rare"),
        "size_word": ("usual", "rare"),
    }
)

# What wording does to the image: the whole of the built-in dependence.
LENGTH_LIGHTNESS = np.array([-0.06, 0.0, 0.06], np.float32)  # object and background
SHAPE_WORD_LIGHTNESS = np.array([-0.03, 0.03], np.float32)  # object only
SIZE_WORD_SCALE = np.array([0.96, 1.04], np.float32)

# Jitter in place: standard deviations, and half-widths of uniform draws.
LIGHTNESS_SPREAD = 0.03
CENTRE_JITTER = 1.0
ANGLE_JITTER = np.deg2rad(8.0)
SCALE_JITTER = 0.04

_OBJECT_RGB = np.array(
    [
        (0.82, 0.16, 0.16),
        (0.93, 0.52, 0.12),
        (0.90, 0.86, 0.20),
        (0.20, 0.62, 0.26),
        (0.25, 0.78, 0.82),
        (0.22, 0.34, 0.86),
        (0.55, 0.24, 0.70),
        (0.92, 0.58, 0.76),
    ],
    np.float32,
)
_BACKGROUND_RGB = np.array(
    [
        (0.08, 0.08, 0.08),
        (0.90, 0.90, 0.90),
        (0.50, 0.50, 0.50),
        (0.42, 0.29, 0.18),
        (0.10, 0.14, 0.36),
    ],
    np.float32,
)
_RADIUS = np.array([6.0, 7.75, 9.75], np.float32)
_CENTRE = np.array([10.5, 16.0, 21.5], np.float32)

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def draw_attributes(count: int, rng: np.random.Generator) -> Ints:
    """Uniform attribute indices (count, 5), columns as in `ATTRIBUTES`.

    >>> draw_attributes(1000, np.random.default_rng(0)).max(axis=0)
    array([5, 7, 2, 8, 4])
    """
    sizes = [len(values) for values in ATTRIBUTES.values()]
    return rng.integers(0, sizes, (count, len(sizes)))


def draw_wordings(count: int, rng: np.random.Generator) -> Ints:
    """Uniform wording indices (count, 3), columns as in `WORDINGS`.

    >>> draw_wordings(1000, np.random.default_rng(0)).max(axis=0)
    array([2, 1, 1])
    """
    sizes = [len(values) for values in WORDINGS.values()]
    return rng.integers(0, sizes, (count, len(sizes)))


def render(attributes: Ints, wordings: Ints, rng: np.random.Generator) -> Floats:
    """Images in [0, 1], shape (count, 32, 32, 3), of scenes in the order of the rows.

    `attributes` (count, 5) and `wordings` (count, 3) are indices as `draw_attributes` and
    `draw_wordings` give them; `rng` draws the jitter of each scene.
    """
    count = len(attributes)
    shape, colour, size, position, background = attributes.T
    length, shape_word, size_word = wordings.T

    def uniform(half_width: float, *trailing: int) -> Floats:
        return rng.uniform(-half_width, half_width, (count, *trailing)).astype(np.float32)

    radius = _RADIUS[size] * SIZE_WORD_SCALE[size_word] * (1 + uniform(SCALE_JITTER))
    centre = np.stack([_CENTRE[position % 3], _CENTRE[position // 3]], -1) + uniform(
        CENTRE_JITTER, 2
    )
    light = LENGTH_LIGHTNESS[length] + rng.normal(0, LIGHTNESS_SPREAD, count).astype(np.float32)
    cover = _coverage(shape, radius, centre, uniform(ANGLE_JITTER))[..., None]
    front = _lighten(_OBJECT_RGB[colour], light + SHAPE_WORD_LIGHTNESS[shape_word])
    back = _lighten(_BACKGROUND_RGB[background], light)
    return cover * front[:, None, None] + (1 - cover) * back[:, None, None]


def _lighten(rgb: Floats, amount: Floats) -> Floats:
    """Colours (count, 3) moved towards white (positive) or black (negative), by at most a fifth."""
    amount = np.clip(amount, -0.2, 0.2)[:, None]
    return np.where(amount > 0, rgb + amount * (1 - rgb), rgb * (1 + amount)).astype(np.float32)


def _coverage(shape: Ints, radius: Floats, centre: Floats, angle: Floats) -> Floats:
    """Share of each pixel covered by the object, shape (count, 32, 32), with soft edges."""
    pixel = np.arange(IMAGE_SIZE, dtype=np.float32) + 0.5
    x = pixel[None, None, :] - centre[:, 0, None, None]
    y = pixel[None, :, None] - centre[:, 1, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    x, y = cos * x + sin * y, cos * y - sin * x
    cover = np.empty(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for index, distance in enumerate(_DISTANCES):
        rows = shape == index
        cover[rows] = np.clip(0.5 - distance(x[rows], y[rows], radius[rows, None, None]), 0, 1)
    return cover


def _circle(x: Floats, y: Floats, r: Floats) -> Floats:
    distance: Floats = np.hypot(x, y) - r
    return distance


def _square(x: Floats, y: Floats, r: Floats) -> Floats:
    distance: Floats = np.maximum(np.abs(x), np.abs(y)) - 0.88 * r
    return distance


def _triangle(x: Floats, y: Floats, r: Floats) -> Floats:
    """Upright, apex at -r and base at +0.8 r (y points down)."""
    slope_x, slope_y = 0.874, 0.486  # unit normal of the right edge
    edge = slope_x * np.abs(x) - slope_y * (y + r)
    distance: Floats = np.maximum(edge, y - 0.8 * r)
    return distance


def _cross(x: Floats, y: Floats, r: Floats) -> Floats:
    upright = np.maximum(np.abs(x) - 0.34 * r, np.abs(y) - r)
    level = np.maximum(np.abs(y) - 0.34 * r, np.abs(x) - r)
    distance: Floats = np.minimum(upright, level)
    return distance


def _ring(x: Floats, y: Floats, r: Floats) -> Floats:
    distance: Floats = np.abs(np.hypot(x, y) - 0.76 * r) - 0.24 * r
    return distance


def _diamond(x: Floats, y: Floats, r: Floats) -> Floats:
    """A rhombus, taller than wide, so that it is no turned square."""
    return 0.832 * np.abs(x) + 0.555 * np.abs(y) - 0.64 * r


_DISTANCES = (_circle, _square, _triangle, _cross, _ring, _diamond)
