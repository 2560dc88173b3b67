"""Half precision and compilation: the network changes its arithmetic, the logits and the contract stay."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from generate.models import model_class
from generate.models.checkpoint import load_tensors
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from tests.generate.models.test_contract import CHECKPOINTS, TEXTS

KEYS = np.arange(4, dtype=np.uint64).reshape(2, 2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_network_in_half_precision_samples_by_float32_logits(
    name: str, dtype: str, tmp_path: Path
) -> None:
    adapter = model_class(name)
    given = CHECKPOINTS[name](tmp_path) | {"dtype": dtype}
    options = adapter.options(given)
    model = adapter.load(adapter.identify(name, options), options, "cpu")
    assert model.identity.options["dtype"] == dtype
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
    given = CHECKPOINTS[name](tmp_path) | {"dtype": "float16"}
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


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_compiled_network_samples_the_same_tokens(name: str, tmp_path: Path) -> None:
    adapter = model_class(name)
    plain = adapter.options(CHECKPOINTS[name](tmp_path))
    tokens = []
    for options in (plain, dataclasses.replace(plain, compile=True)):
        model = adapter.load(adapter.identify(name, options), options, "cpu")
        tokens.append(model.traverse(model.encode(TEXTS[:2]), Probe(), PhiloxNoise(*KEYS)).tokens)
    assert torch.equal(*tokens)
