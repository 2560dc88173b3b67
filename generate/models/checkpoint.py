"""Checkpoints: files of a published model, from the hub or a folder, loaded whole or not at all."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from generate.errors import ModelError, one_line
from generate.models import hub
from generate.models.checkpoint_file import refuse_impostor, settings
from generate.models.hub import Listed

Network = TypeVar("Network", bound=torch.nn.Module)

HALF = ".fp16"
"""What files in half precision have before their ending."""
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
"""Endings of weight files."""

WRAPPERS = ("model", "module", "state_dict", "model_state_dict", "vae")
"""Keys under which training scripts keep a state dict beside other things."""

PIPELINE_FILES = (
    "transformer/config.json",
    "transformer/diffusion_pytorch_model{half}.safetensors"
    "|transformer/diffusion_pytorch_model{half}.bin"
    "|transformer/diffusion_pytorch_model.safetensors|transformer/diffusion_pytorch_model.bin",
    "vqvae/config.json",
    "vqvae/diffusion_pytorch_model.safetensors|vqvae/diffusion_pytorch_model.bin",
    "text_encoder/config.json",
    "text_encoder/model{half}.safetensors|text_encoder/pytorch_model{half}.bin"
    "|text_encoder/model.safetensors|text_encoder/pytorch_model.bin",
    "scheduler/scheduler_config.json",
    "tokenizer/*",
)
"""What diffusers saves of a pipeline with a transformer over the tokens of a VQ model.

The decoder is kept in single precision whatever the others are, so its files are too.
"""


@dataclass(frozen=True)
class Source:
    """One repository of a model: the option that names it, and the files to take from it.

    A file is a glob, or several in order of preference, joined by '|'; '{name}' stands for the
    option of that name, '{half}' for `HALF` where the option `precision` is float16. Tensors whose
    names begin with one of `unused` are not loaded; files or tensors whose names begin with one of
    `float32` are kept in that precision.
    """

    option: str
    files: tuple[str, ...]
    unused: tuple[str, ...] = ()
    float32: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds the files of a source.

    `name` is what the user called it. `revision` is the commit of a hub repository, or "local" for
    a folder, which has none. `files` are those asked for, in the order they were asked for, and no
    others; those that are not here yet are weights.
    """

    name: str
    folder: Path
    revision: str
    files: tuple[Listed, ...]

    @property
    def weight_files(self) -> list[Listed]:
        """Weight files, fetched or not."""
        return [file for file in self.files if is_weights(file.name)]

    @property
    def weights(self) -> list[Path]:
        """Weight files, all of which are here."""
        return [self.folder / file.name for file in self.weight_files]

    @property
    def bytes_to_fetch(self) -> int:
        """Bytes of the files that are not here."""
        return sum(file.n_bytes for file in self.files if not file.is_here)

    def json(self, name: str, kind: str = "") -> dict[str, Any]:
        """The content of a configuration file.

        `name` is its path in the checkpoint, `kind` the class that has to have saved it, "" for
        any. Raises ModelError where it is absent, broken or of another class, and when it is asked
        for a key that it has not.
        """
        path = self.folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise ModelError(
                f"checkpoint '{self.name}' has no file {name}: fetch it whole, or name another."
            ) from None
        refuse_impostor(path)
        found = settings(content, f"{name} of checkpoint '{self.name}'")
        if kind and found["_class_name"] != kind:
            raise ModelError(
                f"{name} of checkpoint '{self.name}' is of a {found['_class_name']}, but the adapter "
                f"needs {kind}: name another checkpoint, or another model."
            )
        return found


def is_weights(name: str) -> bool:
    """Whether a file holds weights, by its ending; all other files are small."""
    return PurePosixPath(name).suffix in WEIGHTS


def find(
    name: str, files: Sequence[str], *, download: bool = True, weights: bool = True
) -> Checkpoint:
    """The checkpoint in a folder, or of a hub repository 'owner/name' or 'owner/name@revision'.

    `files` are what is needed of it, written as `Source` says. Raises ModelError where one is
    missing, or the repository cannot be had, and DiskFullError where there is no room for it; both
    before anything is fetched.

    The hub is asked only for the files named, and not at all without `download`; without `weights`
    those files are listed, not fetched. HF_HOME, HF_HUB_OFFLINE and HF_TOKEN mean what they mean
    to huggingface_hub.
    """
    if Path(name).is_dir():
        return _in_folder(name, Path(name), "local", files)
    repository, _, asked = name.partition("@")
    revision = asked or None
    listed = None
    if download:
        listed = hub.listing(repository, revision, "|".join(files).split("|"))
    if listed is None:
        folder = hub.cached(repository, revision, ask=download)
        return _in_folder(name, folder, folder.name, files)
    chosen = _chosen(name, listed.files, files, "on the hub")
    wanted = [file for file in chosen if weights or not is_weights(file.name)]
    hub.fetch(repository, revision, wanted)
    here = []
    for file in chosen:
        here.append(replace(file, is_here=file.is_here or file in wanted))
    return _checked(Checkpoint(name, listed.folder, listed.folder.name, tuple(here)))


