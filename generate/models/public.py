"""What the adapters of published models share: a checkpoint found by name, its identity, devices and precision."""

from __future__ import annotations

import abc
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from generate.models import memory
from generate.models.base import Model, guide
from generate.models.checkpoint import Checkpoint, Source, find, load_component, load_tensors
from generate.provenance import weight_file
from schemas.provenance import ModelIdentity

Dtype = Literal["float32", "bfloat16", "float16"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class PublicOptions:
    """Where the weights are (a folder, 'owner/name' or 'owner/name@revision') and how the network computes.

    `dtype` is the precision of the network; logits are always float32, and so is the image decoder.
    """

    checkpoint: str
    dtype: Dtype = "float32"
    compile: bool = False


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
        weights = [
            weight_file(path, part.folder) for part in found.values() for path in part.weights
        ]
        revision = found["checkpoint"].revision
        if revision == "local":
            revision = (
                "sha256-"
                + hashlib.sha256("".join(file.sha256 for file in weights).encode()).hexdigest()[:12]
            )
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
        """The model; its constructor reads the networks, for which there must be room."""
        memory.require(identity.model, cls.bytes_needed(options), device)
        return cls(identity, options, device)

    @classmethod
    def bytes_needed(cls, options: Any) -> int:
        """Memory that the weights take in the precision asked for; reads the names and shapes of the tensors only."""
        found = cls.find(options)
        return DTYPES[options.dtype].itemsize * sum(
            tensor.numel()
            for source in cls.sources
            for path in found[source.option].weights
            for name, tensor in load_tensors(path, device="meta").items()
            if not name.startswith(source.unused)
        )

    def component(
        self,
        kind: type[Any],
        subfolder: str,
        *,
        source: str = "checkpoint",
        dtype: torch.dtype | str = "",
    ) -> Any:
        """A network of the checkpoint on the model's device, in its precision or the one given ("auto": as stored)."""
        (unused,) = (part.unused for part in self.sources if part.option == source)
        network = load_component(
            kind, self.found[source], subfolder, dtype=dtype or self.dtype, unused=unused
        )
        return network.to(self.device)

    @property
    def guided(self) -> bool:
        """Whether an unconditional branch is needed; most upstream loops have none up to a guidance of 1."""
        return bool(self.settings.guidance > 1.0)

    def both(self, tokens: Tensor) -> Tensor:
        """Rows of the samples for the conditional and, when guided, once more for the unconditional branch."""
        return torch.cat([tokens, tokens]) if self.guided else tokens

    def guided_logits(self, logits: Tensor, scale: float) -> Tensor:
        """Float32 logits to sample from; `logits` has the rows of the conditional branch, then of the other."""
        logits = logits.float()
        if not self.guided:
            return logits
        conditional, unconditional = logits.chunk(2)
        return guide(conditional, unconditional, scale)

    def n_samples(self, rows: int) -> int:
        """Samples of so many rows of conditioning."""
        return rows // 2 if self.guided else rows

    def compiled(self, network: Any) -> Any:
        """The network, compiled where the option asks for it."""
        return torch.compile(network) if self.settings.compile else network
