"""The torchmetrics metric against the mean over pairs."""

from __future__ import annotations

import numpy as np
import pytest

from ibstats.errors import IbstatsError
from ibstats.measure import lpips
from tests.ibstats.measure.pixels import noise


def test_lpips_diversity_metric_equals_the_mean_over_pairs() -> None:
    import torch

    from ibstats.measure.training import LpipsDiversity

    network = lpips.untrained("squeeze")
    images = noise(2, 4, 40, 40)
    expected = np.mean(
        [
            d[np.triu_indices(4, 1)].mean()
            for d in lpips.LpipsSqueeze(network=network).measure(images).distance
        ]
    )
    metric = LpipsDiversity("squeeze", network=network)
    tensor = torch.from_numpy(images).permute(0, 1, 4, 2, 3).float() / 255
    metric.update(tensor)
    whole = float(metric.compute())
    metric.reset()
    for one in tensor:
        metric.update(one)
    assert whole == pytest.approx(expected, rel=1e-5)
    assert float(metric.compute()) == pytest.approx(whole, rel=1e-6)
    with pytest.raises(IbstatsError, match="one image has no pair"):
        metric.update(tensor[0, :1])
    with pytest.raises(IbstatsError, match=r"images are torch\.uint8"):
        metric.update((tensor * 255).byte())
