"""What adapters of published models share: checkpoints by name, identity, device and precision."""

from __future__ import annotations

import abc
import functools
import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch

from generate.errors import ModelError
from generate.models import hub, memory, precision
from generate.models.base import Model
from generate.models.checkpoint import HALF, Checkpoint, Source, find, load_tensors
from generate.models.component import Part, examine, load
from generate.models.guidance import Guidance
from generate.models.memory import gigabytes
from generate.models.precision import STORAGE, Precision
from generate.networks.keys_and_values import KeysAndValues
from generate.provenance import weight_file
from schemas.provenance import ModelIdentity, WeightFile


@dataclass(frozen=True)
class PublicOptions:
    """Where the weights are and how the network computes.

    `checkpoint` is a folder, 'owner/name' or 'owner/name@revision' of the hub. `precision` is that
    of the networks that read texts and give logits; the logits themselves are always float32, and
    so is the image decoder. Where a repository has files in float16, these are taken for that
    precision: half the download.
    """

    checkpoint: str
    precision: Precision = "float32"


@dataclass(frozen=True)
class Geometry:
    """What a checkpoint says of its latent grid and images, and the steps of the traversal.

    `grid` is (row, col), `image_size` (y, x) in pixels; `levels` are the values of each digit of an
    id, none where ids have no digits. `scales`, `tokens_per_code` and `rendering` are those of
    `ModelIdentity`.
    """

    codebook_size: int
    grid: tuple[int, int]
    image_size: tuple[int, int]
    steps: int
    levels: tuple[int, ...] = ()
    scales: tuple[int, ...] = ()
    tokens_per_code: int = 1
    rendering: bool = False

    @property
    def n_positions(self) -> int:
        """Positions of the grid."""
        return self.grid[0] * self.grid[1]


def grid_side(model: str, image_size: int, pixels: int, *, whole: int = 0, where: str = "") -> int:
    """Positions along a side of a square image that the option `image_size` asks for.

    A position is so many `pixels` wide; `whole` is what the side must be a multiple of, where that
    is more. `model` is its name, and `where` what else the error says before the rule. Raises
    ModelError where the image is no whole number of them.

    >>> grid_side("Emu3", 720, 8)
    90
    """
    whole = whole or pixels
    if image_size < whole or image_size % whole:
        raise ModelError(
            f"option 'image_size' of {model} is {image_size}; {where}it must be a multiple of "
            f"{whole}."
        )
    return image_size // pixels


def grid_sides(model: str, scales: str, published: str) -> tuple[int, ...]:
    """Sides of the grids that the option `scales` asks for, coarsest first.

    `model` is its name, and `published` what the error gives as an example. Raises ModelError where
    they do not rise, or are fewer than two.

    >>> grid_sides("VAR", "1,2,4", published="1,2,3")
    (1, 2, 4)
    """
    parts = scales.split(",")
    sides = [int(part) for part in parts if part.isascii() and part.isdigit()]
    if len(sides) < max(2, len(parts)) or sides[0] < 1 or sorted(set(sides)) != sides:
        raise ModelError(
            f"option 'scales' of {model} is '{scales}'; it must be rising sides of two grids or more, "
            f"such as '{published}'."
        )
    return tuple(sides)


