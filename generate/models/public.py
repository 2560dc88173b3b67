"""What adapters of published models share: checkpoints by name, identity, device and precision."""

from __future__ import annotations

import abc
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch

from generate.errors import ModelError
from generate.models import memory
from generate.models.base import Model
from generate.models.checkpoint import Checkpoint, Source, find, load_component, load_tensors
from generate.models.guidance import Guidance
from generate.provenance import weight_file
from schemas.provenance import ModelIdentity

Dtype = Literal["float32", "bfloat16", "float16"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class PublicOptions:
    """Where the weights are and how the network computes.

    `checkpoint` is a folder, 'owner/name' or 'owner/name@revision' of the hub. `dtype` is the
    precision of the network; logits are always float32, and so is the image decoder.
    """

    checkpoint: str
    dtype: Dtype = "float32"
    compile: bool = False


@dataclass(frozen=True)
class Geometry:
    """What a checkpoint says of its latent grid and images, and the steps of the traversal.

    `grid` is (row, col), `image_size` (y, x) in pixels; `levels` are the values of each digit of an
    id, none where ids have no digits.
    """

    codebook_size: int
    grid: tuple[int, int]
    image_size: tuple[int, int]
    steps: int
    levels: tuple[int, ...] = ()

    @property
    def n_positions(self) -> int:
        """Positions of the grid."""
        return self.grid[0] * self.grid[1]


class PublicModel(Model):
    """A published model.

    A subclass names its sources, reads the geometry from their configuration files, and reads the
    networks in its constructor.
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
        """Codebook, grid, image size and steps of a checkpoint, read without its weights.

        `found` has the checkpoint of every source by its option. Raises ModelError where a
        configuration file is absent or broken.
        """

    @classmethod
    @functools.cache
    def find(cls, options: Any, *, download: bool = True) -> dict[str, Checkpoint]:
        """The checkpoint of every source, by the option that names it.

        Asks the hub only for what the local cache lacks, and not at all without `download`. Raises
        ModelError where a checkpoint, or a file of one, cannot be had.
        """
        found = {}
        for source in cls.sources:
            files = [file.format(**vars(options)) for file in source.files]
            found[source.option] = find(getattr(options, source.option), files, download=download)
        return found

    @classmethod
    def identify(cls, name: str, options: Any) -> ModelIdentity:
        """Revision and digests of the weight files; what is not in the local cache is fetched.

        A folder has no revision of its own: a digest of its weights stands for it.
        """
        found = cls.find(options)
        weights = []
        for part in found.values():
            weights += [weight_file(path, part.folder) for path in part.weights]
        revision = found["checkpoint"].revision
        if revision == "local":
            digests = "".join(file.sha256 for file in weights)
            revision = "sha256-" + hashlib.sha256(digests.encode()).hexdigest()[:12]
        return ModelIdentity(
            model=name,
            family=cls.family,
            revision=revision,
            weights=weights,
            quantizer=cls.card.quantizer,
            licence=cls.card.licence,
            options=vars(options),
            **vars(cls._geometry_of(found, options)),
        )

    @classmethod
    def _geometry_of(cls, found: Mapping[str, Checkpoint], options: Any) -> Geometry:
        """The geometry; refuses configuration files whose values are of another model."""
        try:
            return cls.geometry(found, options)
        except ModelError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise ModelError(
                f"the configuration of checkpoint '{found['checkpoint'].name}' is not that of a "
                f"{cls.__name__} ({type(error).__name__}: {error}): fetch it again, or name another."
            ) from None

    @classmethod
    def load(cls, identity: ModelIdentity, options: Any, device: str) -> Self:
        """The model, ready to sample on a torch device; its constructor reads the networks.

        Raises ModelError where the weights take more memory than the device has free, or are not
        whole.
        """
        memory.require(identity.model, cls.bytes_needed(options), device)
        return cls(identity, options, device)

    @classmethod
    def bytes_needed(cls, options: Any) -> int:
        """Memory that the weights take in the precision asked for, in bytes.

        Reads the names and shapes of the tensors only; those that sampling does not need do not
        count.
        """
        found = cls.find(options)
        n_numbers = 0
        for source in cls.sources:
            for path in found[source.option].weights:
                for name, tensor in load_tensors(path, device="meta").items():
                    if not name.startswith(source.unused):
                        n_numbers += tensor.numel()
        return DTYPES[options.dtype].itemsize * n_numbers

    def component(
        self,
        kind: type[Any],
        subfolder: str,
        *,
        source: str = "checkpoint",
        dtype: torch.dtype | str = "",
    ) -> Any:
        """A network of a checkpoint on the model's device, ready for inference.

        `kind` is a class of diffusers or transformers, `subfolder` where the checkpoint has it, ""
        for its top. Precision is the model's, or the one given ("auto": as stored). Raises
        ModelError where a tensor is absent, unknown or of another shape.
        """
        unused = {part.option: part.unused for part in self.sources}
        network = load_component(
            kind,
            self.found[source],
            subfolder,
            dtype=dtype or self.dtype,
            unused=unused[source],
        )
        return network.to(self.device)

    @property
    def guidance(self) -> Guidance:
        """Guidance of a batch, by the option of that name.

        Most upstream loops need no unconditional branch up to a scale of 1; an adapter of one that
        does overrides this.
        """
        scale = self.settings.guidance
        return Guidance(scale, guided=scale > 1.0)

    def compiled(self, network: Any) -> Any:
        """The network, compiled by torch where the option `compile` asks for it.

        The first call after that is slow, and numbers may differ in their last digits.
        """
        return torch.compile(network) if self.settings.compile else network
