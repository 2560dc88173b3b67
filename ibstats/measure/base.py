"""What is measured on images: distances of all pairs of a prompt's images, features or a score of
each image.

A measurement of your own derives from `Distance`, `EmbeddedDistance`, `Embedding` or `ImageScore`;
`ibstats.measure.named` says how a study asks for it.
"""

from __future__ import annotations

import abc
import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.errors import IbstatsError
from ibstats.kernels import pairs
from ibstats.measure.returned import checked_features, checked_pairs

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Features = NDArray[np.float32]
Images = NDArray[np.uint8]


class Portable:
    """An object that travels to a worker without what it has loaded, which the worker loads for
    itself.

    What it has loaded is what its cached properties hold.
    """

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        for name in vars(self):
            if isinstance(getattr(type(self), name, None), cached_property):
                del state[name]
        return state


class Measurement(Portable, abc.ABC):
    """Something measured on the images of one prompt at a time, and kept beside the run.

    Parameters, which every measurement takes and only networks use: `weights`, a file or folder
    that stands in for the published weights; `device` of the network; `batch_size`, images of a
    forward pass; `download`, whether weights that are missing are fetched. None of them changes
    what is measured, except `weights`, which `settings` tells of.
    """

    name: str
    """Name in the results; also the beginning of the names of its files."""
    kind: ClassVar[Literal["distance", "network"]]
    """What it is, by the word that its record in the results uses."""
    settings_need_weights: bool = False
    """Whether `settings` can be told only where the weights are; if so, `asked` tells the rest of
    them.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        *,
        download: bool = True,
    ) -> None:
        self.weights = weights
        self.device = device
        self.batch_size = batch_size
        self.download = download

    @property
    def label(self) -> str:
        """What a progress bar calls it."""
        return self.name

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """Give all that fixes the numbers besides the images: constants, digests of weights, rules
        for the size.

        It keys what is kept, so it must change whenever the numbers do, and must be plain JSON.
        Raises MissingWeights where it holds digests of weights that are not on this machine.
        """

    def asked(self) -> dict[str, Any]:
        """Give the part of `settings` that is known without the weights; all of it, unless a
        subclass says less.
        """
        return self.settings()

    def origin(self) -> dict[str, Any]:
        """Give what the numbers follow from besides images and settings; nothing for most.

        It keys what is kept, and must be plain JSON.
        """
        return {}

    def find_weights(self) -> Sequence[Path]:
        """Give the weight files that measuring needs, fetched if that is wanted; none for most
        measurements.

        Raises MissingWeights, or MissingPackages where a package lacks.
        """
        return ()

    @abc.abstractmethod
    def row(self, images: xr.DataArray, model: str) -> NDArray[Any]:
        """Measure one prompt's images `(condition, sample, y, x, channel)`: an array `(condition,
        ...)` of floats.

        Its first number is not NaN, for that marks a row that is not measured yet. `model` names
        the images in errors.
        """

    def widened(self, row: NDArray[Any], n_samples: int) -> NDArray[Any]:
        """Give a row of fewer images with room for `n_samples`, NaN where there is none.

        `row (condition, sample, ...)` as `row` gives it.
        """
        room = [(0, 0)] * row.ndim
        room[1] = (0, n_samples - row.shape[1])
        return np.pad(row, room, constant_values=np.nan)


class Pairs(NamedTuple):
    """Distances of all pairs of images in each cell, and squared norms of their embedding.

    A cell is a condition: images of one prompt in different cells are not compared.
    """

    distance: Array
    """(cell, n, n), symmetric, zero diagonal; larger is more different."""
    squared_norm: Array
    """(cell, n); with the distances it gives back the Gram matrix. NaN where there is no embedding.
    """

    @classmethod
    def plain(cls, distance: Array) -> Self:
        """Give pairs of a distance `(cell, n, n)` that has no embedding: its norms are NaN.

        >>> Pairs.plain(np.zeros((1, 2, 2))).squared_norm.tolist()
        [[nan, nan]]
        """
        return cls(distance, np.full(distance.shape[:2], np.nan))


class Distance(Measurement):
    """A distance of two images, larger where they differ more.

    A subclass sets `name` and, unless the name is registered in `ibstats.quantities`, `long_name`;
    it defines `settings` and `measure`. `EmbeddedDistance` asks for less.

    >>> class Brightness(Distance):
    ...     name = "brightness_distance"
    ...     long_name = "absolute difference of mean brightness"
    ...     def settings(self):
    ...         return {"version": 1}
    ...     def measure(self, images):
    ...         mean = images.mean(axis=(2, 3, 4))
    ...         return Pairs.plain(abs(mean[:, :, None] - mean[:, None, :]))
    >>> black_and_white = np.array([0, 255], dtype=np.uint8).reshape(1, 2, 1, 1, 1)
    >>> Brightness().measure(black_and_white).distance.tolist()
    [[[0.0, 255.0], [255.0, 0.0]]]
    """

    kind = "distance"
    embedded: ClassVar[bool] = False
    """Whether it is a squared Euclidean distance of an embedding, so that diversity has variance
    components.
    """
    long_name: str = ""
    """In a caption or on an axis."""
    short_name: str = ""
    """In a column head; the long name if empty."""
    unit: ClassVar[str] = "1"
    most: ClassVar[float] = np.inf
    """The largest value it can take; the smallest is 0."""

    @abc.abstractmethod
    def measure(self, images: Images) -> Pairs:
        """Measure all pairs inside each cell of `images (cell, n, y, x, channel)`, 8-bit.

        Raises Unmeasurable where the images are not of a kind that it can measure, too small for
        instance.
        """

    def row(self, images: xr.DataArray, model: str) -> Array:
        """Give distances, and squared norms in the last column: `(condition, sample, sample + 1)`.

        Equal images are at distance 0, exactly. Raises IbstatsError if a distance is not a number.
        """
        where = f"{model}, prompt {images['prompt'].item()}"
        measured = self.measure(images.values)
        distance, squared_norm = checked_pairs(measured, images.shape[:2], self, where)
        distance = np.where(identical(images.values), 0.0, distance)
        whole = np.isfinite(distance).all(axis=(1, 2))
        if not whole.all():
            bad = images["condition"].values[~whole][0]
            raise IbstatsError(
                f"{self.name} of {where} is NaN in condition '{bad}'; is an image black or empty?"
            )
        return np.concatenate([distance, squared_norm[..., None]], axis=-1)

    def widened(self, row: NDArray[Any], n_samples: int) -> Array:
        """Give a row with room for `n_samples` along both images; squared norms stay the last."""
        more = super().widened(row, n_samples)
        room = np.full((*more.shape[:2], n_samples - row.shape[1]), np.nan)
        return np.concatenate([more[..., :-1], room, more[..., -1:]], axis=-1)


class EmbeddedDistance(Distance):
    """A distance in the space of features: the squared Euclidean one, or 1 - cos.

    A subclass sets `name` and `long_name`, and defines `settings` and `embed`; `space` says which
    of the two it is.

    >>> class MeanColour(EmbeddedDistance):
    ...     name = "mean_colour_distance"
    ...     long_name = "squared distance of mean colours"
    ...     def settings(self):
    ...         return {"version": 1}
    ...     def embed(self, images):
    ...         return images.mean(axis=(1, 2)) / 255
    >>> black_and_white = np.array([0, 255], dtype=np.uint8).reshape(1, 2, 1, 1, 1)
    >>> MeanColour().measure(black_and_white).distance.tolist()
    [[[0.0, 1.0], [1.0, 0.0]]]
    """

    embedded = True
    space: ClassVar[Literal["euclidean", "cosine"]] = "euclidean"
    """Squared Euclidean distance of the features, or 1 - cos of the angle between them."""

    @abc.abstractmethod
    def embed(self, images: Images) -> NDArray[Any]:
        """Give features `(n, feature)` of images `(n, y, x, channel)`, 8-bit.

        `images` are those of all cells of one prompt; the features of an image must not depend on
        the others. Any type of number; the distances are taken in double precision.
        """

    def measure(self, images: Images) -> Pairs:
        """Measure all pairs inside each cell by one Gram product a cell; memory holds the features
        of all cells.

        Under the cosine, features of length zero have no direction: their distances are NaN.
        """
        cells, n = images.shape[:2]
        features = self.embed(images.reshape(cells * n, *images.shape[2:]))
        checked = checked_features(features, cells * n, self.name)
        phi = checked.astype(np.float64).reshape(cells, n, -1)
        if self.space == "cosine":
            with np.errstate(invalid="ignore"):
                unit = phi / np.linalg.norm(phi, axis=-1, keepdims=True)
            phi = unit / np.sqrt(2)
        return Pairs(pairs.distance_matrix(phi), np.asarray((phi**2).sum(axis=-1)))


class Embedding(Measurement):
    """Features of each image, from which scores of quality are made.

    A subclass sets `name`, and defines `settings` and `embed`; where `settings` holds digests of
    weights that may lack, it sets `settings_need_weights` and defines `asked` too.
    """

    kind = "network"
    long_name: str = ""
    """In a caption, of a distance in its space."""
    short_name: str = ""
    """In a column head."""
    n_logits: int = 0
    """Last columns of the features that are readings, not coordinates."""
    n_features: ClassVar[int | None] = None
    """Columns that are coordinates, where that is known without the weights."""

    @property
    def label(self) -> str:
        """What a progress bar calls it."""
        return f"{self.name} features"

    @abc.abstractmethod
    def embed(self, images: Images) -> Features:
        """Give features `(n, feature)` of images `(n, y, x, channel)`, 8-bit, single precision.

        The features of an image must not depend on the others. Raises MissingWeights or
        MissingPackages where what computes them lacks.
        """

    def coordinates(self, features: NDArray[Any]) -> NDArray[Any]:
        """Give the columns of features `(..., feature)` that distances use: all but the readings."""
        return features[..., : features.shape[-1] - self.n_logits]

    def row(self, images: xr.DataArray, model: str) -> Features:
        """Give features `(condition, sample, feature)` of one prompt's images.

        Raises IbstatsError, which names the prompt, if one is not finite.
        """
        pixels = images.values
        given = self.embed(pixels.reshape(-1, *pixels.shape[2:]))
        features = checked_features(given, pixels.shape[0] * pixels.shape[1], self.name)
        if not np.isfinite(features).all():
            prompt = images["prompt"].item()
            raise IbstatsError(
                f"{self.name} features of {model}, prompt {prompt} are not finite; check the "
                "weights"
            )
        return features.reshape(*pixels.shape[:2], -1)


class ImageScore(Measurement):
    """A score of each image, against the text of its prompt if it reads that.

    A subclass sets `name` and `long_name`, says which end is good, and defines `settings` and
    `score`.

    >>> class Brightness(ImageScore):
    ...     name = "brightness"
    ...     long_name = "mean brightness"
    ...     reads_text = False
    ...     most = 1.0
    ...     def settings(self):
    ...         return {"version": 1}
    ...     def score(self, images, text):
    ...         return images.mean(axis=(1, 2, 3)) / 255
    >>> Brightness().score(np.full((2, 4, 4, 3), 255, np.uint8), "").tolist()
    [1.0, 1.0]
    """

    kind = "network"
    long_name: str = ""
    """In a caption or on an axis."""
    short_name: str = ""
    """In a column head; the long name if empty."""
    unit: str = "1"
    better: Literal["larger", "smaller"] = "larger"
    """Which end is good."""
    least: float = -np.inf
    most: float = np.inf
    """The values it can take, bounds included."""
    reads_text: bool = True
    """Whether it is told the base prompt; if not, a run without texts will do."""
    texts: Mapping[str, str] = {}
    """The base prompt by the id of each prompt, once `of` was called."""

    def of(self, texts: Mapping[str, str]) -> Self:
        """Give the same score with the texts of a run, by the ids of its prompts."""
        made = copy.copy(self)
        made.texts = dict(texts)
        return made

    def origin(self) -> dict[str, Any]:
        """Give the digest of the texts, on which what is kept depends too."""
        if not self.reads_text:
            return {}
        content = json.dumps(dict(self.texts), sort_keys=True)
        return {"texts_sha256": hashlib.sha256(content.encode()).hexdigest()}

    @abc.abstractmethod
    def score(self, images: Images, text: str) -> NDArray[Any]:
        """Give the scores `(n,)` of images `(n, y, x, channel)`, 8-bit, made for one text.

        The score of an image must not depend on the others. `text` is empty for a score that reads
        none.
        """

    def row(self, images: xr.DataArray, model: str) -> Array:
        """Give scores `(condition, sample, 1)` of one prompt's images.

        Raises IbstatsError, which names the prompt, for anything but one finite number an image
        between `least` and `most`.
        """
        prompt = str(images["prompt"].item())
        pixels = images.values
        text = ""
        if self.reads_text:
            text = self.texts[prompt]
        given = np.asarray(self.score(pixels.reshape(-1, *pixels.shape[2:]), text))
        where = f"{self.name} of {model}, prompt {prompt}"
        n = pixels.shape[0] * pixels.shape[1]
        if given.shape != (n,) or given.dtype.kind not in "biuf":
            raise IbstatsError(
                f"{where}: `score` gave {given.dtype}{given.shape} for {n} images; return one real "
                "number each, (n,)"
            )
        values = given.astype(np.float64)
        if not np.isfinite(values).all():
            raise IbstatsError(f"{where} is not finite for {(~np.isfinite(values)).sum()} images")
        if values.min() < self.least or values.max() > self.most:
            raise IbstatsError(
                f"{where} goes from {values.min():.4g} to {values.max():.4g}, but its range is "
                f"{self.least:.4g} to {self.most:.4g}"
            )
        return values.reshape(*pixels.shape[:2], 1)


def identical(images: Images) -> NDArray[np.bool_]:
    """Tell which pairs of `images (cell, n, ...)` are equal byte for byte: `(cell, n, n)`.

    Their distance is exactly 0, whatever rounding says.
    """
    cells, n = images.shape[:2]
    whole_image = np.dtype((np.void, images[0, 0].nbytes))
    rows = np.ascontiguousarray(images).reshape(cells * n, -1).view(whole_image)
    _, inverse = np.unique(rows, return_inverse=True)
    code = inverse.reshape(cells, n)
    return np.asarray(code[:, :, None] == code[:, None, :])


def in_batches(
    images: Images, forward: Callable[[Tensor], Tensor], device: str, batch_size: int
) -> Features:
    """Give features of images `(n, y, x, channel)`, 8-bit, through a network in batches: `(n,
    feature)`.

    `forward` takes 8-bit `(n, channel, y, x)` on the device and gives `(n, feature)`.
    """
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            part = np.require(images[start : start + batch_size], requirements=["C", "W"])
            pixels = torch.from_numpy(part).permute(0, 3, 1, 2).contiguous().to(device)
            parts.append(forward(pixels).float().cpu().numpy())
    return np.concatenate(parts)


def resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Give 8-bit images `(n, channel, y, x)` at another height and width: whole, bicubic, antialiased.

    Values stay whole numbers from 0 to 255, in single precision; an image of that size stays as it
    is.
    """
    import torch.nn.functional as F

    if tuple(pixels.shape[-2:]) == size:
        return pixels.float()
    scaled = F.interpolate(pixels.float(), size=size, mode="bicubic", antialias=True)
    return scaled.round().clamp(0, 255)
