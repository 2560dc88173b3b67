"""The networks of the benchmark have the published sizes (design note, section 0, in millions of parameters)."""

from __future__ import annotations

import pytest
import torch

from benchmarks.published import NETWORKS


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
