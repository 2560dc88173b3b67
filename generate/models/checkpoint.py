"""Checkpoints: files of a published model, from the hub or a folder, loaded whole or not at all."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from generate.errors import ModelError, one_line
from generate.models.checkpoint_file import refuse_impostor, settings

Network = TypeVar("Network", bound=torch.nn.Module)

WEIGHTS = (".safetensors", ".bin", ".pt")
"""Endings of weight files."""

PIPELINE_FILES = (
    "transformer/config.json",
    "transformer/diffusion_pytorch_model.safetensors|transformer/diffusion_pytorch_model.bin",
    "vqvae/config.json",
    "vqvae/diffusion_pytorch_model.safetensors|vqvae/diffusion_pytorch_model.bin",
    "text_encoder/config.json",
    "text_encoder/model.safetensors|text_encoder/pytorch_model.bin",
    "scheduler/scheduler_config.json",
    "tokenizer/*",
)
"""What diffusers saves of a pipeline with a transformer over the tokens of a VQ model."""


@dataclass(frozen=True)
class Source:
    """One repository of a model: the option that names it, and the files to take from it.

    A file is a glob, or several in order of preference, joined by '|'; '{name}' stands for the
    option of that name. Tensors whose names begin with one of `unused` are not loaded.
    """

    option: str
    files: tuple[str, ...]
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds all the files of a source.

    `name` is what the user called it. `revision` is the commit of a hub repository, or "local" for
    a folder, which has none. `files` are those asked for, in the order they were asked for, and no
    others.
    """

    name: str
    folder: Path
    revision: str
    files: tuple[Path, ...]

    @property
    def weights(self) -> list[Path]:
        """Weight files."""
        return [path for path in self.files if path.suffix in WEIGHTS]

    def json(self, name: str) -> dict[str, Any]:
        """The content of a configuration file.

        `name` is its path in the checkpoint. Raises ModelError where it is absent or broken, and
        when it is asked for a key that it has not.
        """
        path = self.folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise ModelError(
                f"checkpoint '{self.name}' has no file {name}: fetch it whole, or name another."
            ) from None
        refuse_impostor(path)
        return settings(content, f"{name} of checkpoint '{self.name}'")


def find(name: str, files: Sequence[str], *, download: bool = True) -> Checkpoint:
    """The checkpoint in a folder, or of a hub repository 'owner/name' or 'owner/name@revision'.

    `files` are what is needed of it, written as `Source` says. Raises ModelError where one is
    missing, or the repository cannot be had.

    The hub is asked only for the files named, and not at all without `download`; HF_HOME,
    HF_HUB_OFFLINE and HF_TOKEN mean what they mean to huggingface_hub.
    """
    if Path(name).is_dir():
        return _in_folder(name, Path(name), "local", files)
    repository, _, revision = name.partition("@")
    choices = [file.split("|") for file in files]
    first = [choice[0] for choice in choices]
    folder = _snapshot(repository, revision or None, first, download=download)
    for turn in range(1, max(map(len, choices))):
        wanted = _wanted(folder, choices, turn)
        if wanted:
            folder = _snapshot(repository, revision or None, wanted, download=download)
    return _in_folder(name, folder, folder.name, files)


def _wanted(folder: Path, choices: Sequence[Sequence[str]], turn: int) -> list[str]:
    """Alternatives number `turn` of the files that a folder has by none of theirs."""
    wanted = []
    for choice in choices:
        if len(choice) > turn and not _matches(folder, choice):
            wanted.append(choice[turn])
    return wanted


def _in_folder(name: str, folder: Path, revision: str, files: Sequence[str]) -> Checkpoint:
    found = []
    for file in files:
        matched = _matches(folder, file.split("|"))
        if not matched:
            raise ModelError(
                f"checkpoint '{name}' has no file {file.replace('|', ' or ')} in {folder}: "
                "fetch it whole, or name another."
            )
        found += matched
    for path in found:
        refuse_impostor(path)
    return Checkpoint(name, folder, revision, tuple(dict.fromkeys(found)))


def _matches(folder: Path, choices: Sequence[str]) -> list[Path]:
    """Files of the first alternative that is there."""
    for choice in choices:
        found = sorted(folder.glob(choice))
        if found:
            return found
    return []


