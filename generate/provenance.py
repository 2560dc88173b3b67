"""Software, weights and hardware behind a store."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import socket
import subprocess
from pathlib import Path

from generate.errors import ModelError
from schemas.io.files import file_sha256
from schemas.provenance import Hardware, Software, WeightFile

LIBRARIES = ("ibstats", "numpy", "torch", "diffusers", "transformers", "zarr", "xarray", "pydantic")


@functools.cache
def software() -> Software:
    """Code revision and library versions of this process.

    The revision is None where the code does not lie in a git repository; libraries that are not
    installed are left out.
    """
    installed = {}
    for library in LIBRARIES:
        try:
            installed[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    revision = _git("rev-parse", "HEAD")
    dirty = None
    if revision is not None:
        dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    return Software(
        python=platform.python_version(),
        code_revision=revision,
        code_dirty=dirty,
        libraries=installed,
    )


def _git(*arguments: str) -> str | None:
    """Output of git in the source tree, None where this is not one."""
    source = Path(__file__).parent
    if not (source.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def hardware(device: str) -> Hardware:
    """The machine, and what a torch device name stands for on it.

    `device` is such as "cpu" or "cuda:0"; that of a GPU is recorded with the GPU's name, and only
    then is torch loaded.
    """
    return Hardware(
        host=socket.gethostname(),
        platform=platform.platform(),
        device=_device_name(device),
        cpu_count=os.cpu_count() or 1,
    )


def _device_name(device: str) -> str:
    """A device with the name of its GPU, if it is one."""
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device}: {torch.cuda.get_device_name(device)}"


@functools.cache
def weight_file(path: Path, folder: Path | None = None) -> WeightFile:
    """Size in bytes and sha256 of a weight file, named relative to the folder of its checkpoint.

    `folder` is that of the checkpoint; None means the file's own. A file is read once in a process.
    Raises `ModelError` if there is none.
    """
    if not path.is_file():
        raise ModelError(
            f"weight file {path} does not exist: correct the option that names it; if it is one of "
            "the trio's, reinstall the package."
        )
    return WeightFile(
        name=str(path.relative_to(folder or path.parent)),
        bytes=path.stat().st_size,
        sha256=file_sha256(path),
    )
