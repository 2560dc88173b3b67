"""Networks of diffusers and transformers: described by a configuration file, then filled.

The description comes first. It fetches and reads no weights, and refuses what cannot be the network
that an adapter needs; `load` then reads the weights, strictly.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor, nn

from generate.errors import ModelError, one_line
from generate.models.checkpoint import HALF, Checkpoint, fill, load_tensors, refuse_keys
from generate.models.hub import Listed
from generate.models.memory import gigabytes

IN_HALF, IN_FULL = 2, 4
"""Bytes of a number in half and in single precision, between which files of weights lie."""
SLACK, OF_A_TENSOR = 1.01, 1024
"""Most that a file of weights is larger than its numbers: as a factor, and in bytes a tensor."""
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names of the layers of attention in files that diffusers saved in 2022, and their names since."""


@dataclass(frozen=True)
class Layout:
    """How to read a network that is published under other names.

    `settings` makes its description that of the class, and `tensors` its state dict that of the
    network.
    """

    settings: Callable[[Mapping[str, Any]], dict[str, Any]]
    tensors: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class Part:
    """A network of a checkpoint that a `config.json` describes.

    `kind` is its class, of diffusers or transformers, or one of ours whose `from_config` takes a
    description that diffusers saved, where `saved_as` is the class that this names. `source` is the
    option that names the repository, and `subfolder` where in it the network lies, "" for its top.
    `defaults` are the keys that files older than them lack, with the value that was the only one
    then; `keys` those that must be there, as no tensor would tell that one is missing. `layouts`
    are other ways in which a network of transformers is published, by the kind that their
    description names.
    """

    kind: type[Any]
    subfolder: str = ""
    source: str = "checkpoint"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    saved_as: str = ""

    @property
    def config_file(self) -> str:
        """Path of the description in the checkpoint."""
        return str(PurePosixPath(self.subfolder, "config.json"))

    @property
    def is_of_diffusers(self) -> bool:
        """Whether diffusers saved the description, else transformers."""
        return not self.kind.__module__.startswith("transformers.")


def described(part: Part, checkpoint: Checkpoint) -> nn.Module:
    """The network that a checkpoint describes, on the meta device: names and shapes, no numbers.

    Reads the configuration file alone. Raises ModelError where that is of another kind of network,
    or not one that the class can be made from.
    """
    settings = dict(settings_of(part, checkpoint))
    try:
        with torch.device("meta"):
            if part.is_of_diffusers:
                network: nn.Module = part.kind.from_config(settings)
            else:
                network = part.kind(part.kind.config_class.from_dict(settings))
    except Exception as error:  # the libraries raise classes of every kind for a wrong value
        raise ModelError(
            f"{part.config_file} of checkpoint '{checkpoint.name}' does not describe a "
            f"{part.kind.__name__}{left_out(part, checkpoint)}: fetch it again, or name another; "
            f"{type(error).__name__}: {one_line(error, 200)}"
        ) from None
    return network


def examine(part: Part, checkpoint: Checkpoint, unused: tuple[str, ...]) -> nn.Module:
    """The network that a checkpoint describes, whose weights can be those of its files by size.

    `unused` are the first letters of tensors that may be in the files or not. Fetches and reads no
    weights. Raises ModelError where the files are smaller than the network in half precision or,
    unless there are unused tensors, larger than it in single precision.
    """
    network = described(part, checkpoint)
    sizes = [tensor.numel() for tensor in network.state_dict().values()]
    n_bytes = sum(file.n_bytes for file in _weight_files(part, checkpoint))
    n_numbers = sum(sizes)
    if not n_bytes:  # the hub did not say
        return network
    too_large = n_bytes > SLACK * IN_FULL * n_numbers + OF_A_TENSOR * (len(sizes) + 1)
    if n_bytes < IN_HALF * n_numbers or (too_large and not unused):
        raise ModelError(
            f"{part.config_file} of checkpoint '{checkpoint.name}' describes a "
            f"{part.kind.__name__} of {gigabytes(IN_FULL * n_numbers)} in single precision, but its "
            f"weights have {gigabytes(n_bytes)}{left_out(part, checkpoint)}: fetch it again, or name "
            "another."
        )
    return network


def load(
    part: Part, checkpoint: Checkpoint, *, dtype: torch.dtype | str, unused: tuple[str, ...] = ()
) -> Any:
    """A network with its weights, in evaluation mode, its state dict strict.

    `dtype` is a torch type or, for a class of transformers, "auto": as stored. Raises ModelError
    where a tensor is absent, unknown or misshapen, and where the checkpoint is of another kind.
    Keys that begin with one of `unused` may be there or not.
    """
    if part.is_of_diffusers:
        network = described(part, checkpoint)
        tensors = _renamed(_tensors(part, checkpoint), network)
        return fill(checkpoint, network, tensors, left_out(part, checkpoint)).to(dtype)
    return _pretrained(part, checkpoint, dtype, unused)