def _snapshot(
    repository: str, revision: str | None, files: Sequence[str], *, download: bool
) -> Path:
    """Folder of a repository's snapshot in the local cache, with the files that the hub has."""
    from huggingface_hub import errors, snapshot_download

    what = f"checkpoint '{repository}'"
    if revision:
        what += f" at revision '{revision}'"
    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=list(files),
                local_files_only=not download,
            )
        )
    except errors.HFValidationError:
        raise ModelError(
            f"{what} is neither a folder here nor a hub name 'owner/name': correct it."
        ) from None
    except errors.GatedRepoError:
        raise ModelError(
            f"{what} is gated: accept its licence on its hub page, then run `hf auth login`."
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"{what} is not on the hub, or is private: correct the name, or `hf auth login`."
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelError(
            f"{what} does not exist: name a branch, tag or commit the repository has."
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        offline = isinstance(error, errors.OfflineModeIsEnabled)
        reason = "; HF_HUB_OFFLINE is set" if offline else ""
        raise ModelError(
            f"{what} is not in the local cache and the hub cannot be reached{reason}: connect once, "
            "point HF_HOME to a cache that has it, or name a folder."
        ) from None


def load_component(
    component: type[Any],
    checkpoint: Checkpoint,
    subfolder: str = "",
    *,
    dtype: Any,
    unused: tuple[str, ...] = (),
) -> Any:
    """A network of diffusers or transformers in evaluation mode, its state dict strict.

    `component` is its class and `dtype` a torch type or "auto". `component.from_pretrained` fills
    absent tensors with noise and only warns; here an absent, unknown or misshapen tensor raises
    ModelError, and so does a checkpoint of another kind. Keys that begin with one of `unused` may
    be there or not.
    """
    name = component.__name__
    config = checkpoint.json(str(PurePosixPath(subfolder, "config.json")))
    precision: dict[str, Any]
    if component.__module__.startswith("diffusers."):
        saved, needed = config.get("_class_name"), name
        precision = {"torch_dtype": dtype, "low_cpu_mem_usage": False}
    else:
        saved, needed = config.get("model_type"), component.config_class.model_type
        precision = {"dtype": dtype}
    if saved != needed:
        where = f" in {subfolder}" if subfolder else ""
        raise ModelError(
            f"checkpoint '{checkpoint.name}' holds a network of kind {saved}{where}, but the adapter "
            f"needs {needed}: name another checkpoint, or another model."
        )
    try:
        network, report = component.from_pretrained(
            checkpoint.folder / subfolder,
            local_files_only=True,
            output_loading_info=True,
            **precision,
        )
    except Exception as error:  # the libraries raise classes of every kind for a wrong file
        raise ModelError(
            f"checkpoint '{checkpoint.name}' does not load as a {name}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from None
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        wrong = []
        for key in sorted(map(str, report[kind])):
            # older libraries saved the position numbers 0, 1, 2, ... as a tensor
            if not key.startswith(unused) and not key.endswith(".position_ids"):
                wrong.append(key)
        refuse_keys(checkpoint, name, kind, wrong)
    return network.eval().requires_grad_(False)


def fill(checkpoint: Checkpoint, network: Network, tensors: Mapping[str, Tensor]) -> Network:
    """A network made on the meta device, with the tensors of a state dict, in evaluation mode.

    Raises ModelError where a tensor is absent, unknown or of another shape.
    """
    name = type(network).__name__
    try:
        report = network.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:
        raise ModelError(
            f"checkpoint '{checkpoint.name}' is not a {name}: {' '.join(str(error).split())}"
        ) from None
    refuse_keys(checkpoint, name, "missing_keys", report.missing_keys)
    refuse_keys(checkpoint, name, "unexpected_keys", report.unexpected_keys)
    return network.eval().requires_grad_(False)


def refuse_keys(checkpoint: Checkpoint, network: str, kind: str, keys: Sequence[str]) -> None:
    """Raise ModelError if a state dict and its network differ in `keys`.

    `kind` says how, such as "missing_keys"; `network` is a name for the message.
    """
    if keys:
        raise ModelError(
            f"checkpoint '{checkpoint.name}' is not a whole {network}: {len(keys)} "
            f"{kind.replace('_', ' ')}, first '{keys[0]}'; fetch it again, or name another."
        )


def load_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """The state dict of a weight file; on the device "meta" names and shapes without values.

    A pickle is read without running code from it. Training scripts wrap theirs under "model",
    "module" or "state_dict". Raises ModelError where the file is no file of weights.
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
    for wrapper in ("model", "module", "state_dict"):
        if isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    return dict(content)


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
