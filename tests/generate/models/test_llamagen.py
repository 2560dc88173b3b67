"""Against arrays recorded from upstream's own code on the same weights (tests/recordings/record_llamagen.py)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import tiny
from benchmarks.named_weights import named_tensor
from generate.errors import ModelError
from generate.models.captions import clean_caption
from generate.models.checkpoint import Checkpoint
from generate.models.llamagen import LlamaGen, load_tokenizer
from generate.models.t5 import Conditioning
from generate.networks.llamagen import rotation_table
from generate.study.probes import Probe
from tests.generate.parity import ParityNoise
from tests.recordings import captions as recorded_captions
from tests.recordings import recording
from tests.recordings.record_llamagen import captions


@pytest.fixture(scope="module")
def recorded() -> dict[str, NDArray[np.generic]]:
    return recording("llamagen")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LlamaGen:
    options = LlamaGen.options(tiny.llamagen(tmp_path_factory.mktemp("llamagen")))
    return LlamaGen.load(LlamaGen.identify("llamagen", options), options, "cpu")


def conditioning(model: LlamaGen) -> Conditioning:
    states, mask = captions()
    nothing = model.network.cls_embedding.uncond_embedding.expand_as(states)
    return Conditioning(torch.cat([states, nothing]), torch.cat([mask, mask]).bool())


def cached_logits(model: LlamaGen, given: Conditioning, tokens: Tensor) -> Tensor:
    """(row, position, code) one step after another."""
    cache = model.network.empty_cache(given.mask)
    logits = [model.network.prefill(given.states, cache)]
    for position in range(15):
        place = torch.tensor([position])
        logits.append(model.network.next_logits(tokens[:, position].repeat(2), place, cache))
    return torch.stack(logits, 1)


def test_logits_equal_upstreams(model: LlamaGen, recorded: dict[str, NDArray[np.generic]]) -> None:
    ours = cached_logits(model, conditioning(model), torch.from_numpy(recorded["tokens"]).long())
    expected = torch.from_numpy(recorded["logits"])
    assert expected.std() > 0.1
    assert torch.allclose(ours, expected, atol=1e-5)


def test_tokens_of_a_batch_equal_upstreams_one_by_one(
    model: LlamaGen, recorded: dict[str, NDArray[np.generic]]
) -> None:
    """Guidance 3, top-k 20 and top-p 0.95, with the draws of `torch.manual_seed(0)` and `(1)`."""
    trace = model.traverse(conditioning(model), Probe(), ParityNoise([0, 1]))
    assert np.array_equal(trace.tokens.numpy(), recorded["tokens"])


def test_pixels_equal_upstreams(recorded: dict[str, NDArray[np.generic]]) -> None:
    shapes = [
        tuple(map(int, shape.split(","))) for shape in recorded["tokenizer_shapes"].astype(str)
    ]
    names = recorded["tokenizer_keys"].astype(str)
    state = {name: named_tensor(name, shape) for name, shape in zip(names, shapes, strict=True)}
    vqvae = load_tokenizer(Checkpoint("recorded", Path(), "", ()), state, side=4)
    image = vqvae.decode(torch.from_numpy(recorded["tokens"][:1]).long())
    assert torch.allclose(image, torch.from_numpy(recorded["image"]), atol=1e-5)


def test_captions_are_cleaned_as_upstream_does(recorded: dict[str, NDArray[np.generic]]) -> None:
    assert [clean_caption(text) for text in recorded_captions.CAPTIONS] == recorded[
        "captions"
    ].tolist()


def test_cached_logits_equal_those_of_one_pass(model: LlamaGen) -> None:
    given = conditioning(model)
    tokens = torch.randint(97, (2, 16), generator=torch.Generator().manual_seed(0))
    network = model.network
    caption = network.cls_embedding(given.states)
    whole = torch.cat([caption, network.tok_embeddings(tokens[:, :15].repeat(2, 1))], 1)
    at_once = network(whole, torch.arange(135), network.empty_cache(given.mask))[:, 119:]
    assert torch.allclose(at_once, cached_logits(model, given, tokens), atol=1e-5)


def test_rotation_is_two_dimensional_and_caption_positions_vanish(model: LlamaGen) -> None:
    table = rotation_table(model.network.config)
    assert (table[:120] == 0).all()
    row, column = 2, 3  # head_dim 16: eight angles, four frequencies an axis
    position = table[120 + row * 4 + column]
    assert position[1, 0] == pytest.approx(math.cos(row * 10_000 ** (-1 / 4)), abs=1e-6)
    assert position[4, 1] == pytest.approx(math.sin(column), abs=1e-6)


def test_padding_states_are_not_seen(model: LlamaGen) -> None:
    given = conditioning(model)
    noisy = given.states + (~given.mask)[..., None] * 5.0
    tokens = torch.zeros(2, 16, dtype=torch.int64)
    changed = cached_logits(model, Conditioning(noisy, given.mask), tokens)
    assert torch.allclose(changed, cached_logits(model, given, tokens), atol=1e-6)


def test_captions_stand_at_the_right_edge(model: LlamaGen) -> None:
    states, mask = model.encode_text("a red cat.")
    n_tokens = len(LlamaGen.read(model.settings, ["a red cat."])[0].tokens)
    assert mask.tolist() == [False] * (120 - n_tokens) + [True] * n_tokens
    assert (states[:-n_tokens] == 0).all()
    assert (states[-n_tokens:] != 0).any(-1).all()


def test_a_tensor_too_few_is_refused(model: LlamaGen, tmp_path: Path) -> None:
    options = tiny.llamagen(tmp_path)
    path = tmp_path / "t2i_XL_stage1_256.pt"
    state = torch.load(path, weights_only=False)
    del state["model"]["layers.1.attention.wo.weight"]
    torch.save(state, path)
    settings = LlamaGen.options(options)
    with pytest.raises(
        ModelError, match=r"1 missing keys, first 'layers\.1\.attention\.wo\.weight'"
    ):
        LlamaGen.load(LlamaGen.identify("llamagen", settings), settings, "cpu")