class PublicModel(Model):
    """A published model.

    A subclass names its sources and the parts that their configuration files describe, reads the
    geometry from these files, and reads the networks in its constructor.
    """

    sources: ClassVar[tuple[Source, ...]]

    def __init__(self, identity: ModelIdentity, options: Any, device: str) -> None:
        super().__init__(identity)
        self.settings = options
        self.device = device
        self.dtype = STORAGE[options.precision]
        self.found = self.find(options)

    @classmethod
    def options(cls, given: Mapping[str, Any]) -> Any:
        """Sampling settings, as `Model.options` gives them; `dtype` is the old name of `precision`.

        Raises ModelError also for `compile`, which is gone.
        """
        return super().options(precision.named_as_now(given))

    @classmethod
    @abc.abstractmethod
    def geometry(cls, found: Mapping[str, Checkpoint], options: Any) -> Geometry:
        """Codebook, grid, image size and steps of a checkpoint, read without its weights.

        `found` has the checkpoint of every source by its option, whose weights may not be here yet.
        Raises ModelError where a configuration file is absent or broken.
        """

    @classmethod
    def parts(cls) -> Mapping[str, Part]:
        """Networks that a configuration file describes, by the name that the adapter gives them.

        None here. Those whose sizes are read off their weights are no parts.
        """
        return {}

    @classmethod
    @functools.cache
    def find(
        cls, options: Any, *, download: bool = True, weights: bool = True
    ) -> dict[str, Checkpoint]:
        """The checkpoint of every source, by the option that names it.

        Asks the hub only for what the local cache lacks, and not at all without `download`; without
        `weights`, files of weights are listed, not fetched. Raises ModelError where a checkpoint,
        or a file of one, cannot be had.
        """
        found = {}
        for source in cls.sources:
            files = cls.files_of(source, options)
            found[source.option] = find(
                getattr(options, source.option), files, download=download, weights=weights
            )
        return found

    @classmethod
    def files_of(cls, source: Source, options: Any) -> list[str]:
        """The files that are needed of a source, by globs, for these options.

        Alternatives are in order of preference, joined by '|', each once.
        """
        half = HALF if options.precision == "float16" else ""
        files = []
        for file in source.files:
            choices = file.format(**vars(options), half=half).split("|")
            files.append("|".join(dict.fromkeys(choices)))
        return files

    @classmethod
    @functools.cache
    def examined(cls, options: Any) -> dict[str, Checkpoint]:
        """The checkpoint of every source, of which the configuration files are this model's.

        Weights are neither fetched nor read. Raises ModelError where a file is missing, a network
        is of another kind, or cannot be the one that the files of weights hold by their size.
        """
        found = cls.find(options, weights=False)
        for part in cls.parts().values():
            examine(part, found[part.source], cls._source(part.source).unused)
        cls._geometry_of(found, options)
        return found

    @classmethod
    def foreseen(cls, name: str, options: Any) -> ModelIdentity:
        """Identity as far as configuration files tell it: no digests, and no weights fetched.

        Raises ModelError as `examined` does.
        """
        return cls._identity(name, options, cls.examined(options), [])

    @classmethod
    def identify(cls, name: str, options: Any) -> ModelIdentity:
        """Revision and digests of the weight files; what is not in the local cache is fetched.

        Before that a warning says how much it is, under which licence, and how much room there is.
        A folder has no revision of its own: a digest of its weights stands for it.
        """
        cls._announce(cls.examined(options))
        found = cls.find(options)
        weights = []
        for part in found.values():
            weights += [weight_file(path, part.folder) for path in part.weights]
        return cls._identity(name, options, found, weights)

    @classmethod
    def _announce(cls, found: Mapping[str, Checkpoint]) -> None:
        """Say what is fetched now; raise DiskFullError if there is no room for all of it."""
        names = [one.name for one in found.values() if one.bytes_to_fetch]
        if not names:
            return
        n_bytes = sum(one.bytes_to_fetch for one in found.values())
        what = " and ".join(names)
        hub.refuse_too_large(what, n_bytes)
        warnings.warn(
            f"fetching {gigabytes(n_bytes)} of {what} into {hub.cache_folder()}, where "
            f"{gigabytes(hub.free_for_cache())} are free; licence: {cls.card.licence}.",
            stacklevel=3,
        )

    @classmethod
    def _identity(
        cls,
        name: str,
        options: Any,
        found: Mapping[str, Checkpoint],
        weights: list[WeightFile],
    ) -> ModelIdentity:
        revision = found["checkpoint"].revision
        if revision == "local" and weights:
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
    def _source(cls, option: str) -> Source:
        """The source that an option names."""
        (found,) = [source for source in cls.sources if source.option == option]
        return found

    @classmethod
    def load(cls, identity: ModelIdentity, options: Any, device: str) -> Self:
        """The model, ready to sample on a torch device; its constructor reads the networks.

        Raises ModelError where the device does not compute in the precision, where the weights take
        more memory than it has free, or where they are not whole.
        """
        precision.require(identity.model, options.precision, device)
        memory.require(identity.model, cls.bytes_needed(options), device)
        return cls(identity, options, device)

    @classmethod
    def bytes_needed(cls, options: Any) -> int:
        """Memory that the weights take, in bytes: those of the decoder in float32.

        Reads the names and shapes of the tensors only; those that sampling does not need do not
        count.
        """
        n_bytes = 0
        for option, checkpoint in cls.find(options).items():
            source = cls._source(option)
            kept = tuple(prefix.format(**vars(options)) for prefix in source.float32)
            for path in checkpoint.weights:
                file = path.relative_to(checkpoint.folder).as_posix()
                for name, tensor in load_tensors(path, device="meta").items():
                    if name.startswith(source.unused):
                        continue
                    exact = file.startswith(kept) or name.startswith(kept)
                    dtype = torch.float32 if exact else STORAGE[options.precision]
                    n_bytes += dtype.itemsize * tensor.numel()
        return n_bytes

    def component(self, name: str, dtype: torch.dtype | str = "") -> Any:
        """One of the parts on the model's device, ready for inference.

        Precision is the model's, or the one given ("auto": as stored). Raises ModelError where a
        tensor is absent, unknown or of another shape.
        """
        part = self.parts()[name]
        network = load(
            part,
            self.found[part.source],
            dtype=dtype or self.dtype,
            unused=self._source(part.source).unused,
        )
        return network.to(self.device)

    @classmethod
    def guidance_of(cls, options: Any) -> Guidance:
        """Guidance of a batch, by the option of that name.

        Most upstream loops need no unconditional branch up to a scale of 1; an adapter of one that
        does overrides this.
        """
        return Guidance(options.guidance, guided=options.guidance > 1.0)

    @property
    def guidance(self) -> Guidance:
        """Guidance of a batch, as `guidance_of` gives it."""
        return self.guidance_of(self.settings)

    @classmethod
    def keys_and_values(cls, found: Mapping[str, Checkpoint], options: Any) -> KeysAndValues | None:
        """What is kept of a row of a batch while it samples, but for a prompt of any length.

        Of checkpoints whose weights may not be here yet. None where nothing is kept, as here, or
        where weights must tell that are not here.
        """
        return None

    @classmethod
    def bytes_of_image(cls, options: Any) -> int | None:
        """Memory that keys and values of an image take, in bytes, of both branches where guided.

        None where there are none, or they are not known yet.
        """
        kept = cls.keys_and_values(cls.examined(options), options)
        if kept is None:
            return None
        n_rows = 2 if cls.guidance_of(options).guided else 1
        return n_rows * kept.numbers * STORAGE[options.precision].itemsize
