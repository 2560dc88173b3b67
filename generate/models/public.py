"""What the adapters of published models share: a checkpoint found by name, its identity, devices and precision."""

from __future__ import annotations

import abc
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch

from generate.errors import ModelError
from generate.models.base import Model
from generate.models.checkpoint import Checkpoint, Source, find, load_component
from generate.provenance import weight_file
from schemas.provenance import ModelIdentity

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class PublicOptions:
    """Where the weights are (a folder, 'owner/name' or 'owner/name@revision') and how the network computes.

    `dtype` is the precision of the network; logits are always float32, and so is the image decoder.
    """

    checkpoint: str
    dtype: str = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ModelError(f"option 'dtype' is '{self.dtype}'; allowed: {', '.join(DTYPES)}.")


@dataclass(frozen=True)
class Geometry:
    """What a checkpoint's configuration files say of the latent grid, and the steps of the traversal."""

    codebook_size: int
    grid: tuple[int, int]
    image_size: tuple[int, int]
    steps: int

    @property
    def n_positions(self) -> int:
        """Positions of the grid."""
        return self.grid[0] * self.grid[1]


class PublicModel(Model):
    """A published model. A subclass names its sources, reads the geometry from their configuration files, and
    reads the networks in its constructor.
    """

    sources: ClassVar[tuple[Source, ...]]

    def __init__(self, identity: ModelIdentity, options: Any, device: str) -> None:
        super().__init__(identity)
        self.settings = options
        self.device = device
        self.dtype = DTYPES[options.dtype]
        self.found = self.find(options)

    @classmethod
    @abc.abstractmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: Any) -> Geometry:
        """Codebook, grid, image size and steps of a checkpoint."""

    @classmethod
    @functools.cache
    def find(cls, options: Any, *, download: bool = True) -> dict[str, Checkpoint]:
        """The checkpoint of every source, by the option that names it."""
        return {
            source.option: find(
                getattr(options, source.option),
                [file.format(**vars(options)) for file in source.files],
                download=download,
            )
            for source in cls.sources
        }

    @classmethod
    def identify(cls, name: str, options: Any) -> ModelIdentity:
        """Revision and digests of the weight files; what is not in the local cache is fetched."""
        found = cls.find(options)
        weights = [weight_file(path, part.folder) for part in found.values() for path in part.weights]
        revision = found["checkpoint"].revision
        if revision == "local":
            revision = "sha256-" + hashlib.sha256("".join(file.sha256 for file in weights).encode()).hexdigest()[:12]
        return ModelIdentity(
            model=name,
            family=cls.family,
            revision=revision,
            weights=weights,
            quantizer=cls.card.quantizer,
            licence=cls.card.licence,
            options=vars(options),
            **vars(cls.geometry(found, options)),
        )

    @classmethod
    def load(cls, identity: ModelIdentity, options: Any, device: str) -> Self:
        """The model; its constructor reads the networks."""
        return cls(identity, options, device)

    def component(
        self,
        kind: type[Any],
        subfolder: str,
        *,
        source: str = "checkpoint",
        dtype: torch.dtype | str = "",
        unused: tuple[str, ...] = (),
    ) -> Any:
        """A network of the checkpoint on the model's device, in its precision or the one given ("auto": as stored)."""
        network = load_component(kind, self.found[source], subfolder, dtype=dtype or self.dtype, unused=unused)
        return network.to(self.device)

    def compiled(self, network: Any) -> Any:
        """The network, compiled where the option asks for it."""
        return torch.compile(network, dynamic=False) if self.settings.compile else network
