"""Distances between images: the one door to torch, opened only by the metrics that need it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ibstats.distances.base import AbstractDistance, Pairs
from ibstats.distances.cache import are_kept, distances
from ibstats.errors import unknown

METRICS = {
    "pixel_cosine": "ibstats.distances.pixel:PixelCosine",
    "ssim": "ibstats.distances.ssim:Ssim",
    "reference": "ibstats.distances.reference:Reference",
    "lpips_alex": "ibstats.distances.lpips:LpipsAlex",
    "lpips_vgg": "ibstats.distances.lpips:LpipsVgg",
    "lpips_squeeze": "ibstats.distances.lpips:LpipsSqueeze",
}
"""Metrics by the name a user types, resolved on use."""

NETWORKS = ("reference", "lpips_alex", "lpips_vgg", "lpips_squeeze")
"""Metrics that run a network and take `device`, `batch_size` and `weights`."""


def metric(name: str, **options: Any) -> AbstractDistance:
    """The metric of that name; options go to the networks only."""
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    module, _, attribute = METRICS[name].partition(":")
    made: AbstractDistance = getattr(import_module(module), attribute)(**options)
    return made


__all__ = ["METRICS", "NETWORKS", "AbstractDistance", "Pairs", "are_kept", "distances", "metric"]
