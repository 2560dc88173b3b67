"""Files of a checkpoint: where they are looked for, and what is said when they are not what is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from generate.errors import ModelError
from generate.models import memory
from generate.models.amused import Amused
from generate.models.checkpoint import convert, find, load_tensors
from generate.models.janus import Janus

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cache(home: Path, repository: str, files: dict[str, str]) -> Path:
    """A snapshot in the layout of the hub's cache."""
    root = home / "hub" / ("models--" + repository.replace("/", "--"))
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    for name, content in files.items():
        path = root / "snapshots" / COMMIT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root / "snapshots" / COMMIT


def test_a_cached_repository_is_found_offline_with_its_commit(tmp_path: Path) -> None:
    folder = cache(tmp_path, "owner/name", {"config.json": "{}", "model.bin": "x"})
    code = (
        "from generate.models.checkpoint import find\n"
        "for name in ('owner/name', 'owner/name@main'):\n"
        "    found = find(name, ['config.json', 'model.safetensors|model.bin'])\n"
        "    print(found.revision, found.folder, *(path.name for path in found.weights))\n"
        "try: find('owner/other', ['config.json'])\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    one, pinned, refused = done.stdout.splitlines()
    assert one == pinned == f"{COMMIT} {folder} model.bin"
    assert refused.startswith(
        "ModelError checkpoint 'owner/other' is not in the local cache and the hub cannot be"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.GatedRepoError, "is gated: accept its licence on its hub page"),
        (errors.RepositoryNotFoundError, "is not on the hub, or is private"),
        (errors.RevisionNotFoundError, "at revision 'v9' does not exist: name a branch"),
        (errors.LocalEntryNotFoundError, "is not in the local cache and the hub cannot be reached"),
    ],
)
def test_what_the_hub_says_becomes_one_line(
    error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error.__new__(error)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelError, match=message) as caught:
        find("owner/name@v9", ["config.json"])
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_needed_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no file a\.safetensors or a\.bin in"):
        find(str(tmp_path), ["a.safetensors|a.bin"])


def test_a_name_that_is_neither_folder_nor_repository_is_refused() -> None:
    with pytest.raises(ModelError, match="is neither a folder here nor a hub name"):
        find("no/such/folder", ["config.json"])


def test_another_architecture_is_refused(amused_folder: Path, tmp_path: Path) -> None:
    copy = linked(amused_folder, tmp_path)
    edit(copy / "transformer" / "config.json", _class_name="UNet2DModel")
    with pytest.raises(
        ModelError,
        match="a network of kind UNet2DModel in transformer, but the adapter needs UVit2DModel",
    ):
        load(copy)


def test_a_checkpoint_short_of_a_tensor_is_refused(amused_folder: Path, tmp_path: Path) -> None:
    copy = linked(amused_folder, tmp_path)
    path = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    del tensors[name]
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=f"is not a whole UVit2DModel: 1 missing keys, first '{name}'"
    ):
        load(copy)


def test_weights_that_do_not_fit_are_refused_with_the_estimate(
    amused_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10_000)
    with pytest.raises(
        ModelError,
        match=r"'amused' takes about 0\.\d GB for its weights alone, but cpu has 0\.1 GB free",
    ):
        load(amused_folder)


def test_a_pickle_that_runs_code_is_not_loaded(tmp_path: Path) -> None:
    torch.save({"model": {"x": Payload()}}, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="is not a file of weights"):
        load_tensors(tmp_path / "weights.pt")
    assert not Payload.ran


class Payload:
    ran = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (setattr, (Payload, "ran", True))


def test_converted_pickles_hold_the_same_tensors(tmp_path: Path) -> None:
    weights = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    torch.save({"model": weights, "steps": 3}, tmp_path / "gpt.pt")
    (path,) = convert(str(tmp_path), tmp_path / "out")
    assert path.name == "gpt.safetensors"
    converted = load_tensors(path)
    assert converted.keys() == weights.keys()
    assert all(torch.equal(converted[key], weights[key]) for key in weights)


def test_presets_give_way_to_what_is_named() -> None:
    options = Amused.options({"preset": "512", "steps": 3})
    assert (options.checkpoint, options.steps) == ("amused/amused-512", 3)
    with pytest.raises(ModelError, match="preset '99' of Amused is unknown; allowed: 256, 512"):
        Amused.options({"preset": "99"})
    with pytest.raises(
        ModelError,
        match="option 'precision' of Janus is 'float8'; it must be one of float32, tf32, bfloat16, float16",
    ):
        Janus.options({"precision": "float8"})


def linked(folder: Path, target: Path) -> Path:
    """A copy whose files may be replaced."""
    import shutil

    return Path(shutil.copytree(folder, target / "copy"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def load(folder: Path) -> Amused:
    options = Amused.options({"checkpoint": str(folder)})
    return Amused.load(Amused.identify("amused", options), options, "cpu")
