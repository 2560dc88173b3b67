"""Against arrays recorded from upstream's own code on the same weights (tests/recordings/record_lumina_dimoo.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import tiny
from generate.errors import ModelError
from generate.models.lumina_dimoo import LuminaDimoo
from generate.study.probes import Probe
from generate.traversal import masked
from tests.generate.parity import ParityNoise
from tests.recordings import record_lumina_dimoo, recording

TEXTS = list(record_lumina_dimoo.TEXTS)


@pytest.fixture(scope="module")
def recorded() -> dict[str, NDArray[np.generic]]:
    return recording("lumina_dimoo")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LuminaDimoo:
    options = LuminaDimoo.options(tiny.lumina_dimoo(tmp_path_factory.mktemp("dimoo")))
    assert (options.steps, options.guidance) == (
        record_lumina_dimoo.STEPS,
        record_lumina_dimoo.GUIDANCE,
    )
    return LuminaDimoo.load(LuminaDimoo.identify("lumina-dimoo", options), options, "cpu")


def test_checkpoints_here_have_exactly_upstreams_keys(
    model: LuminaDimoo, recorded: dict[str, NDArray[np.generic]]
) -> None:
    state = load_file(model.found["checkpoint"].folder / "model.safetensors")
    ours = {f"{key} {','.join(map(str, tensor.shape))}" for key, tensor in state.items()}
    assert ours == set(recorded["keys"].astype(str))


def test_prompts_are_as_long_as_upstreams(
    model: LuminaDimoo, recorded: dict[str, NDArray[np.generic]]
) -> None:
    readings = LuminaDimoo.read(model.settings, TEXTS)
    assert [len(reading.tokens) for reading in readings] == recorded["prompts"].tolist()
    assert model.encode(TEXTS).is_text.sum(1)[:2].tolist() == recorded["prompts"].tolist()


def test_logits_of_a_padded_batch_equal_upstreams_one_by_one(
    model: LuminaDimoo,
    recorded: dict[str, NDArray[np.generic]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Tensor] = []

    def first_logits(
        grid_logits: masked.GridLogits, n: int, n_places: int, mask: int, **_: object
    ) -> None:
        seen.append(grid_logits(torch.full((n, n_places), mask), 0))

    monkeypatch.setattr(masked, "traverse", first_logits)
    model.traverse(model.encode(TEXTS), Probe(), ParityNoise([0, 1]))
    conditional, unconditional = torch.from_numpy(recorded["logits"]).unbind(1)
    guidance = record_lumina_dimoo.GUIDANCE
    expected = (1 + guidance) * conditional - guidance * unconditional
    assert expected.std() > 0.1
    assert torch.allclose(seen[0], expected, atol=1e-4)


def test_tokens_of_a_batch_equal_upstreams_one_by_one(
    model: LuminaDimoo, recorded: dict[str, NDArray[np.generic]]
) -> None:
    trace = model.traverse(model.encode(TEXTS), Probe(), ParityNoise([0, 1]))
    assert np.array_equal(trace.tokens.numpy(), recorded["tokens"])


def test_ends_of_rows_are_neither_positions_nor_codes(model: LuminaDimoo) -> None:
    tokens = torch.arange(16)[None]
    answer = model.answer(tokens)[0].tolist()
    assert answer[:2] == [126354, 126349]
    assert answer[-2:] == [126350, 126355]
    rows = np.array(answer[2:-2]).reshape(4, 5)
    assert (rows[:, -1] == 126084).all()
    assert (rows[:, :-1].ravel() - 126356).tolist() == list(range(16))


def test_pixels_are_those_of_the_libraries_vq_model(model: LuminaDimoo) -> None:
    """Upstream decodes by `VQModel.decode` with codes for latents."""
    tokens = torch.arange(16)[None] * 3
    image = model.vqvae.decode(
        tokens.view(1, 4, 4), force_not_quantize=True, shape=(1, 4, 4, 8)
    ).sample
    expected = (image.clip(0, 1).permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    assert np.array_equal(model.decode(tokens), expected)


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    """Upstream counts codes from the end of the vocabulary, and decodes from a fixed id."""
    options = LuminaDimoo.options(tiny.lumina_dimoo(tmp_path))
    state = load_file(tmp_path / "model.safetensors")
    for key in ("model.transformer.wte.weight", "model.transformer.ff_out.weight"):
        state[key] = state[key][:-1].clone()
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="has 126403 ids, but 126356 before the codes and 48"):
        LuminaDimoo.load(LuminaDimoo.identify("lumina-dimoo", options), options, "cpu")


def test_another_description_is_one_line_before_a_weight_is_read(tmp_path: Path) -> None:
    options = LuminaDimoo.options(tiny.lumina_dimoo(tmp_path))
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_type": "mmada"}))
    with pytest.raises(ModelError, match="of kind mmada, but the adapter needs llada"):
        LuminaDimoo.examined(options)


def test_an_image_of_no_whole_grid_is_one_line(model: LuminaDimoo) -> None:
    options = LuminaDimoo.options({**vars(model.settings), "image_size": 7})
    with pytest.raises(ModelError, match="is 7; it must be a multiple of 2"):
        LuminaDimoo.geometry(model.found, options)
