"""What every model adapter is."""

from __future__ import annotations

import abc
import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self, get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal import masked
from generate.traversal.draw import Noise
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

Family = Literal["autoregressive", "scales", "masked", "diffusion"]


@dataclass(frozen=True)
class Card:
    """What is published of a model, for people: nothing is computed from it.

    `parameters` counts all networks that sampling needs, in millions; `download` is the size of the
    files that are fetched, which may hold more, in GB (10^9 bytes); `grids` are those of the known
    checkpoints, `codebook_size` is in codes. `verified` says what our tests compare with what, as a
    part of a sentence. `operations` are the floating-point ones of an image at the default
    settings, both branches of guidance where they are guided, in TFLOP, as `benchmarks.operations`
    counts them: of the network that gives logits. `speeds` are images a second by the option
    `precision`, sampled at the default settings on one H200 from random weights of the published
    sizes, without decoding.
    """

    grids: str = ""
    codebook_size: int | None = None
    quantizer: str = ""
    licence: str = ""
    parameters: float | None = None
    download: float | None = None
    paper: str = ""
    verified: str = ""
    operations: float | None = None
    speeds: Mapping[str, float] = field(default_factory=dict)


class Model(abc.ABC):
    """A text-to-image model with a discrete latent grid.

    An adapter supplies logits; the loop that samples is its family's shared traversal. A subclass
    declares `family` and a frozen dataclass `Options` of its sampling settings, whose defaults are
    upstream's; `presets` names sets of settings that were published together, and the option
    `preset` picks one. docs/bring-your-own-model.md has a complete adapter.
    """

    family: ClassVar[Family]
    Options: ClassVar[type[Any]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    card: ClassVar[Card] = Card()

    def __init__(self, identity: ModelIdentity) -> None:
        self.identity = identity

    @classmethod
    @abc.abstractmethod
    def identify(cls, name: str, options: Any) -> ModelIdentity:
        """What the model is, from its files alone; reads no weights into memory.

        `name` is what the user called the model, `options` an instance of `Options`. Raises
        ModelError where a file is missing or not of this model.
        """

    @classmethod
    @abc.abstractmethod
    def load(cls, identity: ModelIdentity, options: Any, device: str) -> Self:
        """The model, ready to sample on a torch device such as "cpu" or "cuda:0".

        `identity` is what `identify` said of the same options. Raises ModelError where the weights
        do not fit the device or are not whole.
        """

    @classmethod
    def read(cls, options: Any, texts: Sequence[str]) -> list[Reading] | None:
        """What the model sees of each text, by its tokenizer alone.

        One reading a text, in their order. None if the adapter cannot tell, as here: then nobody is
        warned of texts that are cut or alike. Runs without the weights.
        """
        return None

    @classmethod
    def open_after(cls, identity: ModelIdentity) -> list[int]:
        """Positions that a masked model leaves open after each step.

        Those of the cosine schedule, unless a model has another. Of no meaning for other families.
        """
        return masked.cosine_schedule(math.prod(identity.grid), identity.steps)

    def codes_of_images(
        self, n_images: int, seed: int
    ) -> Iterator[NDArray[np.integer[Any]]] | None:
        """Ids (image, position), some images at a time, of real ones that the model was trained on.

        `n_images` in all, fixed by `seed`. None if the adapter has none, as here.
        """
        return None

    @abc.abstractmethod
    def encode(self, texts: Sequence[str]) -> Any:
        """Conditioning of a batch, which `traverse` takes: one row a text, equal ones encoded once.

        A guided model has as many unconditional rows after them. What it is made of is the
        adapter's own matter. Raises ModelError for a text that the model cannot take; where one is
        cut instead, `read` says so.
        """

    @abc.abstractmethod
    def traverse(self, conditioning: Any, probe: Probe, noise: Noise) -> Trace:
        """Sample one grid per text of the conditioning, in one call of the family's traversal.

        `probe` says which codes may appear and at which steps identities are modes; `noise` has one
        stream of each role a sample. The trace holds tokens (sample, position), from 0 to
        `codebook_size` - 1, and their bits; row i depends on text i and on the noise of sample i
        alone.
        """

    @abc.abstractmethod
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """8-bit images (sample, y, x, channel) of grids (sample, position) in raster order.

        Deterministic: all chance is in the tokens. Undefined for a grid with an open position.
        """

    def render(self, tokens: Tensor, keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Images of grids (sample, position) as `decode` gives them, under rendering noise.

        `keys` (sample,) are Philox keys, one a sample; equal tokens and keys give equal images. Here,
        where the decoder draws nothing, they are those of `decode`. A model whose decoder does says
        so in its identity (`rendering`), and its `decode` gives images without noise.
        """
        return self.decode(tokens)

    @classmethod
    def options(cls, given: Mapping[str, Any]) -> Any:
        """Sampling settings, an instance of `Options`.

        The given ones go before those of the preset, and defaults stand for the rest. Raises
        ModelError for an unknown name, a value that is none of the choices, or one of another type.

        >>> from generate.models.toy import ToyMasked
        >>> settings = ToyMasked.options({"steps": 2})
        >>> settings.steps, settings.temperature
        (2, 1.0)
        """
        chosen = dict(given)
        if "preset" in chosen:
            chosen = {**cls._preset(chosen.pop("preset")), **chosen}
        for name, value in chosen.items():
            cls._check(name, value)
        return cls.Options(**chosen)

    @classmethod
    def _preset(cls, name: object) -> Mapping[str, Any]:
        """Settings of a preset, by name."""
        if name not in cls.presets:
            raise ModelError(
                f"preset {name!r} of {cls.__name__} is unknown; "
                f"allowed: {', '.join(cls.presets) or 'none'}."
            )
        return cls.presets[str(name)]

    @classmethod
    def _check(cls, name: str, value: object) -> None:
        """Refuse an option that `Options` does not have, or a value unlike its default."""
        fields = {field.name: field for field in dataclasses.fields(cls.Options)}
        if name not in fields:
            close = difflib.get_close_matches(name, fields, n=1)
            hint = f" (did you mean '{close[0]}'?)" if close else ""
            raise ModelError(
                f"option '{name}' of {cls.__name__} is unknown{hint}; allowed: {', '.join(fields)}."
            )
        given = f"option '{name}' of {cls.__name__} is {value!r}"
        choices = get_args(get_type_hints(cls.Options)[name])
        named = all(isinstance(choice, str) for choice in choices)
        if choices and named and value not in choices:
            raise ModelError(f"{given}; it must be one of {', '.join(choices)}.")
        default = fields[name].default
        is_switch = isinstance(value, bool) and not isinstance(default, bool)  # of an int's type
        if default is not None and (is_switch or not isinstance(value, _accepted(default))):
            raise ModelError(f"{given}; it must be like {default!r}.")


def _accepted(default: object) -> tuple[type, ...]:
    """Types that may stand in place of a default; a whole number may where a float does."""
    if isinstance(default, bool):
        return (bool,)
    if isinstance(default, float):
        return (int, float)
    return (type(default),)


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """8-bit images (sample, y, x, channel) of (sample, channel, y, x) in [0, 1].

    Round half to even of 255 x; what lies outside [0, 1] is clamped. Raises ModelError for integers,
    for another shape, and for values that are not finite, which would become black.

    >>> to_pixels(torch.tensor([0.0, 0.5, 2.0]).view(1, 3, 1, 1)).tolist()
    [[[[0, 128, 255]]]]
    """
    if not image.is_floating_point() or image.ndim != 4:
        raise ModelError(
            f"`to_pixels` was given {image.dtype} {tuple(image.shape)}, but takes floats in [0, 1] of "
            "(sample, channel, y, x)."
        )
    broken = ~torch.isfinite(image).flatten(1).all(dim=1)
    if broken.any():
        raise ModelError(
            f"`to_pixels` was given values that are not finite in {int(broken.sum())} of "
            f"{len(image)} images ({image.dtype}); keep the decoder in float32."
        )
    levels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    pixels: NDArray[np.uint8] = levels.permute(0, 2, 3, 1).cpu().numpy()
    return pixels