def _in_folder(name: str, folder: Path, revision: str, files: Sequence[str]) -> Checkpoint:
    listed = []
    for pattern in "|".join(files).split("|"):
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                file = path.relative_to(folder).as_posix()
                listed.append(Listed(file, path.stat().st_size, is_here=True))
    chosen = _chosen(name, listed, files, f"in {folder}")
    return _checked(Checkpoint(name, folder, revision, chosen))


def _chosen(
    name: str, listed: Sequence[Listed], files: Sequence[str], where: str
) -> tuple[Listed, ...]:
    """Of each file asked for, what fits the first alternative that is there."""
    chosen: list[Listed] = []
    for file in files:
        for pattern in file.split("|"):
            fitting = [one for one in listed if PurePosixPath(one.name).match(pattern)]
            fitting = [one for one in fitting if one.name.count("/") == pattern.count("/")]
            if fitting:
                chosen += sorted(fitting, key=attrgetter("name"))
                break
        else:
            raise ModelError(
                f"checkpoint '{name}' has no file {file.replace('|', ' or ')} {where}: "
                "fetch it whole, or name another."
            )
    return tuple(dict.fromkeys(chosen))


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, none of whose files that are here is another than its name says."""
    for file in checkpoint.files:
        if file.is_here:
            refuse_impostor(checkpoint.folder / file.name)
    return checkpoint


def fill(
    checkpoint: Checkpoint, network: Network, tensors: Mapping[str, Tensor], note: str = ""
) -> Network:
    """A network made on the meta device, with the tensors of a state dict, in evaluation mode.

    `note` is what a message adds. Raises ModelError where a tensor is absent, unknown or of another
    shape.
    """
    name = type(network).__name__
    try:
        report = network.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:
        raise ModelError(
            f"checkpoint '{checkpoint.name}' is not a {name}: {one_line(error, 300)}{note}."
        ) from None
    refuse_keys(checkpoint, name, "missing_keys", report.missing_keys, note)
    refuse_keys(checkpoint, name, "unexpected_keys", report.unexpected_keys, note)
    return network.eval().requires_grad_(False)


def refuse_keys(
    checkpoint: Checkpoint, network: str, kind: str, keys: Sequence[str], note: str = ""
) -> None:
    """Raise ModelError if a state dict and its network differ in `keys`.

    `kind` says how, such as "missing_keys"; `network` is a name for the message, and `note` what it
    adds.
    """
    if keys:
        raise ModelError(
            f"checkpoint '{checkpoint.name}' is not a whole {network}: {len(keys)} "
            f"{kind.replace('_', ' ')}, first '{keys[0]}'{note}; fetch it again, or name another."
        )


def load_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """The state dict of a weight file; on the device "meta" names and shapes without values.

    A pickle is read without running code from it. Training scripts wrap theirs under one of
    `WRAPPERS`. Raises ModelError where the file is no file of weights.
    """
    refuse_impostor(path)
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            tensors = {}
            for name in file.keys():  # noqa: SIM118
                if device == "meta":
                    shape = file.get_slice(name).get_shape()
                    tensors[name] = torch.empty(shape, device=device)
                else:
                    tensors[name] = file.get_tensor(name).to(device)
            return tensors
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # a file that is no pickle fails anywhere in its reader
        raise ModelError(
            f"{path} is not a file of weights ({one_line(error, 200)}): fetch it again."
        ) from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not weights: fetch it again.")
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    return dict(content)


def matching(tensors: Mapping[str, Tensor], pattern: str) -> list[str]:
    """Names of a state dict that a regular expression matches as a whole."""
    return [name for name in tensors if re.fullmatch(pattern, name)]


def convert(name: str, folder: Path) -> list[Path]:
    """Write every pickle of a checkpoint (*.pt) as safetensors into a folder; the new files.

    `name` is that of a checkpoint, as `find` takes it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in find(name, ["*.pt"]).weights:
        tensors = {key: tensor.contiguous() for key, tensor in load_tensors(path).items()}
        written.append(folder / f"{path.stem}.safetensors")
        save_file(tensors, written[-1], metadata={"source": path.name})
    return written
