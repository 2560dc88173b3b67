"""Against arrays recorded from upstream's own code on the same weights (tests/recordings/record_showo.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import tiny
from benchmarks.named_weights import named_tensor
from generate.errors import ModelError
from generate.models.checkpoint import Checkpoint
from generate.models.prefix_cache import PrefixCache
from generate.models.showo import Showo, compounding, load_decoder
from generate.networks.lfq import code_bits
from generate.study.probes import Probe
from generate.traversal import masked
from tests.generate.parity import ParityNoise
from tests.recordings import record_showo, recording


@pytest.fixture(scope="module")
def recorded() -> dict[str, NDArray[np.generic]]:
    return recording("showo")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Showo:
    given = {**tiny.showo(tmp_path_factory.mktemp("showo")), "guidance": record_showo.GUIDANCE}
    options = Showo.options({**given, "steps": record_showo.STEPS})
    return Showo.load(Showo.identify("show-o", options), options, "cpu")


def test_the_text_part_is_upstreams(model: Showo, recorded: dict[str, NDArray[np.generic]]) -> None:
    assert np.array_equal(model.encode(list(record_showo.TEXTS)).numpy(), recorded["ids"][:, :129])


def test_logits_with_a_cached_text_equal_upstreams_over_the_whole_sequence(
    model: Showo, recorded: dict[str, NDArray[np.generic]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def first_logits(
        grid_logits: masked.GridLogits, n: int, n_positions: int, mask_id: int, **_: Any
    ) -> None:
        grid = torch.full((n, n_positions), mask_id)
        seen.extend(
            [grid_logits(grid, 0), grid_logits(grid, 1)]
        )  # the second over the keys and values of the first

    monkeypatch.setattr(masked, "traverse", first_logits)
    model.traverse(model.encode(list(record_showo.TEXTS)), Probe(), ParityNoise([0, 1]))
    conditional, unconditional = torch.from_numpy(recorded["logits"]).chunk(2)
    expected = (1 + record_showo.GUIDANCE) * conditional - record_showo.GUIDANCE * unconditional
    assert expected.std() > 0.1
    assert torch.allclose(seen[0][..., ::64], expected, atol=1e-5)
    assert torch.equal(seen[0], seen[1])


def test_a_cache_of_a_prefix_gives_what_one_that_grows_and_is_cut_gives_where_it_lay() -> None:
    from transformers import DynamicCache

    ours, grown = PrefixCache(length=9), DynamicCache()
    addresses = set()
    for call, length in enumerate((4, 5, 5, 5)):
        for layer in range(2):
            keys, values = torch.rand(2, 3, 2, length, 7).unbind()
            given = ours.update(keys, values, layer)
            expected = grown.update(keys, values, layer)
            assert all(map(torch.equal, given, expected))
            if call > 0:
                addresses.add(given[0].data_ptr())
        if call > 0:
            grown.crop(-length)
    assert len(addresses) == 2


def test_tokens_of_a_batch_equal_upstreams_one_by_one(
    model: Showo, recorded: dict[str, NDArray[np.generic]]
) -> None:
    trace = model.traverse(model.encode(list(record_showo.TEXTS)), Probe(), ParityNoise([0, 1]))
    assert np.array_equal(trace.tokens.numpy(), recorded["tokens"])


def test_pixels_equal_upstreams(recorded: dict[str, NDArray[np.generic]]) -> None:
    shapes = [tuple(map(int, shape.split(","))) for shape in recorded["decoder_shapes"].astype(str)]
    names = recorded["decoder_keys"].astype(str)
    state = {
        f"decoder.{name}": named_tensor(name, shape)
        for name, shape in zip(names, shapes, strict=True)
    }
    decoder = load_decoder(Checkpoint("recorded", Path(), "", ()), state)
    image = decoder(torch.tensor([[[0, 1], [4096, 8191]]]))
    assert torch.allclose(image, torch.from_numpy(recorded["image"]), atol=1e-5)


def test_the_bits_of_a_code_come_most_significant_first() -> None:
    assert code_bits(torch.tensor([0, 1, 4096, 8191]), 13).tolist() == [
        [0] * 13,
        [0] * 12 + [1],
        [1] + [0] * 12,
        [1] * 13,
    ]


def test_path_temperature_compounds_as_in_the_upstream_loop() -> None:
    """Values of design note 6.5: .944 .840 .700 .544 ... 0 for 18 steps."""
    found = compounding(1.0, 18)
    assert np.round(found[:8], 3).tolist() == [0.944, 0.84, 0.7, 0.544, 0.393, 0.262, 0.16, 0.089]
    assert found[-1] == 0.0


def test_a_long_text_is_cut_and_still_ends(model: Showo) -> None:
    reading = Showo.read(model.settings, ["a" * 500])[0]
    assert reading.cut
    assert len(reading.tokens) == 129
    assert reading.tokens[-1] == 256


def test_show_o2_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="continuous, so there is no codebook"):
        Showo.options({"checkpoint": "showlab/show-o2-1.5B"})
