"""Networks behind quality: CLIP, Inception and the reference network. Each image is embedded once and kept."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ibstats.errors import unknown
from ibstats.fidelity.base import AbstractNetwork
from ibstats.fidelity.cache import embeddings

NETWORKS = {
    "clip": "ibstats.fidelity.clip:Clip",
    "inception": "ibstats.fidelity.inception:Inception",
    "reference": "ibstats.fidelity.reference:ReferenceNetwork",
}
"""Networks by name, resolved on use."""


def network(name: str, **options: Any) -> AbstractNetwork:
    """The network of that name; `device` and `batch_size` for all, `weights` or `checkpoint` as each takes them."""
    if name not in NETWORKS:
        raise unknown("feature network", name, NETWORKS)
    module, _, attribute = NETWORKS[name].partition(":")
    made: AbstractNetwork = getattr(import_module(module), attribute)(**options)
    return made


__all__ = ["NETWORKS", "AbstractNetwork", "embeddings", "network"]