def _pretrained(
    part: Part, checkpoint: Checkpoint, dtype: torch.dtype | str, unused: tuple[str, ...]
) -> Any:
    """A network by the loader of transformers, which knows its older names of tensors.

    It fills absent tensors with noise and only warns; here they raise ModelError.
    """
    settings = settings_of(part, checkpoint)
    layout = layout_of(part, checkpoint)
    name = part.kind.__name__
    in_half = any(HALF in file.name for file in _weight_files(part, checkpoint))
    where: Path | None = checkpoint.folder / part.subfolder
    given: dict[str, Any] = {"variant": HALF.strip(".") if in_half else None}
    if layout is not None:
        tensors = layout.tensors(_tensors(part, checkpoint))
        where = None
        given = {"state_dict": tensors, "config": part.kind.config_class.from_dict(dict(settings))}
    try:
        network, report = part.kind.from_pretrained(
            where, local_files_only=True, output_loading_info=True, dtype=dtype, **given
        )
    except Exception as error:  # the library raises classes of every kind for a wrong file
        raise ModelError(
            f"checkpoint '{checkpoint.name}' does not load as a {name}: {one_line(error, 300)}"
            f"{left_out(part, checkpoint)}"
        ) from None
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        wrong = []
        for key in sorted(map(str, report[kind])):
            # older libraries saved the position numbers 0, 1, 2, ... as a tensor
            if not key.startswith(unused) and not key.endswith(".position_ids"):
                wrong.append(key)
        refuse_keys(checkpoint, name, kind, wrong, left_out(part, checkpoint))
    return network.eval().requires_grad_(False)


def left_out(part: Part, checkpoint: Checkpoint) -> str:
    """Words on the keys that a description leaves out, for which the class has defaults.

    Where a network and its weights differ, one of them is the likely reason. Empty if none is.
    """
    absent = ", ".join(_absent(part, checkpoint))
    return f" ({part.config_file} leaves out {absent})" if absent else ""


def _absent(part: Part, checkpoint: Checkpoint) -> list[str]:
    """Keys of a class that a description leaves out, with a dot into nested ones."""
    settings = settings_of(part, checkpoint)
    if layout_of(part, checkpoint) is not None:
        return []
    if part.is_of_diffusers:
        known = inspect.signature(part.kind).parameters
        return [key for key in known if key not in settings]
    from transformers import PreTrainedConfig

    everywhere = set(PreTrainedConfig().to_dict())
    whole = part.kind.config_class().to_dict()
    return list(_absent_sizes(settings, whole, everywhere))


def _absent_sizes(
    settings: Mapping[str, Any], whole: Mapping[str, Any], everywhere: set[str], prefix: str = ""
) -> Iterator[str]:
    """Keys of sizes and switches of a whole configuration that its file leaves out."""
    for key, value in whole.items():
        given = settings.get(key)
        if isinstance(value, dict) and isinstance(given, dict):
            yield from _absent_sizes(given, value, everywhere, f"{prefix}{key}.")
        elif key not in settings and key not in everywhere:
            if isinstance(value, int | str | list | dict):
                yield prefix + key


def settings_of(part: Part, checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The description of a network as its class takes it.

    Completed by what files of its age lack, and translated where it is of another layout. Raises
    ModelError where it is of another kind, or lacks a key.
    """
    settings = checkpoint.json(part.config_file)
    layout = layout_of(part, checkpoint)
    if layout is not None:
        try:
            return layout.settings(settings)
        except (LookupError, TypeError) as error:
            raise ModelError(
                f"{part.config_file} of checkpoint '{checkpoint.name}' lacks {one_line(error, 200)}: "
                "fetch it again, or name another."
            ) from None
    saved, needed = _kind(part, settings), part.saved_as or part.kind.__name__
    if not part.is_of_diffusers:
        needed = part.kind.config_class.model_type
    if saved != needed:
        where = f" in {part.subfolder}" if part.subfolder else ""
        raise ModelError(
            f"checkpoint '{checkpoint.name}' holds a network of kind {saved}{where}, but the adapter "
            f"needs {needed}: name another checkpoint, or another model."
        )
    for key in part.keys:
        settings[key]  # raises where it is not there
    return {**part.defaults, **settings}


def layout_of(part: Part, checkpoint: Checkpoint) -> Layout | None:
    """The other layout in which a checkpoint holds a network; None where it is that of the class.

    Reads the description alone. Raises ModelError where there is none, or it names no kind.
    """
    return part.layouts.get(_kind(part, checkpoint.json(part.config_file)))


def _kind(part: Part, settings: Mapping[str, Any]) -> str:
    """The kind of network that a description names."""
    kind: str = settings["_class_name" if part.is_of_diffusers else "model_type"]
    return kind


def _tensors(part: Part, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The state dict of a part, from all its files."""
    tensors: dict[str, Tensor] = {}
    for file in _weight_files(part, checkpoint):
        tensors |= load_tensors(checkpoint.folder / file.name)
    return tensors


def _weight_files(part: Part, checkpoint: Checkpoint) -> list[Listed]:
    """The files of a checkpoint that hold weights of a part."""
    folder = PurePosixPath(part.subfolder)
    return [file for file in checkpoint.weight_files if PurePosixPath(file.name).parent == folder]


def _renamed(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Tensors under the names of today's attention, where a network has those."""
    known = set(network.state_dict())
    renamed = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        outer, _, layer = module.rpartition(".")
        today = f"{outer}.{OLD_ATTENTION.get(layer, layer)}.{kind}"
        renamed[today if today in known else name] = tensor
    return renamed
