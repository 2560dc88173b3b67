"""What every model adapter is."""

from __future__ import annotations

import abc
import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError
from generate.study.probes import Probe
from generate.study.reading import Reading
from generate.traversal.draw import Noise
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

Family = Literal["autoregressive", "masked", "diffusion"]


@dataclass(frozen=True)
class Card:
    """What is published of a model, for people: nothing is computed from it.

    `parameters` counts all networks that sampling needs, in millions; `grids` are those of the known checkpoints.
    """

    grids: str = ""
    codebook_size: int | None = None
    quantizer: str = ""
    licence: str = ""
    parameters: float | None = None
    paper: str = ""


class Model(abc.ABC):
    """A text-to-image model with a discrete latent grid.

    An adapter supplies logits; the loop that samples is its family's shared traversal. A subclass declares
    `family` and a frozen dataclass `Options` of its sampling settings, whose defaults are upstream's; `presets`
    names sets of settings that were published together, and the option `preset` picks one.
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
        """What the model is, from its files alone; reads no weights into memory."""

    @classmethod
    @abc.abstractmethod
    def load(cls, identity: ModelIdentity, options: Any, device: str) -> Self:
        """The model, ready to sample on a torch device."""

    @classmethod
    def read(cls, options: Any, texts: Sequence[str]) -> list[Reading] | None:
        """What the model sees of each text, by its tokenizer alone; None if the adapter cannot tell."""
        return None

    @abc.abstractmethod
    def encode(self, texts: Sequence[str]) -> Any:
        """Conditioning of a batch, one row a text; equal texts are encoded once."""

    @abc.abstractmethod
    def traverse(self, conditioning: Any, probe: Probe, noise: Noise) -> Trace:
        """Sample one grid per row of the conditioning."""

    @abc.abstractmethod
    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        """Images (sample, y, x, channel) of grids (sample, position)."""

    @classmethod
    def options(cls, given: Mapping[str, Any]) -> Any:
        """Sampling settings: the given ones before those of the preset, and the defaults for the rest.

        Refuses unknown names and wrong types.
        """
        if "preset" in given:
            chosen = cls._preset(given["preset"])
            given = {**chosen, **{name: value for name, value in given.items() if name != "preset"}}
        fields = {field.name: field for field in dataclasses.fields(cls.Options)}
        for name, value in given.items():
            if name not in fields:
                close = difflib.get_close_matches(name, fields, n=1)
                hint = f" (did you mean '{close[0]}'?)" if close else ""
                raise ModelError(
                    f"option '{name}' of {cls.__name__} is unknown{hint}; allowed: {', '.join(fields)}."
                )
            default = fields[name].default
            choices = get_args(get_type_hints(cls.Options)[name])
            if (
                all(isinstance(choice, str) for choice in choices)
                and choices
                and value not in choices
            ):
                raise ModelError(
                    f"option '{name}' of {cls.__name__} is {value!r}; it must be one of {', '.join(choices)}."
                )
            if default is not None and not isinstance(value, _accepted(default)):
                raise ModelError(
                    f"option '{name}' of {cls.__name__} is {value!r}; it must be like {default!r}."
                )
        return cls.Options(**given)

    @classmethod
    def _preset(cls, name: object) -> Mapping[str, Any]:
        if name not in cls.presets:
            raise ModelError(
                f"preset {name!r} of {cls.__name__} is unknown; allowed: {', '.join(cls.presets) or 'none'}."
            )
        return cls.presets[str(name)]


def _accepted(default: object) -> tuple[type, ...]:
    if isinstance(default, bool):
        return (bool,)
    return (int, float) if isinstance(default, float) else (type(default),)


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance u + s (c - u); a scale of 1 is the conditional itself (Ho & Salimans 2022)."""
    return unconditional + scale * (conditional - unconditional)


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """8-bit channel-last images of (sample, channel, y, x) in [0, 1]: round half to even of 255 x."""
    levels: NDArray[np.uint8] = (
        (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    )
    return levels
