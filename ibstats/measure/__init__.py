"""What is measured on images: distances of pairs, features behind quality. The one door to torch,
which opens it late.

    metric = ibstats.measure.metric("ssim")
    table = ibstats.measure.distances(select(store, "trio-ar", "factorial"), metric)

A metric is a `Distance`, a network behind scores an `Embedding`; both are measured once and kept
beside the run.
"""

from ibstats.measure.base import (
    Distance,
    EmbeddedDistance,
    Embedding,
    ImageScore,
    Measurement,
    Pairs,
)
from ibstats.measure.each import Each, here, on_cluster
from ibstats.measure.kept import are_kept, distances, embeddings
from ibstats.measure.machine import Machine
from ibstats.measure.named import NETWORKS, default_metrics, metric, network, score
from schemas.moved import attributes

__all__ = [
    "NETWORKS",
    "Distance",
    "Each",
    "EmbeddedDistance",
    "Embedding",
    "ImageScore",
    "Machine",
    "Measurement",
    "Pairs",
    "are_kept",
    "default_metrics",
    "distances",
    "embeddings",
    "here",
    "metric",
    "network",
    "on_cluster",
    "score",
]

__getattr__ = attributes(__name__)
