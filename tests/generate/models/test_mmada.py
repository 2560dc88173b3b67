"""Against arrays recorded from upstream's own code on the same weights (tests/recordings/record_mmada.py)."""

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
from generate.models.mmada import Mmada
from generate.study.probes import Probe
from generate.traversal import masked
from tests.generate.parity import ParityNoise
from tests.recordings import record_mmada, recording

TEXTS = list(record_mmada.TEXTS)


@pytest.fixture(scope="module")
def recorded() -> dict[str, NDArray[np.generic]]:
    return recording("mmada")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Mmada:
    given = {**tiny.mmada(tmp_path_factory.mktemp("mmada")), "guidance": record_mmada.GUIDANCE}
    options = Mmada.options({**given, "steps": record_mmada.STEPS})
    return Mmada.load(Mmada.identify("mmada", options), options, "cpu")


def test_checkpoints_here_have_exactly_upstreams_keys(
    model: Mmada, recorded: dict[str, NDArray[np.generic]]
) -> None:
    ours = set()
    for path in model.found["checkpoint"].weights:
        for key, tensor in load_file(path).items():
            ours.add(f"{key} {','.join(map(str, tensor.shape))}")
    assert ours == set(recorded["keys"].astype(str))


def test_the_text_part_is_upstreams(model: Mmada, recorded: dict[str, NDArray[np.generic]]) -> None:
    """The second text is cut, and both have an unconditional row."""
    assert np.array_equal(model.encode(TEXTS).numpy(), recorded["ids"][:, :513])


def test_logits_equal_upstreams(
    model: Mmada, recorded: dict[str, NDArray[np.generic]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def first_logits(
        grid_logits: masked.GridLogits, n: int, n_places: int, mask: int, **_: object
    ) -> None:
        seen.append(grid_logits(torch.full((n, n_places), mask), 0))

    monkeypatch.setattr(masked, "traverse", first_logits)
    model.traverse(model.encode(TEXTS), Probe(), ParityNoise([0, 1]))
    conditional, unconditional = torch.from_numpy(recorded["logits"]).chunk(2)
    expected = (1 + record_mmada.GUIDANCE) * conditional - record_mmada.GUIDANCE * unconditional
    assert expected.std() > 0.1
    assert torch.allclose(seen[0][..., ::64], expected, atol=1e-4)


def test_tokens_of_a_batch_equal_upstreams_one_by_one(
    model: Mmada, recorded: dict[str, NDArray[np.generic]]
) -> None:
    trace = model.traverse(model.encode(TEXTS), Probe(), ParityNoise([0, 1]))
    assert np.array_equal(trace.tokens.numpy(), recorded["tokens"])


def test_codes_follow_the_tokens_that_upstream_would_add(model: Mmada) -> None:
    assert model.first_code == 257 + 3


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "llada", "of kind llada, but the adapter needs mmada"),
        ("weight_tying", True, "has weight_tying True, but only False is known"),
        ("block_type", "sequential", "has block_type 'sequential', but only 'llama' is known"),
    ],
)
def test_another_description_is_one_line_before_a_weight_is_read(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    options = Mmada.options(tiny.mmada(tmp_path))
    file = Path(options.checkpoint) / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(ModelError, match=message):
        Mmada.examined(options)


def test_a_tensor_too_few_or_too_many_is_refused(tmp_path: Path) -> None:
    options = Mmada.options(tiny.mmada(tmp_path))
    file = Path(options.checkpoint) / "model-00001-of-00002.safetensors"
    state = load_file(file)
    key = "model.transformer.blocks.0.attn_norm.weight"
    less = {name: tensor for name, tensor in state.items() if name != key}
    more = {**state, "model.transformer.wpe.weight": torch.zeros(1)}
    for changed, message in (
        (less, "1 missing keys, first 'model.layers.0.input_layernorm.weight'"),
        (more, "1 unexpected keys, first 'model.transformer.wpe.weight'"),
    ):
        save_file(changed, file)
        with pytest.raises(ModelError) as refused:
            Mmada.load(Mmada.identify("mmada", options), options, "cpu")
        assert message in str(refused.value)


def test_a_vocabulary_without_room_for_the_codes_is_refused(tmp_path: Path) -> None:
    options = Mmada.options(tiny.mmada(tmp_path))
    for file in Path(options.checkpoint).glob("*.safetensors"):
        state = load_file(file)
        for key in ("model.transformer.wte.weight", "model.transformer.ff_out.weight"):
            if key in state:
                state[key] = state[key][:8000].clone()
        save_file(state, file)
    with pytest.raises(ModelError, match="has 8000 ids, but words and codes are 8452"):
        Mmada.load(Mmada.identify("mmada", options), options, "cpu")
