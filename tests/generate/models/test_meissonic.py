"""Against arrays recorded from upstream's own pipeline on the same weights (tests/recordings/record_meissonic.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import tiny
from generate.errors import ModelError
from generate.models.meissonic import Meissonic
from generate.study.probes import Probe
from generate.traversal import masked
from tests.generate.parity import ParityNoise
from tests.recordings import record_meissonic, recording

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def recorded() -> dict[str, NDArray[np.generic]]:
    return recording("meissonic")


@pytest.fixture(scope="module", params=["whole", "halved"])
def sizes(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(sizes: str, tmp_path_factory: pytest.TempPathFactory) -> Meissonic:
    folder = tmp_path_factory.mktemp("meissonic")
    given = {
        **tiny.meissonic(folder, halved=sizes == "halved"),
        "steps": record_meissonic.STEPS,
        "guidance": record_meissonic.GUIDANCE,
        "negative": record_meissonic.NEGATIVE,
    }
    options = Meissonic.options(given)
    return Meissonic.load(Meissonic.identify("meissonic", options), options, "cpu")


def test_checkpoints_here_have_exactly_upstreams_keys(
    model: Meissonic, sizes: str, recorded: dict[str, NDArray[np.generic]]
) -> None:
    state = load_file(model.found["checkpoint"].folder / WEIGHTS)
    ours = {f"{key} {','.join(map(str, tensor.shape))}" for key, tensor in state.items()}
    assert ours == set(recorded[f"{sizes}_keys"].astype(str))


def test_tokens_of_a_batch_equal_upstreams_one_by_one(
    model: Meissonic, sizes: str, recorded: dict[str, NDArray[np.generic]]
) -> None:
    """With a negative text, and with the draws of generators seeded 0 and 1."""
    texts = list(record_meissonic.TEXTS)
    trace = model.traverse(model.encode(texts), Probe(), ParityNoise([0, 1]))
    assert np.array_equal(trace.tokens.numpy(), recorded[f"{sizes}_tokens"])


def test_logits_equal_upstreams(
    model: Meissonic,
    sizes: str,
    recorded: dict[str, NDArray[np.generic]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Tensor] = []

    def first_logits(
        guided_logits: masked.GridLogits, n: int, n_places: int, mask: int, **_: object
    ) -> None:
        seen.append(guided_logits(torch.full((n, n_places), mask), 0))

    monkeypatch.setattr(masked, "traverse", first_logits)
    model.traverse(model.encode(list(record_meissonic.TEXTS)), Probe(), ParityNoise([0, 1]))
    branches = torch.from_numpy(recorded[f"{sizes}_logits"]).flatten(3).mT
    unconditional, conditional = branches.unbind(1)
    guidance = record_meissonic.GUIDANCE
    expected = unconditional + guidance * (conditional - unconditional)
    assert expected.std() > 0.1
    assert torch.allclose(seen[0], expected, atol=1e-4)


@pytest.mark.parametrize("sizes", ["whole"], indirect=True)
def test_pixels_equal_upstreams(
    model: Meissonic, sizes: str, recorded: dict[str, NDArray[np.generic]]
) -> None:
    images = model.decode(torch.from_numpy(recorded[f"{sizes}_tokens"]))
    assert np.array_equal(images, (recorded[f"{sizes}_image"] * 255).round().astype(np.uint8))


@pytest.mark.parametrize(
    ("sizes", "side", "least"), [("whole", 15, 2), ("halved", 640, 256)], indirect=["sizes"]
)
def test_an_image_of_no_whole_grid_is_one_line(model: Meissonic, side: int, least: int) -> None:
    options = Meissonic.options({**vars(model.settings), "image_size": side})
    with pytest.raises(ModelError, match=f"is {side}; .* must be a multiple of {least}"):
        Meissonic.geometry(model.found, options)


def test_a_tensor_too_few_or_too_many_is_refused(tmp_path: Path) -> None:
    options = Meissonic.options(tiny.meissonic(tmp_path))
    state = load_file(tmp_path / WEIGHTS)
    key = "single_transformer_blocks.2.attn.norm_k.weight"
    less = {name: tensor for name, tensor in state.items() if name != key}
    more = {**state, "time_text_embed.guidance_embedder.linear_1.bias": torch.zeros(1)}
    for changed, message in (
        (less, f"1 missing keys, first '{key}'"),
        (more, "1 unexpected keys, first 'time_text_embed.guidance_embedder"),
    ):
        save_file(changed, tmp_path / WEIGHTS)
        with pytest.raises(ModelError) as refused:
            Meissonic.load(Meissonic.identify("meissonic", options), options, "cpu")
        assert message in str(refused.value)


def test_the_preset_of_the_script_has_its_negative_text() -> None:
    options = Meissonic.options({"preset": "script"})
    assert (options.steps, options.guidance, options.image_size) == (64, 9.0, 1024)
    assert options.negative.startswith("worst quality")
