"""Files of a checkpoint that are not what their name says: one line with the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from generate.errors import ModelError
from generate.models.checkpoint import Checkpoint, find, load_tensors

WHOLE = save({"a": torch.zeros(40), "b": torch.ones(3)})
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"
IMPOSTORS = {
    "pointer": (POINTER, "is a git-lfs pointer, not the file"),
    "empty": (b"", "is empty"),
    "page": (b"\n<!DOCTYPE html><html>log in</html>", "is a web page"),
    "cut": (WHOLE[:-10], "is not whole: .* bytes, but its header says"),
    "longer": (WHOLE + b"0", "is not whole"),
    "header cut": (WHOLE[:40], "is not a file of weights"),
    "three bytes": (b"abc", "is not a file of weights"),
    "json": (b'{"error": "Access denied, please log in at once"}', "is not a file of weights"),
    "zeros": (bytes(100), "is not a file of weights"),
}


@pytest.mark.parametrize("name", IMPOSTORS)
def test_weights_that_are_none_are_named(tmp_path: Path, name: str) -> None:
    content, message = IMPOSTORS[name]
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=f"model.safetensors {message}") as told:
        find(str(tmp_path), ["model.safetensors|model.bin"])
    assert "\n" not in str(told.value)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_tensors(file)


def test_whole_weights_are_read(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(WHOLE)
    (file,) = find(str(tmp_path), ["*.safetensors"]).weights
    assert load_tensors(file)["b"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("suffix", [".bin", ".pt"])
@pytest.mark.parametrize("content", [POINTER, b"", b"<html>", b"abc", bytes(50)])
def test_a_pickle_that_is_none_is_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    file = tmp_path / f"model{suffix}"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=f"model{suffix} is "):
        load_tensors(file)


def test_a_pickle_of_something_else_is_named(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"model\.pt holds a list, not weights"):
        load_tensors(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", r"config\.json of checkpoint 'mine' has no key 'sample_size'"),
        (b"[1]", "holds a list, not a mapping"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"", "is empty"),
        (POINTER, "is a git-lfs pointer"),
        (b"<html></html>", "is a web page"),
    ],
)
def test_a_configuration_that_is_none_is_named(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "config.json").write_bytes(content)
    checkpoint = Checkpoint("mine", tmp_path, "local", ())
    with pytest.raises(ModelError, match=message):
        checkpoint.json("config.json")["sample_size"]
