"""Precision: the networks change their arithmetic, the logits, the draws and the contract stay."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from generate.errors import ModelError
from generate.models import model_class, precision
from generate.models.checkpoint import load_tensors
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from tests.generate.models.test_contract import CHECKPOINTS, TEXTS

KEYS = np.arange(4, dtype=np.uint64).reshape(2, 2)


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_network_in_half_precision_samples_by_float32_logits(
    name: str, half: str, tmp_path: Path
) -> None:
    adapter = model_class(name)
    given = CHECKPOINTS[name](tmp_path) | {"precision": half}
    options = adapter.options(given)
    model = adapter.load(adapter.identify(name, options), options, "cpu")
    assert model.identity.options["precision"] == half
    keep = np.arange(model.identity.codebook_size) % 2 == 0
    trace = model.traverse(model.encode(TEXTS[:2]), Probe(allowed=keep), PhiloxNoise(*KEYS))
    assert keep[trace.tokens].all()
    assert trace.token_surprisal.dtype == torch.float32
    assert trace.token_surprisal.isfinite().all()
    assert (trace.token_entropy <= np.log2(keep.sum()) + 1e-4).all()
    assert model.decode(trace.tokens).std() > 0


@pytest.mark.parametrize("name", ["amused", "vq-diffusion"])
def test_files_in_half_precision_are_taken_for_it_and_change_nothing(
    name: str, tmp_path: Path
) -> None:
    """Half the download: the same numbers, rounded before they are fetched instead of after."""
    adapter = model_class(name)
    given = CHECKPOINTS[name](tmp_path) | {"precision": "float16"}
    shutil.copytree(tmp_path, tmp_path / "both")
    for part in ("transformer", "text_encoder", "vqvae"):
        for path in (tmp_path / "both" / part).glob("*model.*"):
            rounded = {key: in_half(tensor) for key, tensor in load_tensors(path).items()}
            save_file(rounded, path.with_name(f"{path.stem}.fp16.safetensors"), {"format": "pt"})
    text_encoder = tmp_path / "both" / "text_encoder" / "pytorch_model.fp16.safetensors"
    if text_encoder.exists():
        text_encoder.rename(text_encoder.with_name("model.fp16.safetensors"))
    tokens = []
    for folder, n_in_half in ((tmp_path, 0), (tmp_path / "both", 2)):
        options = adapter.options(given | {"checkpoint": str(folder)})
        identity = adapter.identify(name, options)
        assert sum(".fp16." in file.name for file in identity.weights) == n_in_half
        model = adapter.load(identity, options, "cpu")
        tokens.append(model.traverse(model.encode(TEXTS[:2]), Probe(), PhiloxNoise(*KEYS)).tokens)
    assert torch.equal(*tokens)


def in_half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


@contextmanager
def products_noted(notes: dict[str, set[str]]) -> Iterator[None]:
    """Note by class of module how products are set while it computes."""

    def note(module: torch.nn.Module, _: object) -> None:
        notes.setdefault(type(module).__name__, set()).add(torch.get_float32_matmul_precision())

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        yield
    finally:
        hook.remove()


class ExactNoise(PhiloxNoise):
    """Draws that must not meet TF32."""

    def identities(self, step: int, probabilities: torch.Tensor) -> torch.Tensor:
        assert torch.get_float32_matmul_precision() == "highest"
        return super().identities(step, probabilities)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_tf32_holds_while_a_network_runs_and_for_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that is said to have it: a CPU computes in float32 all the same, so tokens are equal."""
    monkeypatch.setattr(precision, "has_tf32", lambda device: True)
    adapter = model_class(name)
    given = CHECKPOINTS[name](tmp_path)
    tokens = []
    for word, expected in (("float32", "highest"), ("tf32", "high")):
        options = adapter.options(given | {"precision": word})
        model = adapter.load(adapter.identify(name, options), options, "cpu")
        sampling: dict[str, set[str]] = {}
        with products_noted(sampling):
            trace = model.traverse(model.encode(TEXTS[:2]), Probe(), ExactNoise(*KEYS))
        assert len(sampling) > 4
        assert set.union(*sampling.values()) == {expected}
        decoding: dict[str, set[str]] = {}
        with products_noted(decoding):
            model.decode(trace.tokens)
        assert set.union(*decoding.values()) == {"highest"}
        assert model.identity.options["precision"] == word
        tokens.append(trace.tokens)
    assert torch.equal(*tokens)


@precision.computing("tf32")
def broken() -> None:
    raise RuntimeError(f"allowed: {torch.backends.cudnn.allow_tf32}")


def test_tf32_leaves_nothing_behind_even_after_an_error() -> None:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with pytest.raises(RuntimeError, match="allowed: True"):
            broken()
        assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize(("capability", "has"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_tf32_is_there_from_ampere_on(
    capability: tuple[int, int], has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    assert precision.has_tf32("cuda:0") is has


def test_tf32_is_refused_where_there_is_none(amused_folder: Path) -> None:
    adapter = model_class("amused")
    options = adapter.options({"checkpoint": str(amused_folder), "precision": "tf32"})
    identity = adapter.identify("amused", options)
    with pytest.raises(
        ModelError, match=r"'tf32', which needs an NVIDIA GPU .* device is cpu: take"
    ):
        adapter.load(identity, options, "cpu")


def test_runs_of_before_go_on_with_the_studies_of_before(amused_folder: Path) -> None:
    """What fixes a model is, to the digest, what a run made with `dtype` and `compile` has stored."""
    adapter = model_class("amused")
    given = {"checkpoint": str(amused_folder), "dtype": "bfloat16", "compile": False}
    identity = adapter.identify("amused", adapter.options(given))
    assert identity.options["precision"] == "bfloat16"
    stored = given | {
        "steps": 12,
        "guidance": 10.0,
        "path_temperature": 2.0,
        "aesthetic_score": 6.0,
        "path_surprisal": "exact",
    }
    assert identity.fixing()["options"] == stored
    before = identity.model_copy(update={"options": stored})
    assert before.fixing() == identity.fixing()


def test_compile_is_refused_and_says_what_it_means_for_a_run() -> None:
    with pytest.raises(ModelError, match=r"^option 'compile' is gone, .*: leave it out"):
        model_class("amused").options({"compile": True})


def test_two_names_of_the_precision_are_refused() -> None:
    with pytest.raises(ModelError, match="two names of one setting: leave 'dtype' out"):
        model_class("amused").options({"dtype": "float32", "precision": "float32"})
