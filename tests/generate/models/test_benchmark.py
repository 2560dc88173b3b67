"""The networks of the benchmark have the published sizes (design note, section 0, in millions of parameters)."""

from __future__ import annotations

import pytest
import torch

from benchmarks.operations import MODELS, tflop
from benchmarks.published import NETWORKS
from generate.models import model_class


@pytest.mark.filterwarnings("ignore:.Transformer2DModelOutput:FutureWarning")
@pytest.mark.parametrize("name", MODELS)
def test_cards_have_the_operations_that_are_counted(name: str) -> None:
    """Of the settings that the adapters sample with unless told otherwise."""
    adapter = model_class(name)
    assert adapter.card.operations == pytest.approx(tflop(name), rel=5e-3)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("amused", 603.5),
        ("vq-diffusion", 1359),
        ("janus-pro", 1443),
        ("llamagen", 777.7),
        ("show-o", 1448),
    ],
)
def test_networks_have_the_published_number_of_parameters(name: str, millions: float) -> None:
    with torch.device("meta"):
        network = NETWORKS[name]()
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)
