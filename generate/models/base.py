"""What every model adapter is."""

from __future__ import annotations

import abc
import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.errors import ModelError
from generate.probes import Probe
from generate.traversal.draw import Noise
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

Family = Literal["autoregressive", "masked", "diffusion"]


class Model(abc.ABC):
    """A text-to-image model with a discrete latent grid.

    An adapter supplies logits; the loop that samples is its family's shared traversal. A subclass declares
    `family` and a frozen dataclass `Options` of its sampling settings, whose defaults are upstream's.
    """

    family: ClassVar[Family]
    Options: ClassVar[type[Any]]

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
        """Sampling settings with the given ones in place of the defaults; refuses unknown names and wrong types."""
        fields = {field.name: field for field in dataclasses.fields(cls.Options)}
        for name, value in given.items():
            if name not in fields:
                close = difflib.get_close_matches(name, fields, n=1)
                hint = f" (did you mean '{close[0]}'?)" if close else ""
                raise ModelError(f"option '{name}' of {cls.__name__} is unknown{hint}; allowed: {', '.join(fields)}.")
            default = fields[name].default
            choices = get_args(get_type_hints(cls.Options)[name])
            if all(isinstance(choice, str) for choice in choices) and choices and value not in choices:
                raise ModelError(
                    f"option '{name}' of {cls.__name__} is {value!r}; it must be one of {', '.join(choices)}."
                )
            if default is not None and not isinstance(value, _accepted(default)):
                raise ModelError(f"option '{name}' of {cls.__name__} is {value!r}; it must be like {default!r}.")
        return cls.Options(**given)


def _accepted(default: object) -> tuple[type, ...]:
    if isinstance(default, bool):
        return (bool,)
    return (int, float) if isinstance(default, float) else (type(default),)


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance u + s (c - u); a scale of 1 is the conditional itself (Ho & Salimans 2022)."""
    return unconditional + scale * (conditional - unconditional)


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """8-bit channel-last images of (sample, channel, y, x) in [0, 1]: round half to even of 255 x."""
    levels: NDArray[np.uint8] = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return levels
